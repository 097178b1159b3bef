"""Plot 6: the learning rates tried at each batch size and the best of them, between the edges of the grid."""

import math

import pyarrow as pa

from cluster.analysis.cells import Cell
from cluster.report.page.chart import Chart, Missing, mark, path
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.over_batches import Middle, batch_frame, batch_scale, middles, span
from cluster.report.page.scales import Scale, log, value_text

TITLE = "Best learning rate"


def chart(facts: Facts, group: Group) -> Chart | Missing:
    """The plot; a best rate at an edge is hollow, because a better one may lie beyond."""
    cells = [cell for cell in group.cells if cell.rates]
    if not any(len(cell.rates) > 1 for cell in cells):
        return Missing(title=TITLE, why="each batch size was trained at only one learning rate")
    x = batch_scale([cell.global_batch for cell in cells])
    y = log([rate for cell in cells for rate in cell.rates], *span())
    best = [
        Middle(
            batch=cell.global_batch,
            value=cell.learning_rate,
            low=None,
            high=None,
            usable=not cell.at_edge,
            tip=f"{_tip(cell, cell.learning_rate)}: the best of {len(cell.rates)}{', at an edge' * cell.at_edge}",
        )
        for cell in cells
    ]
    edges = [
        tag("path", d=path([(x(c.global_batch), y(end(c.rates))) for c in cells]), class_="edge") for end in (min, max)
    ]
    parts = [
        batch_frame(x, y, [cell.global_batch for cell in cells], "learning rate (log)"),
        *(edges if len(cells) > 1 else []),
        *(_tried(cell, x, y) for cell in cells),
        middles(best, x, y, facts.colours),
    ]
    listed = ", ".join(
        f"{cell.learning_rate:.3g} at B = {cell.global_batch}{' (edge)' * cell.at_edge}" for cell in cells
    )
    return Chart(
        name=f"rates{group.suffix}",
        title=TITLE,
        note="Grey: rates tried, between the grid's edges (dotted); large: the best, hollow if it is at an edge.",
        says=f"Best rate: {listed}.",
        drawing=join(parts),
        table=_table(cells),
    )


def _tip(cell: Cell, rate: float) -> str:
    loss = cell.rates.get(rate, math.inf)
    outcome = f"mean loss {value_text(loss)}" if math.isfinite(loss) else "no loss (diverged or stopped)"
    return f"B = {cell.global_batch}, rate {rate:.3g}: {outcome}"


def _tried(cell: Cell, x: Scale, y: Scale) -> Markup:
    return join(
        mark(
            _tip(cell, rate),
            x(cell.global_batch),
            y(rate),
            tag("circle", cx=x(cell.global_batch), cy=y(rate), r=2.6, class_="tried"),
            batch=cell.global_batch,
        )
        for rate in cell.rates
        if rate != cell.learning_rate
    )


def _table(cells: list[Cell]) -> pa.Table:
    rows = [
        {
            "global_batch": cell.global_batch,
            "learning_rate": rate,
            "mean_best_validation_loss": loss if math.isfinite(loss) else None,
            "chosen": "yes" if rate == cell.learning_rate else "no",
        }
        for cell in cells
        for rate, loss in cell.rates.items()
    ]
    return pa.Table.from_pylist(rows)
