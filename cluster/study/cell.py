"""A cell: a global batch, optimizer and dtype, for which the learning rate is tuned."""

from trainer.trial import TrialSpec

CellKey = tuple[int, str, str]
GroupKey = tuple[str, str]


def cell_of(trial: TrialSpec) -> CellKey:
    """What the learning rate is tuned for."""
    return trial.global_batch, trial.optimizer, trial.dtype


def group_of(cell: CellKey) -> GroupKey:
    """The optimizer and dtype, within which batch sizes are compared."""
    return cell[1:]
