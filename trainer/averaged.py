"""The averaged weights of a trial under way: scored wherever its raw weights are, whose numbers they leave alone.

The averages move on every worker by themselves (`trainer.update.average`): all workers have the same weights.
"""

import math

from trainer.checkpoint import Arrays, Progress, Saved
from trainer.data.rows import Rows
from trainer.evaluate import score
from trainer.trial import TrialSpec
from trainer.update.average import WeightAverage, gain
from trainer.update.update import Learner


class AveragedWeights:
    """The averaged weights of a trial with `average_examples`, on the learner that has started it."""

    def __init__(
        self,
        trial: TrialSpec,
        learner: Learner,
        average: WeightAverage,
        saved: Saved | None,
        evaluation_rows: int | None,
    ) -> None:
        self._trial, self._learner, self._average, self._at_once = trial, learner, average, evaluation_rows
        self.best: Arrays = saved.best_averaged if saved else []
        if saved:
            average.assign(saved.averages)

    def move(self, update: int) -> None:
        """Take the weights after update `update`, counted from 1, into the average."""
        examples = self._trial.average_examples or 0
        self._average.move(gain(update, global_batch=self._trial.global_batch, examples=examples))

    def evaluate(self, rows: Rows, progress: Progress) -> float | None:
        """The loss of the average on `rows`; None if it is not finite. Keeps the average if it is the best so far."""
        loss = self._loss(rows)
        best = progress.best_averaged_loss
        if loss is not None and (best is None or loss < best):
            progress.best_averaged_loss, self.best = loss, self.arrays()
        return loss

    def test(self, rows: Rows) -> float | None:
        """The loss of the best average on `rows`; the trial cannot go on from here."""
        if not self.best:
            return None
        self._average.assign(self.best)
        return self._loss(rows)

    def arrays(self) -> Arrays:
        """The average, for a checkpoint."""
        return self._average.arrays()

    def _loss(self, rows: Rows) -> float | None:
        with self._average.in_place():
            loss = score(self._learner, rows, at_once=self._at_once).loss
        return loss if math.isfinite(loss) else None
