"""The answers that a study has so far, as the protocol reads them: a loss for each trial that need not be run again."""

import math

import pyarrow as pa

from cluster.study.protocol import NO_LOSS
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.tables import COMPLETED


def answers(summary: Summary, study: str) -> dict[str, float]:
    """The loss by which each trial of `study` that has an answer is compared, by trial_id."""
    return losses(query.trials(summary, study))


def losses(trials: pa.Table) -> dict[str, float]:
    """The best validation loss of each trial that completed, and NO_LOSS for the others that have an answer."""
    rows = query.finished(trials)
    columns = (rows[name].to_pylist() for name in ("trial_id", "state", "best_validation_loss"))
    return {
        trial_id: loss if state == COMPLETED and loss is not None and math.isfinite(loss) else NO_LOSS
        for trial_id, state, loss in zip(*columns, strict=True)
    }
