"""An event loop on a virtual clock: when nothing can run, the time of the next timer has come."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class StuckError(AssertionError):
    """Nothing can run, and nothing is waited for that will come: something has no end."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose `time()` is that of the simulation, in seconds; executors run at once, in the loop."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_NoFiles(self))
        # A message whose answer nobody waits for any more is no fault.
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        """The virtual time."""
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Call it now: a thread would run beside the simulation."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as problem:
            done.set_exception(problem)
        return done


class _NoFiles(selectors.BaseSelector):
    """Waits for no file: waiting moves the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Keep it, as the loop's own wake-up."""
        self._keys[fileobj] = selectors.SelectorKey(fileobj, int(fileobj), events, data)
        return self._keys[fileobj]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Forget it."""
        return self._keys.pop(fileobj)

    def get_map(self) -> Any:
        """What is kept."""
        return self._keys

    def select(self, timeout: float | None = None) -> list[Any]:
        """Move the clock to the next timer."""
        if timeout is None:
            raise StuckError("nothing is left that could happen")
        self._loop.now += max(0.0, timeout)
        return []

    def close(self) -> None:
        """Nothing is open."""
