"""Plot 5: updates against examples to the target: a larger batch saves updates and costs examples."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cluster.analysis.critical_batch import Fit
from cluster.report.page.chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Chart,
    Missing,
    frame,
    label,
    mark,
    path,
    text_width,
)
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import Scale, log, value_text
from cluster.report.page.to_target import middle

TITLE = "Updates against examples"
Place = tuple[int, float, float]


def chart(facts: Facts, group: Group) -> Chart | Missing:
    """The plot, with the fitted law if there is one."""
    places = [place for cell in group.verdict.cells if cell.reach and (place := _place(cell.global_batch, cell.reach))]
    if len(places) < 2:
        return Missing(title=TITLE, why="fewer than two batch sizes reached a target in most of their runs")
    usable = {cell.global_batch: cell.usable for cell in group.verdict.cells}
    law = group.verdict.scaling.knee.law if group.verdict.scaling.knee else None
    x = log([updates for _, updates, _ in places], LEFT, WIDTH - RIGHT, air=0.14)
    y = log([examples for _, _, examples in places], HEIGHT - BOTTOM, TOP, air=0.14)
    parts = [
        frame(x, y, x_title="updates to the target (log)", y_title="examples to the target (log)"),
        *([_law(law, places, x, y)] if law else []),
        *(_mark(place, x, y, facts, usable=usable[place[0]]) for place in places),
        _labels(places, x, y),
    ]
    listed = "; ".join(f"B = {b}: {value_text(updates)} and {value_text(examples)}" for b, updates, examples in places)
    note = "Lower is less computing; further left is fewer updates in sequence."
    return Chart(
        name=f"tradeoff{group.suffix}",
        title=TITLE,
        note=note + (" Line: the fitted law." if law else ""),
        says=f"Updates and examples to the target: {listed}.",
        drawing=join(parts),
        table=pa.Table.from_pylist([{"global_batch": b, "updates": s, "examples": e} for b, s, e in places]),
    )


def _place(batch: int, reach: object) -> Place | None:
    found = [middle(reach, measure) for measure in ("updates", "examples")]  # type: ignore[arg-type]
    if found[0] is None or found[1] is None or min(found[0][0], found[1][0]) <= 0:
        return None
    return batch, found[0][0], found[1][0]


def _mark(place: Place, x: Scale, y: Scale, facts: Facts, *, usable: bool) -> Markup:
    batch, updates, examples = place
    colour = facts.colours[batch]
    tip = f"B = {batch}: {value_text(updates)} updates, {value_text(examples)} examples"
    look = f"dot f{colour}" if usable else f"hollow s{colour}"
    dot = tag("circle", cx=x(updates), cy=y(examples), r=5, class_=look)
    return mark(tip, x(updates), y(examples), dot, batch=batch)


def _law(law: Fit, places: Sequence[Place], x: Scale, y: Scale) -> Markup:
    batches = np.geomspace(min(b for b, _, _ in places), max(b for b, _, _ in places), 60)
    updates = law.smin + law.emin / batches
    inside = [(s, s * b) for s, b in zip(updates, batches, strict=True)]
    points = [(x(s), y(e)) for s, e in inside if x.low <= s <= x.high and y.low <= e <= y.high]
    return tag("path", d=path(points), class_="law") if len(points) > 1 else Markup("")


def _labels(places: Sequence[Place], x: Scale, y: Scale) -> Markup:
    """A label for each batch size right, left, above or below its point where it touches nothing; otherwise none."""
    taken = [(x(s) - 5, y(e) - 5, x(s) + 5, y(e) + 5) for _, s, e in places]
    parts = []
    for batch, updates, examples in places:
        text, at, height = f"{batch}", x(updates), y(examples)
        wide = text_width(text, 14)
        for left, base in ((at + 9, height + 4), (at - 9 - wide, height + 4), (at - wide / 2, height - 9)):
            box = (left, base - 11, left + wide, base + 3)
            if box[2] < WIDTH and not any(_touch(box, other) for other in taken):
                taken.append(box)
                parts.append(label(text, left, base, class_="strong"))
                break
    return join(parts)


def _touch(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
