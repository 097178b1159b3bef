"""Whether anything was learnt: whether some batch size beats a guess that ignores the input. Pure.

The rule: a point is a batch size at a rate, with the best validation losses of its completed runs. A point has learnt
if its mean is below the guess's loss by more than noise, by a one-sided t test at 5 % for all points together
(Bonferroni). The deviation over seeds is pooled over the points whose mean is below the guess, so that a rate at which
losses run wild hides nothing. If no point has two runs, the noise is not known, and a mean below the guess is enough.
Nothing was learnt if there are points and none of them has learnt.

The guess is the best single answer for all rows, chosen with the validation labels at hand. A guess from the
frequencies of the training labels is a little worse than that by chance, and the best of many evaluations finds the
difference: in simulated studies with noise for labels (500 rows, two batch sizes, three rates, 3 to 30 evaluations),
12 to 55 % passed that bar as learning, and 2 to 20 % pass this one.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import stdtrit

from cluster.study.cell import GroupKey, cell_of_row, group_of
from cluster.study.protocol import CONFIRM, SCREEN
from cluster.summary import query
from cluster.summary.tables import COMPLETED

_ALPHA = 0.05
_REMEDIES = {
    "classification": "check that the labels belong to their rows, or change axes.learning_rate or budget",
    "regression": "scale the labels to about 1, or change axes.learning_rate or budget",
}


def nothing_learnt(points: Sequence[Sequence[float]], guess: float) -> bool:
    """Whether no point beats a guess with this loss; a point is given as the losses of its runs."""
    below = [np.asarray(losses, np.float64) for losses in points if np.mean(losses) < guess]
    freedom = sum(losses.size - 1 for losses in below)
    if not below or not freedom:
        return bool(points) and not below
    pooled = np.sqrt(sum(float(((losses - losses.mean()) ** 2).sum()) for losses in below) / freedom)
    most = -float(stdtrit(freedom, _ALPHA / len(points)))
    return not any(losses.mean() + most * pooled / np.sqrt(losses.size) < guess for losses in below)


def points_of(trials: pa.Table) -> dict[GroupKey, list[list[float]]]:
    """The points of each group, from a study's rows of `trials`.

    They are the confirmations of a study with a protocol (none during its screen), or all points of a grid.
    """
    phases = set(trials["phase"].to_pylist())
    if CONFIRM in phases:
        trials = trials.filter(pc.field("phase") == CONFIRM)
    elif SCREEN in phases:
        return {}
    completed = (pc.field("state") == COMPLETED) & pc.is_finite(pc.field("best_validation_loss"))
    found: dict[GroupKey, dict[tuple[int, float], list[float]]] = {}
    for row in query.latest(trials.filter(completed)).to_pylist():
        group = found.setdefault(group_of(cell_of_row(row)), {})
        group.setdefault((row["global_batch"], row["learning_rate"]), []).append(row["best_validation_loss"])
    return {group: list(points.values()) for group, points in found.items()}


def groups_without_learning(trials: pa.Table, guess: float | None) -> set[GroupKey]:
    """The groups that learnt nothing; empty where no guess is known."""
    if guess is None:
        return set()
    return {group for group, points in points_of(trials).items() if nothing_learnt(points, guess)}


def guess_of(baseline_loss: float | None, best_constant_loss: float | None) -> float | None:
    """The loss to beat; None where no guess is known. Studies of earlier versions have only `baseline_loss`."""
    if baseline_loss is None or best_constant_loss is None:
        return baseline_loss
    return min(baseline_loss, best_constant_loss)


def said(task: str, baseline: float) -> str:
    """The sentence that nothing was learnt, without its full stop."""
    guess = "predicting the mean label" if task == "regression" else "a guess by label frequencies"
    return f"no batch size beats {guess} ({baseline:.3g}): nothing was learnt, so nothing is shown about batch sizes"


def remedy(task: str) -> str:
    """What may help when nothing was learnt."""
    return _REMEDIES.get(task, _REMEDIES["classification"])
