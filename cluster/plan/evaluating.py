"""A hint where evaluations cost more than a fifth of the training, with a distance at which they do not. Pure."""

from collections.abc import Iterable
from math import ceil, log10

from cluster.plan import work
from cluster.plan.estimate import Point
from cluster.study.study import Study
from trainer.order import plan
from trainer.trial import TrialSpec

MOST_OF_TRAINING = 0.2
# The backward pass multiplies twice as many matrices as the forward pass, which is all that an evaluation does.
PASSES_OF_A_TRAINED_ROW = 3


def hint_from_costs(points: Iterable[Point]) -> str | None:
    """The hint from what updates and evaluations take; None if no trial needs it."""
    return _hint((point.trial, point.seconds_evaluating / point.seconds_training) for point in points)


def hint_from_rows(study: Study) -> str | None:
    """The hint from the numbers of rows alone, where nothing was measured; None if no trial needs it."""
    return _hint((trial, share) for trial in study.trials if (share := _share_of_rows(study, trial)) is not None)


def _share_of_rows(study: Study, trial: TrialSpec) -> float | None:
    """Passes of evaluations to those of training; None where either is counted in seconds."""
    rows, held_out = (study.manifest.splits[name].rows for name in ("train", "validation"))
    updates = plan.total_updates(trial.budget, global_batch=trial.global_batch, rows=rows)
    if updates is None or trial.evaluate_every.unit == "seconds":
        return None
    evaluations = work.evaluations(trial, updates=updates, rows=rows, seconds_training=0.0)
    passes = evaluations * work.passes_of_an_evaluation(trial)
    return passes * held_out / (PASSES_OF_A_TRAINED_ROW * updates * trial.global_batch)


def _hint(shares: Iterable[tuple[TrialSpec, float]]) -> str | None:
    trial, share = max(shares, key=lambda one: one[1], default=(None, 0.0))
    if trial is None or share <= MOST_OF_TRAINING:
        return None
    every, budget = trial.evaluate_every, trial.budget
    amount = _rounded_up(every.amount * share / MOST_OF_TRAINING)
    if every.unit == budget.unit and amount >= budget.amount:
        remedy = "evaluate a smaller validation split, or train longer"
    else:
        remedy = f"with `evaluate_every: {{{every.unit}: {amount:g}}}` it would take a fifth"
    return f"evaluating takes {share:.0%} of the time of training at B = {trial.global_batch}: {remedy}"


def _rounded_up(number: float) -> float:
    """The next number of two significant digits."""
    step = 10.0 ** (ceil(log10(number)) - 2)
    return ceil(number / step - 1e-9) * step
