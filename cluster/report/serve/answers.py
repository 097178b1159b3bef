"""The answer of each study for the list, worked out one after another in the background, whenever its rows change.

A verdict on a large study takes a second or more, and a summary may hold a hundred studies: the list must not wait for
them, nor may they slow down a study that is being watched. So an answer is worked out in a thread of its own, again
only after the rows have changed, and not before RESTS times as long has passed as it took.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cluster.report.serve.cache import RESTS, SECONDS

# How long the list waits for answers that nobody has seen yet.
PATIENCE_SECONDS = 1.5
UNKNOWN = "It cannot be said: the study cannot be read."


@dataclass(frozen=True)
class _Known:
    mark: str
    answer: str
    due_at: float


class Answers:
    """The answers by study. `make(study)` is called in a thread."""

    def __init__(self, make: Callable[[str], str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._make, self._clock = make, clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="answers")
        self._known: dict[str, _Known] = {}
        self._marks: dict[str, str] = {}
        self._working: asyncio.Task[None] | None = None

    async def of(self, marks: Mapping[str, str]) -> dict[str, str]:
        """The answers known so far; `marks` say for each study what its rows are, and change when they do."""
        self._marks = dict(marks)
        if self._working is None and self._next() is not None:
            self._working = asyncio.create_task(self._work())
        if self._working is not None and not marks.keys() <= self._known.keys():
            await asyncio.wait({self._working}, timeout=PATIENCE_SECONDS)
        return {study: self._known[study].answer for study in marks if study in self._known}

    def close(self) -> None:
        """Start nothing new."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> str | None:
        """A study whose answer is missing or out of date."""
        now = self._clock()
        for study, mark in self._marks.items():
            known = self._known.get(study)
            if known is None or (known.mark != mark and now >= known.due_at):
                return study
        return None

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (study := self._next()) is not None:
                mark, began = self._marks[study], self._clock()
                try:
                    answer = await loop.run_in_executor(self._pool, self._make, study)
                except Exception:  # noqa: BLE001 - its own page tells what is wrong with a study
                    answer = UNKNOWN
                now = self._clock()
                self._known[study] = _Known(mark, answer, now + max(SECONDS, RESTS * (now - began)))
        finally:
            self._working = None
