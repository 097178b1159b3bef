"""The board's actor: each call is a message, and those of one caller arrive in their order."""

from functools import partial
from types import SimpleNamespace, coroutine
from typing import Any

import ray

from cluster.lanes.board import Board
from tests.simulation.strands import Process

SECONDS_OF_A_MESSAGE, SECONDS_TO_NOTICE = 0.03, 1.0


class Remote:
    """A handle of the board."""

    def __init__(self, world: Any, process: Process, board: Board) -> None:
        self._world, self._process, self._board = world, process, board
        self._delivered: dict[Any, float] = {}
        self._pending: dict[Any, Any] = {}
        # What arrived while the actor stood still, in its order.
        self._inbox: list[tuple[Any, ...]] = []
        process.deaths.append(self._died)

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=partial(self._send, name))

    def _send(self, name: str, *args: Any, **options: Any) -> Any:
        world, answer = self._world, self._world.loop.create_future()
        caller = world.strands.current.process if world.strands.current else None
        # Never before the caller's earlier message.
        at = max(world.loop.now + SECONDS_OF_A_MESSAGE * world.random.random(), self._delivered.get(caller, 0.0))
        self._delivered[caller] = at
        world.loop.call_at(at, self._arrive, getattr(self._board, name), args, options, answer)
        return answer

    def _arrive(self, method: Any, args: Any, options: Any, answer: Any) -> None:
        loop, process = self._world.loop, self._process
        if not process.alive:
            answer.set_exception(ray.exceptions.RayActorError())
        elif process.paused_until > loop.now:
            self._inbox.append((method, args, options, answer))
            if len(self._inbox) == 1:
                loop.call_at(process.paused_until, self._wake)
        else:
            self._begin(method(*args, **options), answer)

    def _wake(self) -> None:
        if self._process.alive and self._process.paused_until > self._world.loop.now:
            self._world.loop.call_at(self._process.paused_until, self._wake)
            return
        arrived, self._inbox = self._inbox, []
        for message in arrived:
            self._arrive(*message)

    def _begin(self, call: Any, answer: Any) -> None:
        """Run a call up to its first wait; most have none, and need no task."""
        try:
            first = call.send(None)
        except StopIteration as end:
            answer.set_result(end.value)
        except Exception as problem:
            answer.set_exception(problem)
        else:
            self._pending[answer] = task = self._world.loop.create_task(_rest(call, first))
            task.add_done_callback(partial(self._answer, answer))

    def _answer(self, answer: Any, task: Any) -> None:
        self._pending.pop(answer, None)
        if answer.done() or task.cancelled():
            return
        if (problem := task.exception()) is not None:
            answer.set_exception(problem)
        else:
            answer.set_result(task.result())

    def _died(self) -> None:
        self._world.loop.call_later(SECONDS_TO_NOTICE * self._world.random.random(), self._fail)

    def _fail(self) -> None:
        for answer, task in list(self._pending.items()):
            task.cancel()
            if not answer.done():
                answer.set_exception(ray.exceptions.RayActorError())
        self._pending.clear()


async def _rest(call: Any, first: Any) -> Any:
    """What is left of a call that waits for `first`."""
    return await _from(call, first)


@coroutine
def _from(call: Any, first: Any) -> Any:
    waited = first
    while True:
        try:
            sent = yield waited
        except BaseException as problem:
            step = partial(call.throw, problem)
        else:
            step = partial(call.send, sent)
        try:
            waited = step()
        except StopIteration as end:
            return end.value
