"""What a rate that is not tuned costs: the screen's losses of each batch size around the one rate for all of them."""

import math
from collections.abc import Iterator

import pyarrow as pa

from cluster.analysis.cells import Cell
from cluster.analysis.untuned import Untuned
from cluster.report.page.chart import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Chart, Missing, frame, label, mark, path
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import Scale, apart, log, value_text

TITLE = "Robustness to the learning rate"
# The axis of losses ends at so many margins, or at what the rate for all costs if that is more.
_MARGINS = 4.0
_RIGHT = 34
_RULES = {"none": "one rate", "sqrt": "one rate by the sqrt rule", "linear": "one rate by the linear rule"}


def chart(facts: Facts, group: Group) -> Chart | Missing:
    """The plot: how far above its best a batch size is at each rate tried, by how far that is from the rate for all."""
    found = group.verdict.untuned
    if found is None:
        return Missing(title=TITLE, why="it takes two batch sizes tuned over several rates, with the best one inside")
    points = {
        cell.global_batch: list(_points(cell, found)) for cell in group.cells if cell.global_batch in found.at_rate
    }
    margin = facts.verdict.declared.margin
    x = log([factor for one in points.values() for factor, _, _ in one], LEFT, WIDTH - _RIGHT)
    y = Scale(0.0, _highest(points, found, margin), HEIGHT - BOTTOM, TOP)
    parts = [
        frame(
            x,
            y,
            x_title="multiple of the rate for all (log)",
            y_title=f"loss above best{f' (dashed: margin {margin:g})' if margin else ''}",
        ),
        tag("line", x1=x(1.0), x2=x(1.0), y1=y.start, y2=y.end, class_="edge"),
        *_margin(margin, x, y),
        *(_basin(batch, one, x, y, facts) for batch, one in points.items()),
        *_names(points, x, y),
    ]
    lost = ", ".join(
        f"{'no loss at all' if math.isinf(above) else value_text(above)} at B = {batch}"
        for batch, above in found.losses_above_best.items()
    )
    return Chart(
        name=f"robustness{group.suffix}",
        title=TITLE,
        note="The screen's losses; dotted: the rate that is best for all together; dashed: the margin. Wide is robust.",
        says=f"Above the best at {_RULES[found.rule]} for all: {lost}.",
        drawing=join(parts),
        table=_table(points),
    )


def _points(cell: Cell, found: Untuned) -> Iterator[tuple[float, float, float]]:
    """By rising rate: its multiple of the rate for all, the rate, and the loss above the best (inf: it has none)."""
    best = min(cell.rates.values())
    for rate in sorted(cell.rates):
        yield rate / found.at_rate[cell.global_batch], rate, cell.rates[rate] - best


def _highest(points: dict[int, list[tuple[float, float, float]]], found: Untuned, margin: float | None) -> float:
    at_one_rate = [above for above in found.losses_above_best.values() if math.isfinite(above)]
    all_losses = [above for one in points.values() for _, _, above in one if math.isfinite(above)]
    wanted = max([_MARGINS * margin if margin else max(all_losses), *at_one_rate])
    return 1.08 * min(wanted, max(all_losses)) or 1.0


def _margin(margin: float | None, x: Scale, y: Scale) -> list[Markup]:
    if not margin or margin > y.high:
        return []
    return [tag("line", x1=x.start, x2=x.end, y1=y(margin), y2=y(margin), class_="reference")]


def _names(points: dict[int, list[tuple[float, float, float]]], x: Scale, y: Scale) -> Iterator[Markup]:
    """The batch size at the end of each line, of those that do not touch."""
    ends = {batch: y(min(one[-1][2], y.high)) for batch, one in points.items()}
    ordered = sorted(ends, key=lambda batch: ends[batch])
    kept = apart([ends[batch] for batch in ordered], [12.0] * len(ordered), gap=1.0)
    for batch, shown in zip(ordered, kept, strict=True):
        if shown:
            yield label(f"{batch}", x(points[batch][-1][0]) + 7, ends[batch] + 4, class_="aside halo")


def _basin(batch: int, points: list[tuple[float, float, float]], x: Scale, y: Scale, facts: Facts) -> Markup:
    """The line of a batch size with a dot for each rate; what lies above the frame is drawn at its upper end."""
    colour = facts.colours[batch]
    drawn = [(x(factor), y(min(above, y.high))) for factor, _, above in points if math.isfinite(above)]
    line = tag("path", d=path(drawn), class_=f"line s{colour}", data_batch=batch)
    dots = (
        mark(
            f"B = {batch}, rate {rate:.3g}: "
            + ("no loss (diverged or stopped)" if math.isinf(above) else f"{value_text(above)} above its best"),
            x(factor),
            y(min(above, y.high)),
            tag("circle", cx=x(factor), cy=y(min(above, y.high)), r=3, class_=_look(above, y, colour)),
            batch=batch,
        )
        for factor, rate, above in points
    )
    return join([line, *dots])


def _look(above: float, y: Scale, colour: int) -> str:
    return f"dot f{colour}" if above <= y.high else f"hollow s{colour}"


def _table(points: dict[int, list[tuple[float, float, float]]]) -> pa.Table:
    rows = [
        {
            "global_batch": batch,
            "learning_rate": rate,
            "multiple_of_rate_for_all": factor,
            "loss_above_best": above if math.isfinite(above) else None,
        }
        for batch, one in points.items()
        for factor, rate, above in one
    ]
    return pa.Table.from_pylist(rows)
