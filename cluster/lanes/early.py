"""Early stopping in the screen: a learning rate that falls behind others of its cell at equal examples is stopped.

It is successive halving by Tune's own scheduler, one for each seed of a cell (global batch, optimizer, dtype). Rates of
different batch sizes cannot be compared in this way: at equal examples, smaller batches have made more updates. Seeds
are not compared either: a rate that is left with one seed has no mean. Confirmed trials run to their end.
"""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from cluster.lanes.queue import trial_of
from cluster.study.cell import CellKey, cell_of
from cluster.study.protocol import SCREEN
from trainer.order import plan
from trainer.trial import TrialSpec

# There are rungs at a quarter and at half of the budget, and the better half goes on at each. That is mild, because a
# low rate begins slowly.
FIRST_RUNG, KEPT = 1 / 4, 1 / 2


class StopWithinCells(FIFOScheduler):
    """Hands each trial's results to the scheduler of its cell and seed."""

    def __init__(self, train_rows: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._train_rows = train_rows
        self._schedulers: dict[tuple[CellKey, int], AsyncHyperBandScheduler] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Hand on that a trial of the screen begins."""
        if scheduler := self._of(trial):
            scheduler.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether the trial goes on."""
        scheduler = self._of(trial)
        return scheduler.on_trial_result(tune_controller, trial, result) if scheduler else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Hand on that a trial of the screen came to its own end."""
        if scheduler := self._of(trial):
            scheduler.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Hand on that a trial of the screen was removed."""
        if scheduler := self._of(trial):
            scheduler.on_trial_remove(tune_controller, trial)

    def _of(self, trial: Trial) -> AsyncHyperBandScheduler | None:
        spec = trial_of(trial.config)
        if spec is None or trial.config["phase"] != SCREEN:
            return None
        key = cell_of(spec), spec.seed
        if key not in self._schedulers:
            self._schedulers[key] = self._halving(spec)
        return self._schedulers[key]

    def _halving(self, trial: TrialSpec) -> AsyncHyperBandScheduler:
        updates = plan.total_updates(trial.budget, global_batch=trial.global_batch, rows=self._train_rows)
        # A budget in seconds has no plan of examples; the spec refuses it.
        assert updates is not None
        examples = updates * trial.global_batch
        return AsyncHyperBandScheduler(
            time_attr="examples",
            metric="validation_loss",
            mode="min",
            max_t=examples,
            grace_period=max(1, int(examples * FIRST_RUNG)),
            reduction_factor=1 / KEPT,
            # A trial that reached its end ends by itself.
            stop_last_trials=False,
        )
