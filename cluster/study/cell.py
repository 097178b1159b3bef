"""A cell: a global batch, optimizer, dtype and settings of the optimizer, for which the learning rate is tuned."""

from collections.abc import Mapping
from typing import Any

from trainer.trial import TrialSpec

# The settings are those of `trainer.trial.TrialSpec.settings`, empty where there are none.
CellKey = tuple[int, str, str, str]
GroupKey = tuple[str, str, str]


def cell_of(trial: TrialSpec) -> CellKey:
    """What the learning rate is tuned for."""
    return trial.global_batch, trial.optimizer, trial.dtype, trial.settings or ""


def cell_of_row(row: Mapping[str, Any]) -> CellKey:
    """The same, from a trial's row in the summary."""
    return row["global_batch"], row["optimizer"], row["dtype"], row["settings"] or ""


def group_of(cell: CellKey) -> GroupKey:
    """The optimizer, dtype and settings, within which batch sizes are compared."""
    return cell[1:]
