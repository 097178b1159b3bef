"""The classic picture: the loss against the learning rate, with a curve for each batch size."""

import math
from collections.abc import Iterator, Sequence

import pyarrow as pa

from cluster.analysis.cells import Cell
from cluster.report.page.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Missing, frame, label, mark, path
from cluster.report.page.facts import Facts, Group
from cluster.report.page.labels import Box, placed
from cluster.report.page.look import loss_word
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import Scale, linear, log, value_text

TITLE = "Loss against learning rate"
# What is further above the lowest mean than this many times the middle of the others is drawn at the upper edge: it
# would leave no height for the rest.
_FAR = 3.0


def chart(facts: Facts, group: Group) -> Chart | Missing:
    """The plot, of the trials that chose the rates."""
    cells = [cell for cell in group.cells if len(cell.rates) > 1]
    title = TITLE.replace("Loss", loss_word(facts)) if loss_word(facts) != "loss" else TITLE
    if not cells:
        return Missing(title=title, why="each batch size was trained at only one learning rate")
    finite = sorted(loss for cell in cells for loss in cell.rates.values() if math.isfinite(loss))
    if not finite:
        return Missing(title=title, why="no learning rate tried has a loss")
    most = finite[0] + _FAR * (finite[len(finite) // 2] - finite[0] or abs(finite[0]) or 1.0)
    x = log([rate for cell in cells for rate in cell.rates], LEFT, WIDTH - RIGHT, air=0.07)
    y = linear([loss for loss in finite if loss <= most], HEIGHT - BOTTOM, TOP)
    lines = {cell.global_batch: _line(cell, x, y) for cell in cells}
    above = any(loss > y.high for cell in cells for loss in cell.rates.values())
    listed = ", ".join(
        f"{value_text(min(cell.rates.values()))} at {min(cell.rates, key=lambda rate: cell.rates[rate]):.3g} "
        f"with B = {cell.global_batch}"
        for cell in cells
        if math.isfinite(min(cell.rates.values()))
    )
    return Chart(
        name=f"loss-by-rate{group.suffix}",
        title=title,
        note="A curve for each batch size; large: the lowest."
        + (" Crosses at the edge: further above, diverged or stopped." if above else ""),
        says=f"Lowest mean best validation {loss_word(facts)} of those tried: {listed}.",
        drawing=join(
            [
                frame(x, y, x_title="learning rate (log)", y_title=f"mean best validation {loss_word(facts)}"),
                *(
                    tag("path", d=path(points), class_=f"line s{facts.colours[batch]}", data_batch=batch)
                    for batch, points in lines.items()
                    if len(points) > 1
                ),
                *(one for cell in cells for one in _marks(cell, x, y, facts)),
                _labels(cells, x, y, list(lines.values())),
            ]
        ),
        table=_table(cells, loss_word(facts)),
    )


def _line(cell: Cell, x: Scale, y: Scale) -> list[tuple[float, float]]:
    known = sorted((rate, loss) for rate, loss in cell.rates.items() if loss <= y.high)
    return [(x(rate), y(loss)) for rate, loss in known]


def _marks(cell: Cell, x: Scale, y: Scale, facts: Facts) -> Iterator[Markup]:
    colour, best = facts.colours[cell.global_batch], min(cell.rates, key=lambda rate: cell.rates[rate])
    for rate, loss in sorted(cell.rates.items()):
        known = f"mean {loss_word(facts)} {value_text(loss)}" if math.isfinite(loss) else "diverged or stopped"
        tip = f"B = {cell.global_batch}, rate {rate:.3g}: {known}"
        at, height = x(rate), y(loss) if loss <= y.high else y.end
        if loss <= y.high:
            drawn = tag("circle", cx=at, cy=height, r=5 if rate == best else 2.6, class_=f"dot f{colour}")
        else:
            drawn = tag("path", d=f"M{at - 3:.1f} {height - 3:.1f}l6 6m0 -6l-6 6", class_=f"arrow s{colour}")
        yield mark(tip, at, height, drawn, batch=cell.global_batch)


def _labels(cells: Sequence[Cell], x: Scale, y: Scale, lines: Sequence[Sequence[tuple[float, float]]]) -> Markup:
    """The batch size beside the lowest point of its curve."""
    found = [
        (cell, rate, cell.rates[rate])
        for cell in cells
        for rate in [min(cell.rates, key=lambda rate: cell.rates[rate])]
        if cell.rates[rate] <= y.high
    ]
    dots = [[(at - 5, height), (at + 5, height)] for points in lines for at, height in points]
    wishes = [(f"{cell.global_batch}", (x(rate) + 2, y(loss))) for cell, rate, loss in found]
    places = placed(wishes, [*lines, *dots], Box(x.start, y.end, WIDTH, y.start - 2))
    return join(
        label(text, *place, class_="strong")
        for (text, _), place in zip(wishes, places, strict=True)
        if place is not None
    )


def _table(cells: Sequence[Cell], word: str) -> pa.Table:
    rows = [
        {
            "global_batch": cell.global_batch,
            "learning_rate": rate,
            f"mean_best_validation_{word.lower()}": loss if math.isfinite(loss) else None,
            "trials": sum(run.row["learning_rate"] == rate for run in cell.searched),
        }
        for cell in cells
        for rate, loss in sorted(cell.rates.items())
    ]
    return pa.Table.from_pylist(rows)
