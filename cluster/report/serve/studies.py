"""The studies of a summary for many readers at once: everything is read or drawn once, in a thread, and kept."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from cluster.report.serve import bodies, html, openapi, reading
from cluster.report.serve.answers import Answers
from cluster.report.serve.cache import Shelf
from cluster.report.serve.compare_page import compare_page
from cluster.report.serve.compared import Side, of_study, of_trial
from cluster.report.serve.list_page import list_page
from cluster.report.serve.reading import NoAnswerError
from cluster.report.serve.responses import JSON, Body, page_body
from cluster.report.serve.trial_page import trial_page
from cluster.summary.store import Summary

# The tables of the largest study tried, with 1,000,000 evaluations, take 100 MB.
MEBIBYTE = 2**20
TABLES_BYTES, PAGES_BYTES, VERDICTS_BYTES, COMPARED_BYTES = (size * MEBIBYTE for size in (256, 64, 16, 64))
# Two threads, so that a study with large tables does not keep the others waiting.
THREADS = 2
SLICES_AT_MOST = 32
REFRESH_SECONDS = 5

Value = TypeVar("Value")


class Page(Protocol):
    """Draws a study's page, which looks for a newer version every `refresh_seconds`; None for never.

    `trials_at` is the beginning of the addresses of its trials' pages.
    """

    def __call__(
        self, summary: Summary, study: str, *, refresh_seconds: int | None = None, trials_at: str | None = None
    ) -> str:
        """The page as HTML, with its content-security policy in its head."""


@dataclass(frozen=True)
class Listed:
    """The list of studies with the answers known so far, for programs and for people."""

    body: Body
    page: Body


class Kept:
    """A study's tables, and the parts that readers asked for, each made once."""

    def __init__(self, tables: reading.StudyTables) -> None:
        self.bytes = tables.bytes
        self.study = bodies.study(tables)
        self.tables = tables
        self._parts: dict[tuple[str, int, int], asyncio.Future[Body]] = {}

    async def rows(self, pool: Executor, name: str, offset: int, limit: int) -> Body:
        """Some rows of a table."""
        key = name, offset, limit
        if key not in self._parts:
            if len(self._parts) >= SLICES_AT_MOST:
                self._parts.clear()
            loop = asyncio.get_running_loop()
            self._parts[key] = loop.run_in_executor(pool, bodies.rows, self.tables, *key)
        # Shielded, so that a reader who goes away does not cancel it for the others.
        return await asyncio.shield(self._parts[key])


class Studies:
    """One summary's studies. Nothing is ever written to it; a study that it does not list is a NoAnswerError."""

    def __init__(self, summary: Summary, page: Page) -> None:
        self._summary, self._page = summary, page
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="serve")
        self._answers = Answers(lambda study: reading.answer(summary, study))
        self._listing: Shelf[None, reading.Listing] = Shelf(
            self._pool,
            version=lambda _: reading.version(summary, reading.OF_LIST, None),
            make=lambda _: reading.listing(summary),
            size=lambda _: 0,
            bytes_at_most=0,
        )
        # By identity: a listing is made once, and the same object is kept until the next.
        self._listed: tuple[reading.Listing, dict[str, str], Listed] | None = None
        self._kept = self._shelf(self._read, lambda kept: kept.bytes, TABLES_BYTES)
        self._verdicts = self._shelf(self._judge, lambda body: len(body.content), VERDICTS_BYTES)
        self._compared = self._shelf(self._lay_out, lambda found: found.bytes, COMPARED_BYTES)
        self._pages = self._shelf(self._draw, lambda body: len(body.content), PAGES_BYTES)

    async def listing(self) -> Listed:
        """All studies."""
        found = await self._listing.get(None)
        answers = await self._answers.of(found.marks)
        if self._listed is None or self._listed[0] is not found or self._listed[1] != answers:
            listed = Listed(bodies.listing(found, answers), page_body(list_page(found, answers)))
            self._listed = found, answers, listed
        return self._listed[2]

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

    async def trial(self, study: str, trial_id: str) -> Body:
        """The page of one of a study's trials."""
        name = await self._known(study)
        kept = await self._kept.get(name)
        draw = partial(trial_page, name, kept.tables, trial_id, self._summary.uri)
        return page_body(await asyncio.get_running_loop().run_in_executor(self._pool, draw))

    async def compared(self, asked: Sequence[tuple[str, str | None]]) -> Body:
        """The page that compares studies and trials, in the order in which they are asked for."""
        found = []
        for study, trial_id in asked:
            name = await self._known(study)
            if trial_id is None:
                found.append(await self._compared.get(name))
            else:
                found.append(of_trial(name, (await self._kept.get(name)).tables, trial_id))
        return page_body(await asyncio.get_running_loop().run_in_executor(self._pool, compare_page, found))

    def close(self) -> None:
        """Start nothing new, and let the work in progress finish."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._answers.close()

    async def _known(self, study: str) -> str:
        """The name from the summary's own list, so that what a reader sends never becomes part of a path."""
        for name in (await self._listing.get(None)).progress:
            if name == study:
                return name
        raise NoAnswerError("there is no such study here: / lists them")

    def _read(self, study: str) -> Kept:
        return Kept(reading.study_tables(self._summary, study))

    def _lay_out(self, study: str) -> Side:
        reading.of_spec(self._summary, study, "comparison")
        return of_study(self._summary, study)

    def _judge(self, study: str) -> Body:
        return Body(reading.verdict(self._summary, study).encode(), JSON)

    def _draw(self, study: str) -> Body:
        progress = reading.study_progress(self._summary, study)
        seconds = REFRESH_SECONDS if progress.going_on else None
        trials_at = f"{openapi.PAGE.format(study=study)}/trials/"
        page = self._page(self._summary, study, refresh_seconds=seconds, trials_at=trials_at)
        return page_body(html.with_progress(page, progress))

    def _shelf(self, make: Callable[[str], Value], size: Callable[[Value], int], most: int) -> Shelf[str, Value]:
        return Shelf(
            self._pool,
            version=lambda study: reading.version(self._summary, reading.OF_STUDY, study),
            make=make,
            size=size,
            bytes_at_most=most,
        )
