"""A study's points read in two lines, worded so that nothing is claimed that the points cannot show."""

from typing import Any

import pyarrow as pa

LOSS = "best_validation_loss_mean"


def two_lines(points: pa.Table) -> list[str]:
    """What the global batches of one study did at equal budgets; empty when fewer than two were measured.

    `points` is `cluster.summary.query.points(..., by=["global_batch"])`.
    """
    rows = [row for row in points.to_pylist() if row[LOSS] is not None]
    if len(rows) < 2:
        return []
    best, worst = min(rows, key=lambda row: row[LOSS]), max(rows, key=lambda row: row[LOSS])
    return [
        f"Lowest mean validation loss: {_named(best)}; highest: {_named(worst)}, "
        f"with {worst['updates_mean']:,.0f} updates against {best['updates_mean']:,.0f}.",
        "Equal epochs give small batches more updates, so this compares numbers of updates as much as batch sizes; "
        f"{int(best['seeds'])} seeds at one rate each are a first look, not a verdict.",
    ]


def _named(row: dict[str, Any]) -> str:
    deviation = row["best_validation_loss_sd"]
    spread = "" if deviation is None else f" (deviation {deviation:.3f} over {row['seeds']} seeds)"
    return f"global batch {row['global_batch']}, {row[LOSS]:.3f}{spread}"
