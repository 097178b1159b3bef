"""The learning rate of each update: the trial's rate, through its warm-up and its schedule.

Both are functions of the work done, never of the number of workers. The warm-up is counted in examples, so that it is
the same piece of the data for every global batch; the schedule depends on the fraction of the trial's own budget. They
multiply: a decay spans the whole budget including the warm-up, so trials with and without a warm-up decay alike.
"""

import math

from trainer.trial import TrialSpec


def rate(trial: TrialSpec, *, update: int, total: int | None) -> float:
    """The learning rate of update `update` (from 0) of `total`; `total` is None if the clock decides.

    The warm-up rises linearly from 0 and is full at the first update that reaches `warmup_examples`. A decay begins at
    the trial's rate and would be 0 one update after the last.

    Raises:
        ValueError: the schedule decays, but there is no end.
    """
    warm = min(1.0, (update + 1) * trial.global_batch / trial.warmup_examples) if trial.warmup_examples else 1.0
    if trial.schedule == "constant":
        return trial.learning_rate * warm
    if total is None:
        raise ValueError(f"schedule {trial.schedule} needs a number of updates: give the budget in epochs")
    done = update / total
    left = 1 - done if trial.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return trial.learning_rate * warm * left
