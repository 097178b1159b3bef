"""Plots 1 to 3: the updates, examples, seconds and money that each batch size takes to reach the target.

Runs that missed the target are drawn as arrows up from where they ended. A cell's middle is the geometric mean with its
95 % interval if every run reached the target, and otherwise Kaplan-Meier's median, which counts the misses too.
"""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cluster.analysis.counted import counted
from cluster.analysis.paired import interval as t_interval
from cluster.analysis.reach import CellReach
from cluster.report.page.chart import Chart, Missing, arrow, label, mark, path
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.over_batches import Middle, batch_frame, batch_scale, beside, middles, room, seeds, span
from cluster.report.page.scales import Scale, log, value_text

TITLES = {
    "updates": "Updates to the target",
    "examples": "Examples to the target",
    "seconds": "Time to the target",
    "usd": "Money to the target",
}
UNITS = {"updates": "updates", "examples": "examples", "seconds": "seconds", "usd": "usd"}
_ARROWS = "arrows up: runs that missed the target, from where they ended"
_NOTES = {
    "updates": f"Dashed: twice the batch, half the updates; {_ARROWS}.",
    "examples": f"Dashed: 1.2 and 2 times the fewest; {_ARROWS}.",
    "seconds": f"Seconds of training; {_ARROWS}.",
    "usd": f"At the machines' price, everything included; {_ARROWS}.",
}


def middle(reach: CellReach, measure: str) -> tuple[float, float | None, float | None] | None:
    """A cell's middle value and its interval; None if fewer than half of its runs reached the target, or if unknown."""
    found = reach.measures[measure]
    if found is None or found.median is None:
        return None
    if not reach.every_run:
        return found.median, None, None
    values = [getattr(run, measure) for run in reach.deciding]
    if min(values) <= 0:
        return None
    logs = t_interval(np.log(values))
    low, high = (None if end is None else math.exp(end) for end in (logs.low, logs.high))
    return math.exp(logs.mean), low, high


def chart(facts: Facts, group: Group, measure: str) -> Chart | Missing:
    """The plot of one measure."""
    title = TITLES[measure]
    reaches = {cell.global_batch: cell.reach for cell in group.verdict.cells if cell.reach is not None}
    why = _why_not(facts, reaches, measure)
    if why is not None:
        return Missing(title=title, why=why)
    usable = {cell.global_batch: cell.usable for cell in group.verdict.cells}
    found = [_middle(batch, reach, measure, usable=usable[batch]) for batch, reach in reaches.items()]
    known = [one for one in found if one is not None]
    batches = list(reaches)
    values = [getattr(run, measure) for reach in reaches.values() for run in reach.runs]
    x, y = batch_scale(batches), log([value for value in values if value > 0], *span())
    parts = [
        batch_frame(x, y, batches, f"{UNITS[measure]} to the target (log)"),
        _references(measure, known, x, y),
        *(_runs(batch, reach, measure, x, y, facts.colours[batch], room(batches)) for batch, reach in reaches.items()),
        middles(known, x, y, facts.colours),
    ]
    return Chart(
        name=f"{measure}-to-target{group.suffix}",
        title=title,
        note=_NOTES[measure],
        says=_says(known, reaches, measure, facts.verdict.declared.target),
        drawing=join(parts),
        table=_table(reaches, measure),
    )


def _why_not(facts: Facts, reaches: dict[int, CellReach], measure: str) -> str | None:
    declared = facts.verdict.declared
    if declared.target_late and declared.target is None:
        return "the target was declared after the confirmations began"
    if declared.target is None:
        auto = declared.spec.get("target") == "auto"
        return "the automatic target needs a finished screen" if auto else "no target was declared"
    if not reaches:
        return "no run has ended yet"
    if measure == "usd" and all(reach.measures["usd"] is None for reach in reaches.values()):
        return "these machines have no known price"
    if any(reach.measures[measure] is None for reach in reaches.values()):
        return "the price of some machines is not known"
    if not any(run.reached for reach in reaches.values() for run in reach.runs):
        return "no run reached the target"
    return None


def _middle(batch: int, reach: CellReach, measure: str, *, usable: bool) -> Middle | None:
    found = middle(reach, measure)
    if found is None:
        return None
    value, low, high = found
    tip = f"B = {batch}: {value_text(value)} {UNITS[measure]}, "
    if low is not None:
        tip += f"geometric mean, 95 % CI {value_text(low)} to {value_text(high)}; "
    elif not reach.every_run:
        tip += "median with the runs that missed it counted; "
    tip += f"{reach.success.reached} of {counted(reach.success.runs, 'run')} reached it"
    return Middle(batch=batch, value=value, low=low, high=high, usable=usable, tip=tip)


def _runs(batch: int, reach: CellReach, measure: str, x: Scale, y: Scale, colour: int, width: float) -> Markup:
    came = [
        (getattr(run, measure), f"B = {batch}, seed {run.seed}: {value_text(getattr(run, measure))} {UNITS[measure]}")
        for run in reach.runs
        if run.reached and getattr(run, measure) > 0
    ]
    missed = [run for run in reach.runs if not run.reached and getattr(run, measure) > 0]
    parts = [seeds(batch, came, x, y, colour, width)]
    for number, run in enumerate(missed):
        at, height = x(batch) + beside(number, len(missed), width, apart=4.5), y(getattr(run, measure))
        tip = f"B = {batch}, seed {run.seed}: not reached within {value_text(getattr(run, measure))} {UNITS[measure]}"
        parts.append(mark(tip, at, height - 6, arrow(at, height, f"s{colour}"), batch=batch))
    return join(parts)


def _references(measure: str, known: Sequence[Middle], x: Scale, y: Scale) -> Markup:
    if not known or measure in ("seconds", "usd"):
        return Markup("")
    if measure == "updates":
        return _ideal(known[0], x, y)
    least = min(one.value for one in known)
    parts = []
    for factor in (1.2, 2.0):
        if y.low < factor * least < y.high:
            height = y(factor * least)
            parts.append(tag("line", x1=x.start, x2=x.end, y1=height, y2=height, class_="reference"))
            parts.append(label(f"{factor:g}x", x.end + 3, height + 4, class_="aside"))
    return join(parts)


def _ideal(first: Middle, x: Scale, y: Scale) -> Markup:
    """Perfect scaling from the smallest batch to the end of the frame."""
    work = first.batch * first.value
    last = min(x.high, work / y.low)
    ends = [(x(batch), y(work / batch)) for batch in (first.batch, last)]
    return tag("path", d=path(ends), class_="reference")


def _says(known: Sequence[Middle], reaches: dict[int, CellReach], measure: str, target: float | None) -> str:
    listed = ", ".join(f"{value_text(one.value)} at B = {one.batch}" for one in known) or "no batch size in most runs"
    missed = [batch for batch, reach in reaches.items() if reach.success.reached < reach.success.runs]
    end = f" Not every run reached it at B = {', '.join(map(str, missed))}." if missed else ""
    return f"{UNITS[measure]} to a validation loss of {value_text(target)}: {listed}.{end}"


def _table(reaches: dict[int, CellReach], measure: str) -> pa.Table:
    rows = []
    for batch, reach in reaches.items():
        central = middle(reach, measure) or (None, None, None)
        rows += [
            {
                "global_batch": batch,
                "seed": run.seed,
                "reached": "yes" if run.reached else "no",
                measure: getattr(run, measure),
                "middle_of_batch": central[0],
                "low95": central[1],
                "high95": central[2],
            }
            for run in reach.runs
        ]
    return pa.Table.from_pylist(rows)
