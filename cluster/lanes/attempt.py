"""An attempt at a trial as the summary sees it: marked before it begins, its evaluations, and its one row."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from cluster.lanes import ledger
from cluster.lanes.failure import Failure
from cluster.lanes.reports import Beat, LaneMachine
from cluster.lanes.settings import LaneSettings
from cluster.lanes.station import Station
from cluster.study import experiment
from trainer.report import Evaluation, Outcome
from trainer.trial import TrialSpec

SECONDS_BETWEEN_PARTS = 10.0


@dataclass
class Attempt:
    """One attempt under way on a group of `workers`; `reached` is how far the previous attempt came."""

    settings: LaneSettings
    trial: TrialSpec
    phase: str
    workers: int
    micro_batch: int
    checkpoint_uri: str
    reached: Beat | None = None
    attempt: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _station: Station | None = None
    _ended_at: datetime | None = None
    _evaluations: list[dict[str, Any]] = field(default_factory=list)
    _last: Evaluation | None = None
    _parts: int = 0
    _written_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Mark the attempt, before its workers begin."""
        study, trial_id = self.settings.study, self.trial.trial_id
        self.attempt = self.settings.recorder.next_attempt(study, trial_id)
        self.settings.recorder.attempt_started(study, trial_id, self.attempt, self._known())

    def taken(self, station: Station) -> None:
        """Note the station of its rank 0, which has begun."""
        self._station = station

    def evaluated(self, evaluation: Evaluation) -> None:
        """Keep an evaluation. They are written in parts, so that a long trial's curve can be read as it trains."""
        self._last = evaluation
        self._evaluations.append({**self._identity(), **asdict(evaluation)})
        if time.monotonic() - self._written_at >= SECONDS_BETWEEN_PARTS:
            self._write_evaluations()

    def ended(self, outcome: Outcome, machine: LaneMachine, *beats: Beat, error: str | None = None) -> None:
        """Write the row of an attempt that came to its own end; `error` is used if the outcome has none."""
        measured = asdict(outcome)
        first_update_at = measured.pop("first_update_at")
        measured["error"] = measured["error"] or error
        self._write({**measured, **asdict(machine)}, beats, first_update_at)

    def broken(self, failure: Failure, *beats: Beat, micro_batch_next: int | None = None) -> None:
        """Write the row of an attempt that something else ended, with the last figures its workers reported.

        `micro_batch_next` is the micro-batch with which the trial continues after it ran out of memory.
        """
        last, measured = self._last, {}
        if last:
            measured = {"updates": last.update, "examples": last.examples, "epochs": last.epoch}
        if beats:
            update = beats[-1].update
            measured |= {
                "updates": update,
                "examples": update * self.trial.global_batch,
                "seconds_training": beats[-1].seconds_training,
                "seconds_resumed": beats[0].seconds_training,
            }
        end = {
            "state": failure.state,
            "error": failure.error,
            "traceback": failure.traceback,
            "micro_batch_next": micro_batch_next,
        }
        self._write({**measured, **end, "peak_memory_bytes": failure.peak_memory_bytes}, beats, None)

    def cost_usd(self) -> float | None:
        """What its machines have cost so far, or in total once it is over; None if that is unknown."""
        return ledger.cost_usd(self.settings, self._station, self.workers, self.started_at, self._ended_at)

    def _write(self, measured: Mapping[str, Any], beats: Sequence[Beat], first_update_at: float | None) -> None:
        self._write_evaluations()
        self._ended_at = datetime.now(UTC)
        clocks = ledger.clocks(self._station, self.started_at, self._ended_at, first_update_at)
        repeated = ledger.seconds_repeated(self.reached, beats)
        priced = ledger.priced(self._station) | {"cost_usd": self.cost_usd(), "seconds_repeated": repeated}
        ended = {"ended_at": self._ended_at, "state": str(measured["state"])}
        self.settings.recorder.write_trial(
            {**self._identity(), **self._known(), **clocks, **priced, **measured, **ended}
        )

    def _write_evaluations(self) -> None:
        if self._evaluations:
            self.settings.recorder.write_evaluations(self._evaluations, part=self._parts)
            self._evaluations = []
            self._parts += 1
        self._written_at = time.monotonic()

    def _identity(self) -> dict[str, Any]:
        return {"study": self.settings.study, "trial_id": self.trial.trial_id, "attempt": self.attempt}

    def _known(self) -> dict[str, Any]:
        trial = self.trial
        axes = {name: getattr(trial, name) for name in ("global_batch", "learning_rate", "optimizer", "dtype", "seed")}
        axes["settings"] = trial.settings
        layout = {"workers": self.workers, "micro_batch": self.micro_batch}
        facts = {**self.settings.facts, "phase": self.phase}
        place = {"checkpoint_uri": self.checkpoint_uri, "data_hash": trial.data_hash, "started_at": self.started_at}
        return {**axes, **experiment.of_trial(trial), **facts, **layout, **place}
