"""Results by class: how well each class of the test split is found at each batch size, and what it is taken for."""

from collections.abc import Sequence

import pyarrow as pa

from cluster.analysis.by_class import ByClass, most_confused, names, pooled
from cluster.analysis.counted import counted
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.tables import csv_link, html_table
from trainer.classes import CLASSES_CROSSED

_SHADES = 9


def section(facts: Facts, group: Group, heading: str) -> Markup:
    """The section of a classification; empty for other tasks, and before a run that counts has completed."""
    runs = {cell.global_batch: [run for run in cell.runs if run.completed] for cell in group.cells}
    if facts.task != "classification" or not any(runs.values()):
        return Markup("")
    title = tag("h2", f"Results by class{f': {heading}' if heading else ''}")
    found = {
        batch: one
        for batch, of_batch in runs.items()
        if (one := pooled(run.row["test_classes"] for run in of_batch)) is not None
    }
    sizes = {len(one.classes) for one in found.values()}
    if len(sizes) != 1:
        why = "Not recorded: an earlier version trained these runs, or there are too many classes."
        return tag("section", title, tag("p", why, class_="aside-note"), id=f"classes{group.suffix}")
    known = names(facts.specs["label_names"][-1].as_py(), *sizes)
    lead = (
        "The test split at each run's best weights, all runs of a batch size counted together. F1 is the harmonic mean "
        "of precision and recall. A description without a test: classes with few rows differ by chance."
    )
    file = f"{facts.study}-classes{group.suffix}.csv"
    return tag(
        "section",
        title,
        tag("p", lead),
        html_table(
            _f1(found, known),
            "F1 of each class at each batch size",
            decimals={f"B{b}": 3 for b in found},
            heads=_heads(found),
        ),
        tag("p", csv_link(_all(found, known), file, "by class (CSV)"), class_="downloads"),
        *(folded(f"B = {batch}", one, known) for batch, one in found.items()),
        class_="classes",
        id=f"classes{group.suffix}",
    )


def _heads(found: dict[int, ByClass]) -> dict[str, str]:
    return {"class": "class", "rows": "rows"} | {f"B{batch}": f"B = {batch}" for batch in found}


def _f1(found: dict[int, ByClass], known: Sequence[str]) -> pa.Table:
    first = next(iter(found.values()))
    supports = [first.classes[number].support // first.runs for number in range(len(known))]
    rows = [
        {"class": name, "rows": supports[number]}
        | {f"B{batch}": one.classes[number].f1 for batch, one in found.items()}
        for number, name in enumerate(known)
    ]
    mean = {"class": "mean of all classes", "rows": sum(supports)}
    return pa.Table.from_pylist([*rows, mean | {f"B{batch}": one.macro_f1 for batch, one in found.items()}])


def folded(name: str, one: ByClass, known: Sequence[str]) -> Markup:
    """The classes of one batch size or trial, behind a click."""
    caption = f"{name}, {counted(one.runs, 'run')}: each class"
    rows = pa.Table.from_pylist([{"class": name, **_figures(one, number)} for number, name in enumerate(known)])
    inner = [html_table(rows, caption, decimals=dict.fromkeys(("precision", "recall", "f1"), 3), heads={"f1": "F1"})]
    if confused := most_confused(one):
        told = "; ".join(f"{known[own]} for {known[other]}, {part:.0%} of its rows" for own, other, part in confused)
        inner.insert(0, tag("p", f"Most often taken for another: {told}."))
    if one.crossed is not None:
        inner.append(_confusion(name, one, known))
    else:
        inner.append(tag("p", f"Pairs are recorded for up to {CLASSES_CROSSED} classes.", class_="aside-note"))
    return tag("details", tag("summary", f"{name}: precision, recall and confusion"), *inner)


def _figures(one: ByClass, number: int) -> dict[str, float | int | None]:
    found = one.classes[number]
    return {
        "precision": found.precision,
        "recall": found.recall,
        "f1": found.f1,
        "support": found.support,
        "predicted": found.predicted,
    }


def _confusion(name: str, one: ByClass, known: Sequence[str]) -> Markup:
    """The rows of each class by what they were taken for; columns are numbered, since names may be long."""
    assert one.crossed is not None
    head = tag("tr", tag("th", "class", scope="col"), *(tag("th", f"{n + 1}", scope="col") for n in range(len(known))))
    body = []
    for number, (own, row) in enumerate(zip(known, one.crossed, strict=True)):
        cells = (tag("td", f"{count:,}", class_=_shade(count, sum(row))) for count in row)
        body.append(tag("tr", tag("th", f"{number + 1} {own}", scope="row"), *cells))
    caption = f"{name}: rows of each class, by the class that was predicted"
    table = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body), class_="confusion")
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _shade(count: int, whole: int) -> str:
    """The class of a cell: the darker, the larger its part of the row."""
    shade = round(_SHADES * count / whole) if whole else 0
    return f"number shade{shade}" if count else "number none"


def _all(found: dict[int, ByClass], known: Sequence[str]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"global_batch": batch, "class": name, "runs": one.runs, **_figures(one, number)}
            for batch, one in found.items()
            for number, name in enumerate(known)
        ]
    )


def shades() -> str:
    """The rules of the confusion's cells."""
    return join(
        Markup(f".shade{shade}{{background:color-mix(in srgb,var(--accent) {5 * shade}%,var(--paper))}}")
        for shade in range(1, _SHADES + 1)
    )
