"""The list of all studies: the answer of each, how far it has come and what it has cost, to be sorted and filtered."""

from collections.abc import Mapping
from typing import Any

from cluster.report.failed import sentence
from cluster.report.page.frame import framed, script, style, text_of
from cluster.report.page.markup import Markup, join, tag
from cluster.report.serve.html import counted, money
from cluster.report.serve.progress import TrialCounts
from cluster.report.serve.reading import Listing
from cluster.report.studies import about

REFRESH_SECONDS = 10
_SCRIPT = ("values.js", "sorting.js", "address.js", "follow.js", "listing.js")
_PENDING = "being worked out"
_LOWEST, _BATCH, _STARTED = "lowest mean validation loss", "at global batch", "started, UTC"
_HEADS = (
    ("study", False),
    ("answer", False),
    ("trials", False),
    (_LOWEST, True),
    (_BATCH, True),
    ("cost so far", False),
    ("task", False),
    (_STARTED, False),
)


def list_page(listing: Listing, answers: Mapping[str, str]) -> str:
    """All studies on one page that updates itself; an answer that is not known yet comes with a later update."""
    rows = listing.overview.to_pylist()
    parts = [_table([_row(row, listing.progress[row["study"]], answers) for row in rows])] if rows else [_nothing()]
    if listing.problems:
        parts.append(tag("h2", "Files that are left out, or in doubt"))
        parts.append(tag("ul", *(tag("li", one.line) for one in listing.problems), class_="said"))
    api = tag("p", tag("a", "The same as JSON: how to query it", href="/api/openapi.json"), class_="aside-note")
    return framed(
        "batchscope: studies",
        tag("main", tag("h1", "Studies"), *parts, api),
        style=style(0, text_of("listing.css")),
        script=script(_SCRIPT),
        refresh_seconds=REFRESH_SECONDS,
        data_study="list of studies",
    )


def _nothing() -> Markup:
    return tag("p", "No studies yet: ", tag("code", "batchscope run STUDY.yaml"), " writes here.")


def _table(rows: list[Markup]) -> Markup:
    search = tag("input", type="search", name="filter", placeholder="words in any column", aria_label="filter studies")
    compare = tag("a", "Compare", href="/compare", class_="compare")
    tools = tag("p", tag("label", "filter ", search), compare, tag("span", class_="told", role="status"))
    head = tag(
        "tr",
        *(tag("th", text, scope="col", class_="number" if number else None) for text, number in _HEADS),
        tag("th", tag("span", "compare", class_="scripted"), scope="col", class_="unsorted"),
    )
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="sortable studies")
    # Focusable, so that it can be scrolled from the keyboard too.
    scroll = tag("div", table, class_="listed", tabindex="0", role="region", aria_label="Studies", id="studies")
    return join([tag("div", tools, class_="tools scripted"), scroll])


def _row(row: Mapping[str, Any], progress: TrialCounts, answers: Mapping[str, str]) -> Markup:
    name, loss, started = row["study"], row["lowest_validation_loss_mean"], row["started_at"]
    batch = row["lowest_global_batch"]
    answer, words = answers.get(name), about(row)
    pick = tag("input", type="checkbox", name="of", value=name, aria_label=f"compare {name}", class_="scripted")
    return tag(
        "tr",
        tag("th", tag("a", name, href=f"/studies/{name}"), *([tag("p", words)] if words else []), scope="row"),
        tag("td", answer or _PENDING, class_="answer" if answer else "answer none"),
        tag("td", "; ".join(counted(progress)), *_bar(name, progress), data_value=f"{progress.done}"),
        _number(loss, "" if loss is None else f"{loss:.4f}", _LOWEST),
        _number(batch, "" if batch is None else f"{batch}", _BATCH),
        tag("td", "; ".join(money(progress))),
        tag("td", row["task"] or ""),
        tag("td", "" if started is None else f"{started:%Y-%m-%d %H:%M}", class_="when", data_head=_STARTED),
        tag("td", pick, data_head="compare"),
    )


def _number(value: float | None, text: str, head: str) -> Markup:
    """A cell of a number, under its `head`, which stands before it where the table is narrow."""
    class_, shown = ("number", repr(value)) if text else ("number none", None)
    return tag("td", text, class_=class_, data_value=shown, data_head=head)


def _bar(name: str, progress: TrialCounts) -> list[Markup]:
    parts = []
    if progress.asked:
        done = progress.done - progress.failures.failed
        parts.append(tag("progress", max=f"{progress.asked}", value=f"{done}", aria_label=name))
    if failed := sentence(progress.failures):
        parts.append(tag("p", failed, class_="failed"))
    return parts
