"""A study's trials as experiment trackers know them: runs, each with a name, a curve over time, and figures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.study import experiment
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.tables import AXES, EVALUATIONS, KEYS, REAL, TRIALS, WHOLE

CHOSEN = (*AXES, "settings", *experiment.COLUMNS)
LAYOUT = ("workers", "micro_batch", "device", "node_type", "market")
CURVE = tuple(name for name in EVALUATIONS.names if name not in KEYS["evaluations"])
QUALITY = tuple(name for name in TRIALS.names if name.startswith(("final_", "best_", "test_")))
# The numbers that are only in a trial's row.
FIGURES = tuple(
    column.name
    for column in TRIALS
    if column.type in (REAL, WHOLE) and column.name not in (*CHOSEN, *LAYOUT, *EVALUATIONS.names)
)
UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """An evaluation: its update, its time, and the values of CURVE that it has."""

    update: int
    at: datetime
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ExportedRun:
    """A trial in its latest attempt. `row` is its row of `trials` or, before it has one, the mark of its start.

    `state` is None before the trial has a row.
    """

    trial_id: str
    attempt: int
    state: str | None
    row: Row
    curve: tuple[Moment, ...]

    @property
    def name(self) -> str:
        """A readable name; trials share it if their study varied more than its axes."""
        row = self.row
        dtype = "" if row.get("dtype") in (None, "float32") else f" {row['dtype']}"
        rate = "" if row.get("learning_rate") is None else f"{row['learning_rate']:.6g}"
        return f"B={row.get('global_batch')} lr={rate} {row.get('optimizer')}{dtype} seed={row.get('seed')}"

    @property
    def started_at(self) -> datetime:
        """When the attempt was marked as begun."""
        return self.row.get("started_at") or UNKNOWN_TIME

    @property
    def ended_at(self) -> datetime:
        """When the attempt ended or, before that, the time of its last evaluation."""
        return self.row.get("ended_at") or (self.curve[-1].at if self.curve else self.started_at)

    def of(self, columns: tuple[str, ...]) -> dict[str, Any]:
        """The columns of `row` that have a value."""
        return {name: self.row[name] for name in columns if self.row.get(name) is not None}


@dataclass(frozen=True)
class Runs:
    """The runs of a study, by trial_id. Evaluations stay in a table and become Python objects one trial at a time."""

    study: str
    attempts: Mapping[str, Mapping[int, Row]]
    evaluations: pa.Table

    def __len__(self) -> int:
        return len(self.attempts)

    def __iter__(self) -> Iterator[ExportedRun]:
        counts = pc.value_counts(self.evaluations["trial_id"]).to_pylist()
        lengths = {count["values"]: count["counts"] for count in counts}
        begins, begin = {}, 0
        for trial_id in sorted(lengths):
            begins[trial_id] = begin
            begin += lengths[trial_id]
        for trial_id, attempts in self.attempts.items():
            attempt = max(attempts)
            rows = self.evaluations.slice(begins.get(trial_id, 0), lengths.get(trial_id, 0)).to_pylist()
            yield ExportedRun(
                trial_id=trial_id,
                attempt=attempt,
                state=attempts[attempt]["state"],
                row=attempts[attempt],
                curve=tuple(_moment(row, attempts) for row in _curve(rows, attempt, attempts)),
            )


def read(summary: Summary, study: str) -> Runs:
    """The trials of `study` that have begun.

    Raises:
        InputError: there is no such study.
        NotReadyError: the summary cannot be read.
    """
    query.asked(summary, study)
    # Read first, so that an attempt that ends meanwhile is in both, and its row counts.
    begun = [{**row, "state": None} for row in summary.lost_attempts(study)]
    attempts: dict[str, dict[int, Row]] = {}
    rows = [*begun, *query.trials(summary, study).to_pylist()]
    for row in sorted(rows, key=lambda row: str(row["trial_id"])):
        attempts.setdefault(row["trial_id"], {})[row["attempt"]] = row
    order = [("trial_id", "ascending"), ("update", "ascending"), ("attempt", "ascending")]
    return Runs(study, attempts, query.evaluations(summary, study).sort_by(order))


def _curve(rows: list[dict[str, Any]], attempt: int, attempts: Mapping[int, Row]) -> list[dict[str, Any]]:
    """One evaluation for each update, from the highest attempt; `rows` are sorted by update and attempt.

    A running attempt will repeat the evaluations of earlier attempts that come after its first one. They are left out,
    because they would have to be taken back.
    """
    if attempts[attempt]["state"] is None:
        first = next((row["update"] for row in rows if row["attempt"] == attempt), 0)
        rows = [row for row in rows if row["attempt"] == attempt or row["update"] < first]
    return list({row["update"]: row for row in rows}.values())


def _moment(row: Row, attempts: Mapping[int, Row]) -> Moment:
    """An evaluation with its time: that of the first update, plus the training since then; saving is not counted.

    `seconds` are those of all attempts, `seconds_resumed` those of earlier attempts.
    """
    of = attempts.get(row["attempt"], {})
    seconds = [of.get("seconds_waiting"), of.get("seconds_starting"), row["seconds"], -(of.get("seconds_resumed") or 0)]
    at = (of.get("started_at") or UNKNOWN_TIME) + timedelta(seconds=max(0.0, sum(value or 0 for value in seconds)))
    return Moment(
        update=row["update"],
        at=min(at, of.get("ended_at") or at),
        values={name: float(row[name]) for name in CURVE if row[name] is not None},
    )
