"""The live view of a running study: trials done, running and waiting, the best so far, and the time left."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cluster.lanes.events import AttemptExhausted, AttemptLost, TrialBegan, TrialEnded, TrialEvaluated, TrialEvent
from cluster.lanes.tally import FAILURES, Tally
from cluster.report.duration import duration
from cluster.report.pace import Pace
from cluster.study.study import Study
from cluster.text.plain import plain
from trainer.report import State
from trainer.trial import TrialSpec

RECENT = 8
# The characters of an error in the line; `results` and `logs --trial` have all of them.
MOST_OF_ERROR = 160


@dataclass(frozen=True)
class Recent:
    """A trial that ended recently, and how long it took from its first event."""

    event: TrialEnded
    seconds: float


@dataclass(frozen=True)
class UnderWay:
    """A trial under way: the examples it has used, its last validation loss, and its pace."""

    pace: Pace
    examples: int = 0
    validation_loss: float | None = None


@dataclass
class LiveView:
    """What is known of the study so far. `examples` returns a trial's planned work; expected trials are of this run.

    `bill_usd` returns what a whole fleet has cost so far; None where there is no fleet.
    The cost of an event does not grow with the number of trials that ended before it.
    """

    examples: Callable[[TrialSpec], float]
    expected_trials: int
    expected_examples: float
    finished_before: int
    lanes: int
    bill_usd: Callable[[], float | None] = lambda: None
    tally: Tally = field(default_factory=Tally)
    first_progress: tuple[float, float] | None = None
    running: dict[TrialSpec, UnderWay] = field(default_factory=dict)
    best: tuple[float, TrialSpec] | None = None
    recent: deque[Recent] = field(default_factory=lambda: deque(maxlen=RECENT))
    errors: Counter[str] = field(default_factory=Counter)
    began_at: float = field(default_factory=time.monotonic)
    # Since when the run saves and stops, if it does.
    stopping_since: float | None = None
    _ended_examples: float = 0.0

    @classmethod
    def of(cls, study: Study, *, asked: int, finished: int, finished_examples: int) -> "LiveView":
        """The view of a study at the start of a run, when `finished` of its `asked` trials are done."""
        return cls(
            examples=study.examples,
            expected_trials=max(1, asked - finished),
            expected_examples=max(0, sum(map(study.examples, study.expected())) - finished_examples),
            finished_before=finished,
            lanes=study.placed.lanes,
        )

    def note(self, event: TrialEvent) -> None:
        """Record an event of a trial."""
        self.tally.note(event)
        now = time.monotonic()
        running = self.running.get(event.trial, UnderWay(Pace(now)))
        match event:
            case TrialBegan():
                self.running[event.trial] = running
            case TrialEvaluated():
                self._compare(event.validation_loss, event.trial)
                self.running[event.trial] = UnderWay(
                    running.pace.reported(event.examples, now), event.examples, event.validation_loss
                )
            case AttemptLost() | AttemptExhausted():
                # The next attempt begins at another position and has another pace.
                self.running[event.trial] = replace(running, pace=Pace(running.pace.began_at))
            case TrialEnded():
                self._compare(event.validation_loss, event.trial)
                self.running.pop(event.trial, None)
                self.recent.append(Recent(event, now - running.pace.began_at))
                self._ended_examples += self.examples(event.trial)
                if event.state in FAILURES and event.error:
                    self.errors[event.error] += 1
        has_examples = isinstance(event, TrialEvaluated | TrialEnded) and event.examples > 0
        if has_examples and self.first_progress is None:
            self.first_progress = now, self.fraction()

    def _compare(self, loss: float | None, trial: TrialSpec) -> None:
        if loss is not None and (self.best is None or loss < self.best[0]):
            self.best = loss, trial

    @property
    def ended(self) -> int:
        """The number of trials of this run that ended, without those saved to go on in the next run."""
        return self.tally.states.total() - self.tally.states[State.CANCELLED]

    def fraction(self) -> float:
        """The part of the planned work of the expected trials that is done."""
        under_way = sum(min(one.examples, self.examples(trial)) for trial, one in self.running.items())
        # A protocol may turn out to want more trials than expected.
        planned = self._ended_examples + sum(self.examples(trial) for trial in self.running)
        total = max(self.expected_examples, planned)
        return (self._ended_examples + under_way) / total if total else 1.0

    def seconds_left(self) -> float | None:
        """An estimate from the speed since the first report, which leaves out the start-up; None before that report."""
        if self.first_progress is None:
            return None
        since, before = self.first_progress
        done = self.fraction()
        return (time.monotonic() - since) * (1 - done) / (done - before) if done > before else None

    def progress(self) -> dict[str, Any]:
        """The study's progress as data: all trials done and asked for, and those that are running."""
        asked = max(self.expected_trials, self.ended + len(self.running))
        done = self.finished_before + self.ended
        counts = {"done": done, "asked": self.finished_before + asked, "running": len(self.running)}
        left = self.seconds_left() if self.running else None
        return counts | {"failed": sum(self.tally.states[state] for state in FAILURES), "seconds_left": left}

    def sentence(self, now: float) -> str:
        """The state in one line with the time since the run began; before any training, what the lanes do."""
        if self.stopping_since is not None:
            return f"saving and stopping, {duration(now - self.stopping_since)} so far; {self.line()}"
        lanes = f"{self.lanes} lane{'s' * (self.lanes != 1)}"
        if self.first_progress is None and not self.ended:
            doing = (
                f"starting {lanes}: waiting for Ray's workers"
                if not self.running
                else f"starting {lanes}: workers import TensorFlow and check a batch in every layout"
            )
            return f"{doing}, {duration(now - self.began_at)} so far; {self.line()}"
        over = self.ended >= self.expected_trials and not self.running
        ending = "ending Ray and packing the study's rows; " if over else ""
        return f"{ending}{self.line()}; {duration(now - self.began_at)} so far"

    def line(self) -> str:
        """The whole state in one line."""
        states, saved = self.tally.states, self.tally.states[State.CANCELLED]
        waiting = max(0, self.expected_trials - self.ended - len(self.running))
        kept = f" ({saved} of them saved)" if saved else ""
        parts = [f"{self.finished_before + self.ended} done, {len(self.running)} running, {waiting} waiting{kept}"]
        if self.tally.lost:
            parts.append(f"{self.tally.lost} lost and resumed")
        if self.tally.exhausted:
            parts.append(f"{self.tally.exhausted} out of memory and resumed in smaller micro-batches")
        shown = [state for state in State if state not in (State.COMPLETED, State.CANCELLED)]
        parts += [f"{states[state]} {state.lower()}" for state in shown if states[state]]
        if self.errors:
            [(error, count)] = self.errors.most_common(1)
            parts.append(f"{'the last error' if count == 1 else f'{count} times'}: {plain(error)[:MOST_OF_ERROR]}")
        if self.best:
            loss, trial = self.best
            parts.append(f"best loss so far {loss:.4f} ({point_of(trial)})")
        if self.tally.cost_usd():
            parts.append(f"{self.tally.cost_usd():.2f} usd so far")
        if (bill_usd := self.bill_usd()) is not None:
            parts.append(f"{in_usd(bill_usd)} for the whole fleet so far")
        left = self.seconds_left()
        if left is not None and self.running:
            parts.append(f"about {duration(left)} left")
        return "; ".join(parts)


def point_of(trial: TrialSpec) -> str:
    """A trial's point and seed, for people."""
    return f"global batch {trial.global_batch}, rate {trial.learning_rate:g}, seed {trial.seed}"


def in_usd(amount: float) -> str:
    """Cents, or what is less than a dollar to a hundredth of a cent."""
    return f"{amount:.{2 if amount >= 1 else 4}f} usd"
