"""The batch sizes at a glance: quality, time, speed and memory of each, and its outcome, in a row."""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.analysis.figures import CellVerdict
from cluster.analysis.learnt import guess_of
from cluster.analysis.verdict import GroupVerdict
from cluster.report import verdict_table
from cluster.report.duration import duration
from cluster.report.page.facts import Facts
from cluster.report.page.look import loss_word
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


def glance(facts: Facts, group: GroupVerdict) -> Markup:
    """A row for each batch size, and one for the guess that looks at no input; columns without a value are left out."""
    names, rows = glance_rows(facts, group)
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    drawn = (
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", text, class_=_CLASS.get(text)) for text in row[1:]))
        for row in rows
    )
    caption = f"At a glance{' (MSE: the mean squared error of the label)' * (facts.task == 'regression')}"
    table = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *drawn))
    return tag("div", table, class_="glance", tabindex="0", role="region", aria_label="At a glance")


def glance_rows(facts: Facts, group: GroupVerdict) -> tuple[list[str], list[list[str]]]:
    """The headings and the rows of the table, as texts."""
    guess = guess_of(facts.verdict.declared.baseline_loss, facts.verdict.declared.best_constant_loss)
    columns = [*([_r_squared(guess)] if facts.task == "regression" and guess else []), *_COLUMNS]
    shown = [column for column in columns if any(column.text(cell) for cell in group.cells)]
    names = ["B", f"best val. {loss_word(facts)}", "against reference", *(column.name for column in shown)]
    rows = [
        [
            f"{cell.global_batch}",
            value_text(cell.loss.mean if cell.loss else None),
            _outcome(group, cell.global_batch),
            *(column.text(cell) or "-" for column in shown),
        ]
        for cell in group.cells
    ]
    if guess:
        word = "predicting the mean" if facts.task == "regression" else "guessing by frequency"
        rows.append([word, value_text(guess), "baseline", *("-" for _ in shown)])
    return names, rows


def _r_squared(guess: float) -> _Column:
    """The part of the labels' variance that is explained: 1 - MSE / that of predicting their mean."""
    return _Column(
        name="R squared, val.",
        text=lambda cell: None if cell.loss is None else f"{1 - cell.loss.mean / guess:.3f}",
    )


def _outcome(group: GroupVerdict, batch: int) -> str:
    outcomes = {one.global_batch: one.outcome for one in group.qualities}
    return outcomes.get(batch) or verdict_table.standing(group, batch)
