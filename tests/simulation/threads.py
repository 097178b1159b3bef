"""In the place of `threading` in the modules under simulation: threads are strands of the caller's process."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.simulation.strands import Strand, Strands


class Threads:
    """`Thread`, `Event` and `Lock` of a simulation."""

    def __init__(self, strands: Strands) -> None:
        self._strands = strands

    def Event(self) -> "Event":
        """An event."""
        return Event(self._strands)

    def Thread(self, *, target: Callable[..., Any], args: tuple[Any, ...] = (), daemon: bool = True) -> "Thread":
        """A thread."""
        return Thread(self._strands, lambda: target(*args))

    def Lock(self) -> "Lock":
        """A lock that is never waited for: a strand that holds one does not wait meanwhile."""
        return Lock()


class Event:
    """As `threading.Event`."""

    def __init__(self, strands: Strands) -> None:
        self._strands, self._set = strands, strands.loop.create_future()

    def set(self) -> None:
        """Let whoever waits go on."""
        if not self._set.done():
            self._set.set_result(None)

    def is_set(self) -> bool:
        """Whether it was set."""
        return bool(self._set.done())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it."""
        try:
            self._strands.wait(self._set, timeout)
        except TimeoutError:
            return False
        return True


class Thread:
    """As `threading.Thread`."""

    def __init__(self, strands: Strands, call: Callable[[], Any]) -> None:
        self._strands, self._call = strands, call
        self._strand: Strand | None = None

    def start(self) -> None:
        """Begin."""
        assert self._strands.current is not None
        self._strand = self._strands.start(self._strands.current.process, self._call)

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        assert self._strand is not None
        try:
            self._strands.wait(self._strand.over, timeout)
        except TimeoutError:
            return

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._strand is not None and not self._strand.over.done()


class Lock:
    """As `threading.Lock`, for strands."""

    def __enter__(self) -> None:
        """Take it."""

    def __exit__(self, *_: object) -> None:
        """Give it back."""


class Alone:
    """As `ThreadPoolExecutor`, for whoever reads many objects: one after the other, in the caller's strand."""

    def __init__(self, *_: object, **__: object) -> None:
        """With as many threads as anybody wants."""

    def __enter__(self) -> "Alone":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def map(self, call: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """The results in their order."""
        return map(call, items)

    def shutdown(self, **_: object) -> None:
        """End."""
