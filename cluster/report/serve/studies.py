"""The studies of a summary for many readers at once: everything is read or drawn once, in a thread, and kept."""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cluster.report.serve import bodies, html, reading
from cluster.report.serve.cache import Shelf
from cluster.report.serve.reading import NoAnswerError
from cluster.report.serve.responses import JSON, Body, page_body
from cluster.summary.store import Summary

# The tables of the largest study tried, with 1,000,000 evaluations, take 100 MB.
MEBIBYTE = 2**20
TABLES_BYTES, PAGES_BYTES, VERDICTS_BYTES = 256 * MEBIBYTE, 64 * MEBIBYTE, 16 * MEBIBYTE
# Two threads, so that a study with large tables does not keep the others waiting.
THREADS = 2
SLICES_AT_MOST = 32
REFRESH_SECONDS = 5

Value = TypeVar("Value")


class Page(Protocol):
    """Draws a study's page, which looks for a newer version every `refresh_seconds`; None for never."""

    def __call__(self, summary: Summary, study: str, *, refresh_seconds: int | None = None) -> str:
        """The page as HTML, with its content-security policy in its head."""


@dataclass(frozen=True)
class Listed:
    """The list of studies, for programs and for people."""

    names: Collection[str]
    body: Body
    page: Body


class Kept:
    """A study's tables, and the parts that readers asked for, each made once."""

    def __init__(self, tables: reading.StudyTables) -> None:
        self.bytes = tables.bytes
        self.study = bodies.study(tables)
        self._tables = tables
        self._parts: dict[tuple[str, int, int], asyncio.Future[Body]] = {}

    async def rows(self, pool: Executor, name: str, offset: int, limit: int) -> Body:
        """Some rows of a table."""
        key = name, offset, limit
        if key not in self._parts:
            if len(self._parts) >= SLICES_AT_MOST:
                self._parts.clear()
            loop = asyncio.get_running_loop()
            self._parts[key] = loop.run_in_executor(pool, bodies.rows, self._tables, *key)
        # Shielded, so that a reader who goes away does not cancel it for the others.
        return await asyncio.shield(self._parts[key])


class Studies:
    """One summary's studies. Nothing is ever written to it; a study that it does not list is a NoAnswerError."""

    def __init__(self, summary: Summary, page: Page) -> None:
        self._summary, self._page = summary, page
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="serve")
        self._listing: Shelf[None, Listed] = Shelf(
            self._pool,
            version=lambda _: reading.version(summary, reading.OF_LIST, None),
            make=lambda _: self._list(),
            size=lambda _: 0,
            bytes_at_most=0,
        )
        self._kept = self._shelf(self._read, lambda kept: kept.bytes, TABLES_BYTES)
        self._verdicts = self._shelf(self._judge, lambda body: len(body.content), VERDICTS_BYTES)
        self._pages = self._shelf(self._draw, lambda body: len(body.content), PAGES_BYTES)

    async def listing(self) -> Listed:
        """All studies."""
        return await self._listing.get(None)

    async def study(self, study: str) -> Body:
        """A study's progress, as JSON."""
        return (await self._kept.get(await self._known(study))).study

    async def rows(self, study: str, name: str, *, offset: int, limit: int) -> Body:
        """Some rows of one of a study's tables, as JSON."""
        kept = await self._kept.get(await self._known(study))
        return await kept.rows(self._pool, name, offset, limit)

    async def verdict(self, study: str) -> Body:
        """The verdict on a study, as JSON; NoAnswerError if it has no spec."""
        return await self._verdicts.get(await self._known(study))

    async def page(self, study: str) -> Body:
        """A study's page."""
        return await self._pages.get(await self._known(study))

    def close(self) -> None:
        """Start nothing new, and let the work in progress finish."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _known(self, study: str) -> str:
        """The name from the summary's own list, so that what a reader sends never becomes part of a path."""
        for name in (await self.listing()).names:
            if name == study:
                return name
        raise NoAnswerError("there is no such study here: / lists them")

    def _list(self) -> Listed:
        found = reading.listing(self._summary)
        return Listed(found.progress.keys(), bodies.listing(found), page_body(html.list_page(found)))

    def _read(self, study: str) -> Kept:
        return Kept(reading.study_tables(self._summary, study))

    def _judge(self, study: str) -> Body:
        return Body(reading.verdict(self._summary, study).encode(), JSON)

    def _draw(self, study: str) -> Body:
        progress = reading.study_progress(self._summary, study)
        seconds = REFRESH_SECONDS if progress.going_on else None
        return page_body(html.with_progress(self._page(self._summary, study, refresh_seconds=seconds), progress))

    def _shelf(self, make: Callable[[str], Value], size: Callable[[Value], int], most: int) -> Shelf[str, Value]:
        return Shelf(
            self._pool,
            version=lambda study: reading.version(self._summary, reading.OF_STUDY, study),
            make=make,
            size=size,
            bytes_at_most=most,
        )
