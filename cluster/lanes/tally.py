"""What the events of a run add up to: how its trials ended, what they cost, and what stands in the way of a budget."""

from collections import Counter
from dataclasses import dataclass, field

from cluster.lanes.events import AttemptExhausted, AttemptLost, TrialBegan, TrialEnded, TrialEvent
from cluster.lanes.failure import Fault
from trainer.report import State
from trainer.trial import TrialSpec

FAILURES = (State.FAILED, State.OUT_OF_MEMORY, State.LOST)


@dataclass
class Tally:
    """Counts of a run so far; adding an event takes the same time however many came before.

    `unpriced` is True if some machine has no known price, `refused` if the check of a layout failed.
    """

    states: Counter[State] = field(default_factory=Counter)
    lost: int = 0
    exhausted: int = 0
    refused: bool = False
    unpriced: bool = False
    _over_usd: float = 0.0
    _running_usd: dict[TrialSpec, float] = field(default_factory=dict)

    def note(self, event: TrialEvent) -> None:
        """Add an event."""
        if isinstance(event, TrialBegan):
            return
        self.lost += isinstance(event, AttemptLost)
        self.exhausted += isinstance(event, AttemptExhausted)
        if isinstance(event, TrialEnded):
            self.states[event.state] += 1
            self.refused = self.refused or event.fault is Fault.LAYOUT
        if event.cost_usd is None:
            self.unpriced = True
        elif isinstance(event, AttemptLost | AttemptExhausted | TrialEnded):
            self._over_usd += event.cost_usd
            self._running_usd.pop(event.trial, None)
        else:
            self._running_usd[event.trial] = event.cost_usd

    def cost_usd(self) -> float:
        """What the attempts of this run have cost so far, as far as prices are known."""
        return self._over_usd + sum(self._running_usd.values())

    def carried_on(self) -> "Tally":
        """The tally of a run that goes on after this one: what was spent stays spent, and nothing else counts."""
        return Tally(unpriced=self.unpriced, _over_usd=self.cost_usd())

    @property
    def failed(self) -> int:
        """Trials that ended without an answer, other than cancelled ones."""
        return sum(self.states[state] for state in FAILURES)
