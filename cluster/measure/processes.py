"""Throwaway worker processes of a lane: started, asked together, and ended whatever happens.

A process that runs out of memory may report it, abort or be killed. Each of these is a `FailedError` with its state,
and ends the lane, whose collective has lost a worker.
"""

import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from cluster.measure.body import Answer, Message, Place, WorkerFailure, WorkerLayout, ended, serve
from cluster.process import scratch
from cluster.process.ports import free_ports
from trainer.errors import InputError
from trainer.machine import peers
from trainer.report import State

# The wait for an answer or for progress, and for the other workers' failures once one has failed.
SECONDS_OF_SILENCE = 900.0
SECONDS_FOR_THE_OTHERS = 2.0


class FailedError(Exception):
    """A worker failed, with the state OUT_OF_MEMORY or FAILED and one line on why."""

    def __init__(self, state: State, error: str) -> None:
        super().__init__(error)
        self.state, self.error = state, error


class ThrowawayLane:
    """The processes of one lane: `ask` puts a question to all of them, `answers` returns their answers."""

    def __init__(self, layout: WorkerLayout, number: int, folder: Path) -> None:
        self._workers: list[tuple[BaseProcess, Connection, Path]] = []
        self.started_at = time.perf_counter()
        addresses = [f"127.0.0.1:{port}" for port in free_ports(layout.workers)]
        context, secret = multiprocessing.get_context("spawn"), peers.new_secret()
        for rank in range(layout.workers):
            ours, theirs = context.Pipe()
            said = folder / f"{rank}.said"
            place = Place(lane=number, rank=rank, folder=str(folder))
            process = context.Process(
                target=serve, args=(layout, place, addresses, secret, theirs, str(said)), daemon=True
            )
            process.start()
            theirs.close()
            self._workers.append((process, ours, said))

    def ask(self, question: str, *arguments: Any) -> None:
        """Ask every worker a question: the name of one of its methods, with arguments."""
        for _, pipe, _ in self._workers:
            with contextlib.suppress(OSError):
                pipe.send((question, arguments))

    def answers(self, tell: Callable[[float], None] = lambda share: None) -> list[Any]:
        """The answers, by rank, to the last question; the first answers only mean that all workers are ready.

        `tell` is called with the progress of the slowest worker, from 0 to 1, if the question reports progress.

        Raises:
            FailedError: a worker failed.
            InputError: a worker found data other than those asked for, damaged data, or a model that cannot be used.
        """
        pipes = {pipe: rank for rank, (_, pipe, _) in enumerate(self._workers)}
        found: dict[int, Answer | WorkerFailure] = {}
        shares = dict.fromkeys(pipes.values(), 0.0)
        deadline = time.monotonic() + SECONDS_OF_SILENCE
        while len(found) < len(pipes):
            waiting = [pipe for pipe, rank in pipes.items() if rank not in found]
            ready = wait(waiting, max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            if not any(isinstance(one, WorkerFailure) for one in found.values()):
                deadline = time.monotonic() + SECONDS_OF_SILENCE
            for pipe in ready:
                assert isinstance(pipe, Connection)
                rank, message = pipes[pipe], self._message(pipes[pipe])
                if isinstance(message, InputError):
                    self.end()
                    raise message
                if isinstance(message, WorkerFailure):
                    # The first worker to fail may only have lost a peer.
                    deadline = min(deadline, time.monotonic() + SECONDS_FOR_THE_OTHERS)
                if isinstance(message, float):
                    shares[rank] = message
                    tell(min(shares.values()))
                else:
                    found[rank] = message
        return self._values([found.get(rank) for rank in range(len(pipes))])

    def end(self) -> None:
        """End the processes at once, which frees everything that they hold."""
        for process, pipe, _ in self._workers:
            process.kill()
            pipe.close()
        for process, _, _ in self._workers:
            process.join()
        self._workers = []

    def _message(self, rank: int) -> Message:
        process, pipe, said = self._workers[rank]
        try:
            message: Message = pipe.recv()
            return message
        except (EOFError, OSError):
            process.join(SECONDS_FOR_THE_OTHERS)
            return ended(process.exitcode or 0, said.read_text(errors="replace") if said.exists() else "")

    def _values(self, found: Sequence[Answer | WorkerFailure | None]) -> list[Any]:
        """The values of the answers; among several failures, one of memory takes precedence."""
        answers = [one for one in found if isinstance(one, Answer)]
        if len(answers) == len(found):
            return [one.value for one in answers]
        self.end()
        failures = sorted(
            (one for one in found if isinstance(one, WorkerFailure)), key=lambda one: one.state != State.OUT_OF_MEMORY
        )
        chosen = failures[0] if failures else WorkerFailure(State.FAILED, f"no answer in {SECONDS_OF_SILENCE:g} s")
        raise FailedError(chosen.state, chosen.error)


@contextlib.contextmanager
def lanes(layout: WorkerLayout, count: int = 1) -> Iterator[list[ThrowawayLane]]:
    """`count` lanes of processes, started and perhaps not yet ready, which end with the context."""
    with scratch.folder("batchscope-measure-", tempfile.gettempdir()) as folder:
        started: list[ThrowawayLane] = []
        try:
            for number in range(count):
                mine = Path(folder) / str(number)
                mine.mkdir()
                started.append(ThrowawayLane(layout, number, mine))
            yield started
        finally:
            for one in started:
                one.end()


def ask_all(started: Sequence[ThrowawayLane], question: str, *arguments: Any) -> list[list[Any]]:
    """The answers by lane and rank; all lanes work on the question at the same time.

    Raises:
        FailedError: a worker failed.
    """
    for lane in started:
        lane.ask(question, *arguments)
    return [lane.answers() for lane in started]
