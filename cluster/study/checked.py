"""The trials of a study on which `check` compares the layouts."""

from collections.abc import Sequence

from trainer.order.layouts import ROWS_AT_MOST
from trainer.trial import TrialSpec


def checked(trials: Sequence[TrialSpec]) -> list[TrialSpec]:
    """One trial for each dtype, with the largest global batch that is checked whole."""
    batches = {trial.global_batch for trial in trials}
    batch = max((batch for batch in batches if batch <= ROWS_AT_MOST), default=min(batches))
    return list({trial.dtype: trial for trial in trials if trial.global_batch == batch}.values())
