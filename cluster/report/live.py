"""The live view of a running study: trials done, running and waiting, the best so far, and the time left."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.report.pace import Pace
from trainer.report import State
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from cluster.lanes.schedule import Event

FAILURES = (State.FAILED, State.OUT_OF_MEMORY, State.LOST)
RECENT = 8


@dataclass(frozen=True)
class Ended:
    """The last event of a trial, and how long it took from its first one."""

    event: "Event"
    seconds: float


@dataclass
class LiveView:
    """What is known of the study so far: `examples` tells a trial's planned work; what is expected is of this run."""

    examples: Callable[[TrialSpec], float]
    expected_trials: int
    expected_examples: float
    finished_before: int
    lanes: int
    first_progress: tuple[float, float] | None = None
    running: dict[TrialSpec, "Event"] = field(default_factory=dict)
    ended: dict[TrialSpec, State] = field(default_factory=dict)
    best: "Event | None" = None
    lost: int = 0
    halved: int = 0
    refused: bool = False
    unpriced: bool = False
    costs_usd: dict[TrialSpec, float] = field(default_factory=dict)
    running_usd: dict[TrialSpec, float] = field(default_factory=dict)
    paces: dict[TrialSpec, Pace] = field(default_factory=dict)
    recent: deque[Ended] = field(default_factory=lambda: deque(maxlen=RECENT))

    def note(self, event: "Event") -> None:
        """Take in what happened to a trial."""
        self._account(event)
        self.refused = self.refused or event.refused
        if event.lost or event.halved:
            self.lost += event.lost
            self.halved += event.halved
            self.paces.pop(event.trial, None)
            return
        if event.validation_loss is not None and not _is_worse(event, self.best):
            self.best = event
        now = time.monotonic()
        pace = self.paces.get(event.trial, Pace(now)).reported(event.examples, now)
        if event.state is None:
            self.running[event.trial] = event
            self.paces[event.trial] = pace
        else:
            self.running.pop(event.trial, None)
            self.ended[event.trial] = event.state
            self.recent.append(Ended(event, now - pace.began_at))
            self.paces.pop(event.trial, None)
        if event.examples and self.first_progress is None:
            self.first_progress = time.monotonic(), self.fraction()

    def _account(self, event: "Event") -> None:
        """Keep what each trial has cost: attempts that are over, and the one that runs."""
        if event.cost_usd is None:
            self.unpriced = self.unpriced or not event.begins
        elif event.lost or event.halved or event.state is not None:
            self.costs_usd[event.trial] = self.costs_usd.get(event.trial, 0.0) + event.cost_usd
            self.running_usd.pop(event.trial, None)
        else:
            self.running_usd[event.trial] = event.cost_usd

    def cost_usd(self) -> float:
        """What the attempts of this run have cost so far, as far as is known."""
        return sum(self.costs_usd.values()) + sum(self.running_usd.values())

    @property
    def failed(self) -> int:
        """Trials that ended without an answer, other than cancelled ones."""
        return sum(state in FAILURES for state in self.ended.values())

    def fraction(self) -> float:
        """The part of the planned work of these trials that is done."""
        ended = sum(self.examples(trial) for trial in self.ended)
        under_way = sum(min(event.examples, self.examples(trial)) for trial, event in self.running.items())
        # A protocol may turn out to want more than was expected.
        total = max(self.expected_examples, ended + sum(self.examples(trial) for trial in self.running))
        return (ended + under_way) / total if total else 1.0

    def seconds_left(self) -> float | None:
        """An estimate from the speed since the first report, which hides the start-up; None before there is one."""
        if self.first_progress is None:
            return None
        since, before = self.first_progress
        done = self.fraction()
        return (time.monotonic() - since) * (1 - done) / (done - before) if done > before else None

    def line(self) -> str:
        """The whole state in one line."""
        counts = Counter(self.ended.values())
        # What was saved goes on in the next run.
        saved = counts.pop(State.CANCELLED, 0)
        ended = len(self.ended) - saved
        waiting = max(0, self.expected_trials - ended - len(self.running))
        kept = f" ({saved} of them saved)" if saved else ""
        parts = [f"{self.finished_before + ended} done, {len(self.running)} running, {waiting} waiting{kept}"]
        if self.lost:
            parts.append(f"{self.lost} lost and resumed")
        if self.halved:
            parts.append(f"{self.halved} out of memory and resumed in smaller micro-batches")
        parts += [f"{counts[state]} {state.lower()}" for state in State if counts[state] and state != State.COMPLETED]
        if self.best:
            parts.append(f"best loss so far {self.best.validation_loss:.4f} ({point_of(self.best.trial)})")
        if self.cost_usd():
            parts.append(f"{self.cost_usd():.2f} usd so far")
        left = self.seconds_left()
        if left is not None and self.running:
            parts.append(f"about {duration(left)} left")
        return "; ".join(parts)


def point_of(trial: TrialSpec) -> str:
    """A trial's point and seed, for people."""
    return f"global batch {trial.global_batch}, rate {trial.learning_rate:g}, seed {trial.seed}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _is_worse(event: "Event", best: "Event | None") -> bool:
    assert event.validation_loss is not None
    return best is not None and best.validation_loss is not None and event.validation_loss >= best.validation_loss
