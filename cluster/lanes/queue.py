"""What Tune runs next: the trials that a study's plan wants, phase by phase, as the answers so far unfold it.

Of each seed the longest trials begin first: then the last to begin are short, the lanes end close together, and none
keeps its machines for nothing while a long trial goes on (Graham, SIAM Journal on Applied Mathematics 17, 1969). Seeds
stay in their order, so that a study that ends early has seen every batch size.

Between two phases a plan may want nothing until the trials still running have answered. Tune ends a lane that finishes
a trial while no other is waiting, and starting the lane again takes 20 s. So the queue gives an idle lane a rest: a
Tune trial that trains nothing and ends when the queue knows more (`Board.rest`).
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ray.tune.search import Searcher

from cluster.lanes.events import TrialEnded, of_result
from cluster.lanes.failure import Fault
from cluster.study.protocol import NO_LOSS, Planned, Unfolding, Wanted
from trainer.report import State
from trainer.trial import TrialSpec, from_dict

# The key in Tune's config of a rest, whose value is the number of releases before the rest began.
REST = "rest"
# What an update costs beside its rows, in rows: from `rows_per_second` at B = 16 and 512 on a CPU.
ROWS_OF_AN_UPDATE = 20
ANSWERS = (State.COMPLETED, State.STOPPED, State.DIVERGED, State.OUT_OF_MEMORY)


def trial_of(config: Mapping[str, Any]) -> TrialSpec | None:
    """The trial of Tune's config; None if it is a rest."""
    return None if REST in config else from_dict(config["trial"])


class Queue(Searcher):
    """Suggests the trials of an unfolding plan that have no answer, each of them once.

    `release` is called when resting lanes should go on; `begins` is called with the plan as each phase begins.
    """

    def __init__(self, unfolding: Unfolding, *, release: Callable[[], None], begins: Callable[[Wanted], None]) -> None:
        super().__init__()
        self._unfolding, self._release, self._begins = unfolding, release, begins
        self._given: set[str] = set()
        self._running: dict[str, TrialSpec] = {}
        self._resting: set[str] = set()
        self._lanes = self._releases = 0
        self._phase = ""
        self._closed = False
        self._waiting: deque[Planned] = deque()
        self._line_up()

    def suggest(self, trial_id: str) -> Any:
        """The next trial as Tune's config, a rest for a warm lane, None to wait, or FINISHED."""
        if self._waiting:
            planned = self._waiting.popleft()
            self._begin(planned.phase)
            self._given.add(planned.trial.trial_id)
            self._running[trial_id] = planned.trial
            self._lanes = max(self._lanes, self._busy())
            return {"trial": asdict(planned.trial), "phase": planned.phase}
        if not self._open() or not self._running:
            return Searcher.FINISHED
        if self._busy() < self._lanes:
            self._resting.add(trial_id)
            # The config names a trial like the next ones, so that the lane keeps its workers.
            like = self._unfolding.plan.trials[-1]
            return {"trial": asdict(like.trial), "phase": like.phase, REST: self._releases}
        return None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note the answer, if it is one, and see what the plan wants now."""
        self._resting.discard(trial_id)
        trial = self._running.pop(trial_id, None)
        if trial is not None and not error:
            self._note(trial, result or {})
        if self._resting and (self._waiting or not self._open() or not self._running):
            self._go_on()

    def close(self) -> None:
        """Suggest no more."""
        self._closed = True
        self._waiting.clear()
        self._go_on()

    def _note(self, trial: TrialSpec, result: Mapping[str, Any]) -> None:
        # The last result of a trial that Tune stopped early is an evaluation, not the trial's own end.
        ended = of_result(trial, {**result, "done": True})
        if not isinstance(ended, TrialEnded):
            return
        loss = loss_of(ended)
        if loss is not None and self._unfolding.answer(trial, loss) and not self._closed:
            self._line_up()
        if ended.fault is Fault.LAYOUT:
            self.close()

    def _line_up(self) -> None:
        self._waiting = deque(
            in_order(
                planned
                for planned in self._unfolding.plan.trials
                if planned.trial.trial_id not in self._given and not self._unfolding.is_answered(planned.trial)
            )
        )

    def _open(self) -> bool:
        return self._unfolding.plan.open and not self._closed

    def _busy(self) -> int:
        return len(self._running) + len(self._resting)

    def _begin(self, phase: str) -> None:
        if phase != self._phase:
            self._phase = phase
            self._begins(self._unfolding.plan)

    def _go_on(self) -> None:
        self._releases += 1
        self._release()


def in_order(wanted: Iterable[Planned]) -> list[Planned]:
    """Phase by phase and seed by seed as the plan has them; of each seed the longest trials first."""
    rounds: dict[tuple[str, int], list[Planned]] = {}
    for planned in wanted:
        rounds.setdefault((planned.phase, planned.trial.seed), []).append(planned)
    return [one for together in rounds.values() for one in sorted(together, key=lambda one: -work_of(one.trial))]


def work_of(trial: TrialSpec) -> float:
    """How long a trial takes, relative to others of its study: its updates, and the rows in them."""
    if trial.budget.unit == "seconds":
        return trial.budget.amount
    updates = trial.budget.amount / (1 if trial.budget.unit == "updates" else trial.global_batch)
    return updates * (ROWS_OF_AN_UPDATE + trial.global_batch)


def loss_of(ended: TrialEnded) -> float | None:
    """The loss by which an ended trial is compared; None if the trial has to be tried again."""
    if ended.state not in ANSWERS:
        return None
    loss = ended.validation_loss
    return loss if ended.state is State.COMPLETED and loss is not None and math.isfinite(loss) else NO_LOSS
