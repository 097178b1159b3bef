"""What Tune runs next: the trials that a study's plan wants, asked for anew with each answer.

Between two phases a plan may want nothing until trials that still run have answered. Tune ends a lane that finishes
a trial while nothing waits, and starting one again takes 20 s: so the queue gives a lane that would be idle a rest,
a Tune trial that trains nothing and ends when the queue knows more (`Board.rest`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ray.tune.search import Searcher

from cluster.study.protocol import NO_LOSS, Plan, Planned
from trainer.report import State
from trainer.trial import TrialSpec, from_dict

# In Tune's config of a rest: the releases there had been when it began.
REST = "rest"
ANSWERS = (State.COMPLETED, State.STOPPED, State.DIVERGED, State.OUT_OF_MEMORY)


def trial_of(config: Mapping[str, Any]) -> TrialSpec | None:
    """The trial of Tune's config; None if it is a rest."""
    return None if REST in config else from_dict(config["trial"])


class Queue(Searcher):
    """Suggests the trials of a plan in their order; `plan` tells from the losses so far (by trial_id) what is wanted.

    `release` is called when resting lanes are to go on; `begins` with the plan as each phase begins.
    """

    def __init__(
        self,
        plan: Callable[[Mapping[str, float]], Plan],
        losses: Mapping[str, float],
        *,
        release: Callable[[], None],
        begins: Callable[[Plan], None],
    ) -> None:
        super().__init__()
        self._plan, self._losses, self._given = plan, dict(losses), set(losses)
        self._release, self._begins = release, begins
        self._running: dict[str, TrialSpec] = {}
        self._resting: set[str] = set()
        self._lanes = self._releases = 0
        self._phase = ""
        self._closed = False
        self._waiting: list[Planned] = []
        self._look()

    def suggest(self, trial_id: str) -> Any:
        """The next trial as Tune's config, a rest for a lane that is warm, None to wait, or FINISHED."""
        if self._waiting:
            planned = self._waiting.pop(0)
            self._begin(planned.phase)
            self._given.add(planned.trial.trial_id)
            self._running[trial_id] = planned.trial
            self._lanes = max(self._lanes, self._busy())
            return {"trial": asdict(planned.trial), "phase": planned.phase}
        if not self._open or not self._running:
            return Searcher.FINISHED
        if self._busy() < self._lanes:
            self._resting.add(trial_id)
            # The lane keeps its workers for a trial like this one.
            like = self._wanted.trials[-1]
            return {"trial": asdict(like.trial), "phase": like.phase, REST: self._releases}
        return None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note the answer, if it is one, and look what is wanted now."""
        self._resting.discard(trial_id)
        trial = self._running.pop(trial_id, None)
        loss = None if error else loss_of(result or {})
        if trial is not None and loss is not None:
            self._losses[trial.trial_id] = loss
            self._look()
        if result and result.get("refused"):
            self.close()
        if self._resting and (self._waiting or not self._open or not self._running):
            self._go_on()

    def close(self) -> None:
        """Suggest no more."""
        self._closed = True
        self._waiting, self._open = [], False
        self._go_on()

    def _look(self) -> None:
        if self._closed:
            return
        self._wanted = self._plan(self._losses)
        self._open = self._wanted.open
        self._waiting = [planned for planned in self._wanted.trials if planned.trial.trial_id not in self._given]

    def _busy(self) -> int:
        return len(self._running) + len(self._resting)

    def _begin(self, phase: str) -> None:
        if phase != self._phase:
            self._phase = phase
            self._begins(self._wanted)

    def _go_on(self) -> None:
        self._releases += 1
        self._release()


def loss_of(result: Mapping[str, Any]) -> float | None:
    """The loss by which a trial that ended is compared, from its last result; None if it has to be tried again.

    A trial that Tune stopped early has a result that is not its own last word.
    """
    state = State(result["state"]) if "state" in result else State.STOPPED if "examples" in result else None
    if state not in ANSWERS:
        return None
    loss = result.get("validation_loss")
    return loss if state is State.COMPLETED and loss is not None and math.isfinite(loss) else NO_LOSS
