"""Plot 9: the gradient noise scale while training, with lines at the batch sizes: a diagnostic."""

import math
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.report.page.chart import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Chart, Missing, frame, label, path
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import Scale, apart, log, value_text
from cluster.summary import query

TITLE = "Gradient noise scale"
_RIGHT = 34


def chart(facts: Facts, group: Group) -> Chart | Missing:
    """The plot: means over a batch size's runs at each measured update."""
    means = _means(facts, group)
    if not means:
        return Missing(title=TITLE, why="no noise scale was measured")
    updates = [update for points in means.values() for update, _ in points]
    scales = [scale for points in means.values() for _, scale in points]
    x = log(updates, LEFT, WIDTH - _RIGHT, air=0.02)
    y = log([*scales, *means], HEIGHT - BOTTOM, TOP)
    lines = [
        tag(
            "path",
            d=path([(x(update), y(scale)) for update, scale in points]),
            class_=f"line s{facts.colours[batch]}",
            data_batch=batch,
            data_unit="updates",
            data_what="noise scale",
            data_x=" ".join(f"{update:.5g}" for update, _ in points),
            data_y=" ".join(f"{scale:.4g}" for _, scale in points),
        )
        for batch, points in means.items()
    ]
    listed = ", ".join(f"{value_text(points[-1][1])} at B = {batch}" for batch, points in means.items())
    return Chart(
        name=f"noise{group.suffix}",
        title=TITLE,
        note="A diagnostic that varies a hundredfold. Dashed: each batch size; far above its line, noise dominates.",
        says=f"Noise scale at the last measurement: {listed}.",
        drawing=join(
            [
                frame(x, y, x_title="updates (log)", y_title="noise scale, rows (log)"),
                _batch_lines(list(means), x, y),
                *lines,
            ]
        ),
        table=pa.Table.from_pylist(
            [
                {"global_batch": batch, "update": update, "mean_noise_scale": scale}
                for batch, points in means.items()
                for update, scale in points
            ]
        ),
    )


def _means(facts: Facts, group: Group) -> dict[int, list[tuple[float, float]]]:
    """By global batch, the rising updates with the mean noise scale of the runs measured there."""
    batches = {run.trial_id: cell.global_batch for cell in group.cells for run in cell.runs}
    wanted = facts.evaluations.filter(pc.is_finite(facts.evaluations["noise_scale"]))
    found: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in query.curves(wanted).select(["trial_id", "update", "noise_scale"]).to_pylist():
        if row["trial_id"] in batches and row["noise_scale"] > 0 and row["update"] > 0:
            found[batches[row["trial_id"]]][row["update"]].append(math.log(row["noise_scale"]))
    return {
        batch: [(update, math.exp(float(np.mean(logs)))) for update, logs in sorted(found[batch].items())]
        for batch in sorted(found)
    }


def _batch_lines(batches: list[int], x: Scale, y: Scale) -> Markup:
    kept = apart([y(batch) for batch in batches], [12.0] * len(batches), gap=1.0)
    parts = []
    for batch, shown in zip(batches, kept, strict=True):
        parts.append(tag("line", x1=x.start, x2=x.end, y1=y(batch), y2=y(batch), class_="reference"))
        if shown:
            parts.append(label(f"{batch}", x.end + 5, y(batch) + 4, class_="aside"))
    return join(parts)
