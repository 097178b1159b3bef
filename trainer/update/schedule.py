"""The learning rate of each update: the trial's rate, through its warm-up and its schedule.

Both are functions of the work done, never of the number of workers. The warm-up is counted in examples, so that it is
the same piece of the data for every global batch; the schedule is a fraction of the trial's own budget. They multiply:
a decay goes by the whole budget, its warm-up included, and trials with and without one decay alike.
"""

import math

from trainer.trial import TrialSpec


def rate(trial: TrialSpec, *, update: int, total: int | None) -> float:
    """The learning rate with which update `update` (from 0) of `total` is made; `total` None when the clock decides.

    The warm-up rises linearly from 0 and is full at the first update that reaches `warmup_examples`. A decay begins at
    the trial's rate and would be 0 one update after the last.

    Raises:
        ValueError: a schedule that decays has no end to go by.
    """
    warm = min(1.0, (update + 1) * trial.global_batch / trial.warmup_examples) if trial.warmup_examples else 1.0
    if trial.schedule == "constant":
        return trial.learning_rate * warm
    if total is None:
        raise ValueError(f"schedule {trial.schedule} needs a number of updates: give the budget in epochs")
    done = update / total
    left = 1 - done if trial.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return trial.learning_rate * warm * left
