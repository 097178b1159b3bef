"""Code that blocks, as greenlets on the simulation's loop: one runs at a time, until it waits."""

import math
from collections.abc import Callable
from typing import Any

import greenlet

from tests.simulation.clock import VirtualLoop


class Process:
    """What lives and dies, and stands still, together. A dead process runs nothing more, not even its `finally`."""

    def __init__(self, name: str) -> None:
        self.name, self.alive, self.paused_until = name, True, 0.0

    def kill(self) -> None:
        """End it at once."""
        self.alive = False


class Strand:
    """A thread of a process."""

    def __init__(self, strands: "Strands", process: Process, call: Callable[[], Any]) -> None:
        self.process, self.over = process, strands.loop.create_future()
        self._strands, self._call = strands, call
        self.greenlet = greenlet.greenlet(self._run, parent=strands.hub)

    def resume(self) -> None:
        """Go on, unless the process is dead; once it moves again."""
        if not self.process.alive:
            return
        late = self.process.paused_until - self._strands.loop.now
        if late > 0:
            if late < math.inf:
                self._strands.loop.call_later(late, self.resume)
            return
        before, self._strands.current = self._strands.current, self
        self.greenlet.switch()
        self._strands.current = before

    def _run(self) -> None:
        try:
            result, problem = self._call(), None
        except greenlet.GreenletExit:
            raise
        except BaseException as found:
            result, problem = None, found
        if not self.over.done():
            self.over.set_result((result, problem))


class Strands:
    """All strands of a simulation; `current` is the one that runs."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.hub = greenlet.getcurrent()
        self.current: Strand | None = None
        self._all: list[Strand] = []

    def start(self, process: Process, call: Callable[[], Any]) -> Strand:
        """Begin a strand of the process in a moment."""
        strand = Strand(self, process, call)
        self._all.append(strand)
        self.loop.call_soon(strand.resume)
        return strand

    def wait(self, future: Any, timeout: float | None = None) -> Any:
        """Wait, in a strand, for a future's result or exception; TimeoutError after `timeout` seconds."""
        strand = self.current
        assert strand is not None, "only a strand can wait"
        if not future.done():
            woken = [False]

            def wake(_: Any = None) -> None:
                if not woken[0]:
                    woken[0] = True
                    strand.resume()

            future.add_done_callback(wake)
            timer = None if timeout is None else self.loop.call_later(timeout, wake)
            self.hub.switch()
            if timer is not None:
                timer.cancel()
        if not future.done():
            raise TimeoutError
        return future.result()

    def sleep(self, seconds: float) -> None:
        """Let the time pass; outside of a strand nothing waits."""
        if self.current is None:
            return
        future = self.loop.create_future()
        self.loop.call_later(max(0.0, seconds), _finish, future)
        self.wait(future)

    def end(self) -> None:
        """Unwind what still hangs somewhere, once nothing is judged any more."""
        for strand in self._all:
            strand.process.alive = False
            if strand.greenlet and not strand.greenlet.dead:
                strand.greenlet.throw(greenlet.GreenletExit)


def _finish(future: Any) -> None:
    if not future.done():
        future.set_result(None)
