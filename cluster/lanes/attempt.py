"""An attempt at a trial as the summary sees it: marked before it begins, its evaluations, and its one row."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from cluster.lanes.worker import Failure, Machine
from trainer.report import Evaluation, Outcome, State
from trainer.trial import TrialSpec

SECONDS_BETWEEN_PARTS = 10.0


class Recorder(Protocol):
    """Where attempts are written: the central summary, given to the lanes from above."""

    def next_attempt(self, study: str, trial_id: str) -> int:
        """The number of a trial's next attempt."""

    def attempt_started(self, study: str, trial_id: str, attempt: int, fields: Mapping[str, Any]) -> None:
        """Mark that an attempt begins."""

    def write_evaluations(self, rows: Sequence[Mapping[str, Any]], *, part: int) -> None:
        """Write some evaluations of one attempt."""

    def write_trial(self, row: Mapping[str, Any]) -> None:
        """Write the attempt's row."""


@dataclass
class Attempt:
    """One attempt under way. `facts` are columns that are known before it begins."""

    recorder: Recorder
    study: str
    trial: TrialSpec
    facts: Mapping[str, Any]
    attempt: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    over: bool = False
    _evaluations: list[dict[str, Any]] = field(default_factory=list)
    _last: Evaluation | None = None
    _parts: int = 0
    _written_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Mark the attempt, before its workers begin."""
        self.attempt = self.recorder.next_attempt(self.study, self.trial.trial_id)
        self.recorder.attempt_started(self.study, self.trial.trial_id, self.attempt, self._known())

    def evaluated(self, evaluation: Evaluation) -> None:
        """Keep an evaluation; written in parts, so that a long trial's curve can be read while it goes on."""
        self._last = evaluation
        identity = {"study": self.study, "trial_id": self.trial.trial_id, "attempt": self.attempt}
        self._evaluations.append({**identity, **asdict(evaluation)})
        if time.monotonic() - self._written_at >= SECONDS_BETWEEN_PARTS:
            self._write_evaluations()

    def ended(self, outcome: Outcome, machine: Machine) -> None:
        """Write the row of an attempt that came to its own end."""
        measured = asdict(outcome)
        first_update_at = measured.pop("first_update_at")
        starting = first_update_at - self.started_at.timestamp() if first_update_at else None
        self._write({**measured, **asdict(machine), "seconds_starting": starting})

    def broken(self, failure: Failure) -> None:
        """Write the row of an attempt that something else ended."""
        last = self._last
        measured = {"updates": last.update, "examples": last.examples, "epochs": last.epoch} if last else {}
        self._write({**measured, **asdict(failure)})

    def lost(self) -> None:
        """Write the row of an attempt whose workers went away."""
        self.broken(Failure(state=State.LOST, error="the workers went away before the trial ended"))

    def _write(self, measured: Mapping[str, Any]) -> None:
        self._write_evaluations()
        ended = {"ended_at": datetime.now(UTC), "state": str(measured["state"])}
        identity = {"study": self.study, "trial_id": self.trial.trial_id, "attempt": self.attempt}
        self.recorder.write_trial({**identity, **self._known(), **measured, **ended})
        self.over = True

    def _write_evaluations(self) -> None:
        if self._evaluations:
            self.recorder.write_evaluations(self._evaluations, part=self._parts)
            self._evaluations = []
            self._parts += 1
        self._written_at = time.monotonic()

    def _known(self) -> dict[str, Any]:
        trial = self.trial
        axes = {name: getattr(trial, name) for name in ("global_batch", "learning_rate", "optimizer", "dtype", "seed")}
        return {**axes, **self.facts, "data_hash": trial.data_hash, "started_at": self.started_at}
