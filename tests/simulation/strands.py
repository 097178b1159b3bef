"""Code that blocks, as greenlets on the simulation's loop: one runs at a time, until it waits."""

import math
from collections.abc import Callable
from typing import Any

import greenlet

from tests.simulation.clock import VirtualLoop


class Process:
    """What lives and dies, and stands still, together. A dead process runs nothing more, not even its `finally`.

    `stood_still` are the seconds for which its machine's clock stood still with it. `deaths` are called when it dies.
    """

    def __init__(self, name: str) -> None:
        self.name, self.alive, self.paused_until, self.stood_still = name, True, 0.0, 0.0
        self.died_at = math.inf
        self.deaths: list[Callable[[], Any]] = []

    def kill(self, at: float = math.nan) -> None:
        """End it at once."""
        if not self.alive:
            return
        self.alive, self.died_at = False, at
        for call in self.deaths:
            call()


class Strand:
    """A thread of a process."""

    def __init__(self, strands: "Strands", process: Process, call: Callable[[], Any]) -> None:
        self.process, self.over = process, strands.loop.create_future()
        self._strands, self._call = strands, call
        self.greenlet = greenlet.greenlet(self._run, parent=strands.hub)

    def resume(self) -> None:
        """Go on, unless the process is dead; once it moves again."""
        process, strands = self.process, self._strands
        if not process.alive:
            return
        if process.paused_until > strands.loop.now:
            if process.paused_until < math.inf:
                strands.loop.call_at(process.paused_until, self.resume)
            return
        before, strands.current = strands.current, self
        self.greenlet.switch()
        strands.current = before

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

    def clock(self) -> float:
        """The monotonic clock of the machine on which the current strand runs."""
        return self.loop.now if self.current is None else self.loop.now - self.current.process.stood_still

    def wait(self, future: Any, timeout: float | None = None) -> Any:
        """Wait, in a strand, for a future's result or exception; TimeoutError after `timeout` seconds."""
        strand = self.current
        assert strand is not None, "only a strand can wait"
        if not future.done():
            woken = False

            def wake(_: Any = None) -> None:
                nonlocal woken
                if not woken:
                    woken = True
                    strand.resume()

            future.add_done_callback(wake)
            timer = None if timeout is None else self.loop.call_later(timeout, wake)
            self.hub.switch()
            if timer is not None:
                timer.cancel()
                if not future.done():
                    future.remove_done_callback(wake)
        if not future.done():
            raise TimeoutError
        return future.result()

    def sleep(self, seconds: float) -> None:
        """Let the time pass; outside of a strand nothing waits."""
        if self.current is not None:
            self.loop.call_later(max(0.0, seconds), self.current.resume)
            self.hub.switch()

    def halt(self) -> None:
        """Go on no more, in a strand whose process has just died."""
        self.hub.switch()

    def end(self) -> None:
        """Unwind what still hangs somewhere, once nothing is judged any more."""
        for strand in self._all:
            strand.process.alive = False
            if strand.greenlet and not strand.greenlet.dead:
                strand.greenlet.throw(greenlet.GreenletExit)
