"""A study's progress: trials done of those asked for, what is running, and what the machines have cost. Pure.

An attempt counts as running if it was begun and has no row yet. Attempts that a killed driver left behind look the same
in a summary, so they count too until the study is run again. A trial is done when it has an answer or failed; a lost or
cancelled trial waits to go on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.analysis.failures import Failures, failures
from cluster.study.forms import FULL
from cluster.study.identity import stored
from cluster.study.spec import StudySpec
from cluster.summary import query
from cluster.summary.tables import AXES, CANCELLED, LOST, STATES
from trainer.errors import InputError
from trainer.order.plan import total_updates

LEFT = (LOST, CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Running:
    """An attempt without a row: its point and its last evaluation; `planned_updates` is None if unknown."""

    trial_id: str
    attempt: int
    phase: str | None
    global_batch: int
    learning_rate: float
    optimizer: str
    dtype: str
    seed: int
    started_at: datetime
    updates: int
    planned_updates: int | None
    validation_loss: float | None


@dataclass(frozen=True, kw_only=True)
class TrialCounts:
    """A study's trials: `asked` is None without a spec; `states` counts the trials that are not running, by state.

    They are those of the experiment that the newest spec asks for (`query.newest`).

    `done` trials need no further attempt, or failed; `failures` has the number of failed ones and the causes.

    `cost_usd` is that of all ended attempts. `running_usd` is an estimate for the running ones, at the average cost of
    a worker's second so far. Both are None if no attempt has a known price; `unpriced` attempts are in neither.
    """

    study: str
    asked: int | None
    done: int
    failures: Failures
    states: Mapping[str, int]
    running: Sequence[Running]
    cost_usd: float | None
    running_usd: float | None
    unpriced: int

    @property
    def waiting(self) -> int | None:
        """The number of trials that were asked for and are neither done nor running."""
        return None if self.asked is None else max(0, self.asked - self.done - len(self.running))

    @property
    def going_on(self) -> bool:
        """Whether something may still change."""
        return bool(self.running or self.waiting)


def progress(
    study: str,
    specs: pa.Table,
    trials: pa.Table,
    evaluations: pa.Table,
    begun: Sequence[Mapping[str, Any]],
    now: datetime,
) -> TrialCounts:
    """The progress of one study from its rows in the tables, and from the attempts in `begun` that have no row.

    `begun` are rows of `Summary.lost_attempts`.
    """
    newest = specs.to_pylist()[-1] if specs.num_rows else None
    # Without these values the trial could not be identified.
    begun = [row for row in begun if None not in [row.get(name) for name in (*AXES, "started_at")]]
    runs = {row["trial_id"] for row in begun}
    asked_now = query.newest(trials, specs)
    at_rest = asked_now.filter(pc.invert(pc.is_in(asked_now["trial_id"], pa.array(sorted(runs), pa.string()))))
    still = query.latest(at_rest).select(["state", "micro_batch_next"]).to_pylist()
    counts = Counter(row["state"] for row in still)
    last = _last_evaluations(evaluations, runs)
    spec = _spec(newest)
    costs = trials.select(["cost_usd", "workers", "started_at", "ended_at", "seconds_waiting"]).to_pylist()
    known = [row for row in costs if row["cost_usd"] is not None]
    return TrialCounts(
        study=study,
        asked=_asked(newest, len(still)),
        # A trial that ran out of memory goes on in smaller micro-batches, if there are any.
        done=sum(row["state"] not in LEFT and row["micro_batch_next"] is None for row in still),
        failures=failures(at_rest, newest["trials"] if newest else None),
        states={state: counts[state] for state in STATES},
        running=[
            _running(row, last.get(row["trial_id"], {}), _planned(spec, newest, row["global_batch"]))
            for row in sorted(begun, key=lambda row: row["started_at"])
        ],
        cost_usd=sum(row["cost_usd"] for row in known) if known else None,
        running_usd=_running_usd(known, begun, now),
        unpriced=len(costs) - len(known),
    )


def _asked(newest: Mapping[str, Any] | None, there: int) -> int | None:
    """How many trials a study wants: at least those it has, since a screen that is repeated or extended adds some."""
    return None if newest is None or newest["trials"] is None else max(newest["trials"], there)


def _running(row: Mapping[str, Any], last: Mapping[str, Any], planned: int | None) -> Running:
    return Running(
        **{name: row[name] for name in ("trial_id", "attempt", "started_at", *AXES)},
        phase=row.get("phase"),
        updates=last.get("update", 0),
        planned_updates=planned,
        validation_loss=last.get("validation_loss"),
    )


def _last_evaluations(evaluations: pa.Table, trial_ids: set[str]) -> dict[str, dict[str, Any]]:
    """Each trial's last evaluation, from its newest attempt that has one."""
    columns = evaluations.select(["trial_id", "update", "attempt", "validation_loss"])
    rows = columns.filter(pc.is_in(columns["trial_id"], pa.array(sorted(trial_ids), pa.string()))).to_pylist()
    return {row["trial_id"]: row for row in sorted(rows, key=lambda row: (row["attempt"], row["update"]))}


def _spec(newest: Mapping[str, Any] | None) -> StudySpec | None:
    """The newest spec; None if this version of the program cannot read it."""
    if newest is None or not newest["spec_json"]:
        return None
    try:
        return stored(newest["spec_json"], where="the spec in the summary")
    except InputError:
        return None


def _planned(spec: StudySpec | None, newest: Mapping[str, Any] | None, global_batch: int) -> int | None:
    if spec is None or newest is None or newest["train_rows"] is None:
        return None
    rows = newest["train_rows"]
    written = global_batch if global_batch in spec.axes.global_batch else FULL
    return (
        total_updates(spec.budget_at(written), global_batch=global_batch, rows=rows)
        if written in spec.axes.global_batch
        else None
    )


def _running_usd(known: Sequence[Mapping[str, Any]], begun: Sequence[Mapping[str, Any]], now: datetime) -> float | None:
    """What the attempts under way have cost, if a worker's second costs the same as before."""

    def worker_seconds(row: Mapping[str, Any], until: datetime) -> float:
        seconds: float = (until - row["started_at"]).total_seconds() - (row.get("seconds_waiting") or 0.0)
        workers: int = row.get("workers") or 1
        return max(0.0, seconds) * workers

    timed = [row for row in known if row["started_at"] and row["ended_at"]]
    whole = sum(worker_seconds(row, row["ended_at"]) for row in timed)
    cost: float = sum(row["cost_usd"] for row in timed)
    return cost / whole * sum(worker_seconds(row, now) for row in begun) if whole else None
