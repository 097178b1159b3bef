"""A shelf of values made from a summary: made once for all readers, and again only when the summary has changed.

Watching a study must not slow it down. So however many readers ask, a value is made at most every few seconds, once at
a time for each key, in a pool of few threads; a value that took long to make is kept for proportionally longer.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

# The summary is not looked at again for this long, nor for this many times as long as the last look took.
SECONDS = 3.0
RESTS = 20.0
SECONDS_AT_MOST = 60.0
# How long a reader waits for a new value before it gets the old one.
PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class _Kept(Generic[Value]):
    version: str
    value: Value
    bytes: int
    due_at: float


@dataclass(frozen=True)
class _Look(Generic[Value]):
    """A version and its value, or what went wrong, and how long the look took."""

    found: tuple[str, Value] | Exception
    seconds: float


class Shelf(Generic[Key, Value]):
    """Values by key. `make(key)` and `version(key)` run in `pool`; the last used, up to `bytes_at_most`, are kept.

    An error in either is raised for all readers, and is kept for as long as a value would be.
    """

    def __init__(
        self,
        pool: Executor,
        *,
        version: Callable[[Key], str],
        make: Callable[[Key], Value],
        size: Callable[[Value], int],
        bytes_at_most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._version, self._make, self._size = pool, version, make, size
        self._bytes_at_most, self._clock = bytes_at_most, clock
        self._kept: OrderedDict[Key, _Kept[Value]] = OrderedDict()
        self._making: dict[Key, asyncio.Task[Value]] = {}
        self._failed: dict[Key, tuple[Exception, float]] = {}

    async def get(self, key: Key) -> Value:
        """The value of `key`, at most a few seconds behind the summary."""
        problem, due_at = self._failed.get(key, (None, 0.0))
        if problem is not None and self._clock() < due_at:
            raise problem.with_traceback(None)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            if self._clock() < kept.due_at:
                return kept.value
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.create_task(self._renew(key, kept))
            making.add_done_callback(lambda task: self._over(key, task))
        if kept is not None:
            await asyncio.wait({making}, timeout=PATIENCE_SECONDS)
            if not making.done():
                return kept.value
        # Shielded, so that a reader who goes away does not cancel it for the others.
        return await asyncio.shield(making)

    async def _renew(self, key: Key, kept: _Kept[Value] | None) -> Value:
        loop = asyncio.get_running_loop()
        looked = await loop.run_in_executor(self._pool, self._look, key, kept)
        if isinstance(looked.found, Exception):
            self._failed[key] = looked.found, self._due(looked.seconds)
            raise looked.found
        self._failed.pop(key, None)
        version, value = looked.found
        self._kept[key] = _Kept(version, value, self._size(value), self._due(looked.seconds))
        self._kept.move_to_end(key)
        self._make_room()
        return value

    def _look(self, key: Key, kept: _Kept[Value] | None) -> _Look[Value]:
        """Look at the summary, in a thread. What it takes does not count the time in which it waited for a thread."""
        began = self._clock()
        found: tuple[str, Value] | Exception
        try:
            # The version comes first, because anything written in between changes it.
            version = self._version(key)
            found = version, kept.value if kept is not None and version == kept.version else self._make(key)
        except Exception as problem:  # noqa: BLE001 - raised again by `_renew`, for all readers
            found = problem
        return _Look(found, self._clock() - began)

    def _due(self, seconds: float) -> float:
        """When to look again, after a look that took some seconds."""
        return self._clock() + min(SECONDS_AT_MOST, max(SECONDS, RESTS * seconds))

    def _make_room(self) -> None:
        while len(self._kept) > 1 and sum(kept.bytes for kept in self._kept.values()) > self._bytes_at_most:
            self._kept.popitem(last=False)

    def _over(self, key: Key, task: asyncio.Task[Value]) -> None:
        del self._making[key]
        if not task.cancelled():
            # Retrieved, because asyncio would otherwise report a task whose readers all went away.
            task.exception()
