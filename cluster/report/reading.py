"""A study's points summed up in two lines, which claim nothing that the points cannot show."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

from cluster.analysis.counted import counted
from trainer.trial import DURATION_UNITS

LOSS = "best_validation_loss_mean"
# Amounts that differ by less than this factor count as equal, because budgets end at whole updates.
_EQUAL = 1.1
Row = dict[str, Any]


def two_lines(points: pa.Table, budget: Mapping[str, Any]) -> list[str]:
    """What the global batches of one study achieved within its budget; empty if fewer than two were measured.

    `points` is `cluster.summary.query.points(..., by=["global_batch"])`; `budget` is the spec's, as plain values: one
    duration, or one for each global batch.
    """
    rows = [row for row in points.to_pylist() if row[LOSS] is not None]
    if len(rows) < 2:
        return []
    best, worst = min(rows, key=lambda row: row[LOSS]), max(rows, key=lambda row: row[LOSS])
    equal = _equal(budget, rows)
    work = "examples" if equal == "updates" else "updates"
    return [
        f"Lowest mean validation loss: {_named(best)}; highest: {_named(worst)}, "
        f"with {worst[f'{work}_mean']:,.0f} {work} against {best[f'{work}_mean']:,.0f}.",
        f"{_reading(equal, rows)}; {_seeds(rows)} a first look, not a verdict.",
    ]


def _equal(budget: Mapping[str, Any], rows: Sequence[Row]) -> str | None:
    """The unit in which all global batches had the same budget; None if there is no such unit."""
    [*units] = {unit for one in _durations(budget) for unit in one}
    if len({str(one) for one in _durations(budget)}) == 1:
        return units[0]
    work: tuple[Literal["updates", "examples"], ...] = ("updates", "examples")
    return next((unit for unit in work if _most(rows, unit) <= _EQUAL * _least(rows, unit)), None)


def _durations(budget: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [budget] if set(budget) <= set(DURATION_UNITS) else list(budget.values())


def _most(rows: Sequence[Row], work: str) -> float:
    return float(max(row[f"{work}_mean"] for row in rows))


def _least(rows: Sequence[Row], work: str) -> float:
    return float(min(row[f"{work}_mean"] for row in rows))


def _reading(equal: str | None, rows: Sequence[Row]) -> str:
    """What was held equal, and what is therefore compared besides batch sizes."""
    if equal == "updates":
        most, least = _most(rows, "examples"), _least(rows, "examples")
        return (
            f"Equal updates give large batches more examples ({most:,.0f} against {least:,.0f}), so this compares "
            "numbers of examples as much as batch sizes"
        )
    if equal == "seconds":
        return "Equal seconds let faster batch sizes do more work, so this compares speed as much as batch sizes"
    if equal is None:
        return "Each batch size had its own budget, so this compares budgets as much as batch sizes"
    return f"Equal {equal} give small batches more updates, so this compares numbers of updates as much as batch sizes"


def _seeds(rows: Sequence[Row]) -> str:
    fewest, most = min(row["seeds"] for row in rows), max(row["seeds"] for row in rows)
    if fewest < most:
        return f"{fewest} to {counted(most, 'seed')} at one rate each are"
    return f"{counted(most, 'seed')} at one rate each {'is' if most == 1 else 'are'}"


def _named(row: Row) -> str:
    deviation, diverged = row["best_validation_loss_sd"], row["diverged"]
    notes = [] if deviation is None else [f"deviation {deviation:.3f} over {counted(row['seeds'], 'seed')}"]
    notes += [f"{diverged} of its {counted(row['trials'], 'trial')} diverged"] if diverged else []
    noted = f" ({'; '.join(notes)})" if notes else ""
    return f"global batch {row['global_batch']}, {row[LOSS]:.3f}{noted}"
