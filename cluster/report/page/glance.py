"""The batch sizes at a glance: quality, time, speed and memory of each, and its outcome, in a row."""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.analysis.figures import CellVerdict
from cluster.analysis.verdict import GroupVerdict
from cluster.report import verdict_table
from cluster.report.duration import duration
from cluster.report.page.markup import Markup, tag
from cluster.report.page.scales import value_text

_CLASS = {"worse": "bad", "better": "good", "equivalent": "good"}


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column: its heading, and what it says of a batch size (None: nothing is known)."""

    name: str
    text: Callable[[CellVerdict], str | None]


_COLUMNS = [
    _Column(
        name="test accuracy",
        text=lambda cell: None if cell.test_accuracy is None else f"{cell.test_accuracy.mean:.1%}",
    ),
    _Column(name="a run takes", text=lambda cell: None if cell.seconds is None else duration(cell.seconds)),
    _Column(name="a run costs", text=lambda cell: None if cell.usd is None else f"{cell.usd:.2g} usd"),
    _Column(
        name="rows/s",
        text=lambda cell: None if cell.examples_per_second is None else f"{cell.examples_per_second:,.0f}",
    ),
    _Column(
        name="memory, at most",
        text=lambda cell: None if cell.peak_memory_bytes is None else f"{cell.peak_memory_bytes / 2**30:.2f} GiB",
    ),
    _Column(
        name="reached target",
        text=lambda cell: None if cell.reach is None else f"{cell.reach.success.reached} of {cell.reach.success.runs}",
    ),
]


def glance(group: GroupVerdict) -> Markup:
    """A row for each batch size; columns of which nothing is known are left out."""
    shown = [column for column in _COLUMNS if any(column.text(cell) for cell in group.cells)]
    names = ["B", "best val. loss", "against reference", *(column.name for column in shown)]
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    rows = []
    for cell in group.cells:
        outcome = _outcome(group, cell.global_batch)
        figures = [tag("td", column.text(cell) or "-") for column in shown]
        loss = tag("td", value_text(cell.loss.mean if cell.loss else None))
        first = tag("th", f"{cell.global_batch}", scope="row")
        rows.append(tag("tr", first, loss, tag("td", outcome, class_=_CLASS.get(outcome)), *figures))
    table = tag("table", tag("caption", "At a glance"), tag("thead", head), tag("tbody", *rows))
    return tag("div", table, class_="glance", tabindex="0", role="region", aria_label="At a glance")


def _outcome(group: GroupVerdict, batch: int) -> str:
    outcomes = {one.global_batch: one.outcome for one in group.qualities}
    return outcomes.get(batch) or verdict_table.standing(group, batch)
