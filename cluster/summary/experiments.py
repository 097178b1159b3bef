"""Distinguishing several experiments under one study's name, by the columns of `cluster.study.experiment`.

A trial's row has these columns. Rows of an older version lack them, and get them from the spec of their trial.
"""

import functools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.study import experiment, protocol
from cluster.study.experiment import COLUMNS
from cluster.study.protocol import CONFIRM, NO_LOSS
from cluster.summary.attempts import finished
from cluster.summary.problems import Problem
from cluster.summary.tables import COMPLETED, TEXT, TRIALS
from trainer.errors import InputError

# The columns of a trial that `filled` and `newest` read.
NEEDED = (
    *("study", "trial_id", "state", "started_at", "global_batch", "seed", "best_validation_loss", "phase", "spec_hash"),
    *COLUMNS,
)

Row = Mapping[str, Any]


def filled(trials: pa.Table, specs: pa.Table) -> pa.Table:
    """The trials, with COLUMNS filled in for rows that lack them, if their spec is among `specs`."""
    asked = {(row["study"], row["spec_hash"]): _Asked(row, trials) for row in specs.to_pylist()}

    def value(row: Row) -> dict[str, Any]:
        ran_under = asked.get((row["study"], row["spec_hash"]))
        if row["budget"] is not None or ran_under is None:
            return {name: row[name] for name in COLUMNS}
        return ran_under.values(row)

    values = [value(row) for row in trials.select(NEEDED).to_pylist()]
    for name in COLUMNS:
        place = trials.schema.get_field_index(name)
        column = pa.array([of_row[name] for of_row in values], TRIALS.field(name).type)
        trials = trials.set_column(place, TRIALS.field(name), column)
    return trials


def of_no_spec(trials: pa.Table, specs: pa.Table) -> Iterator[Problem]:
    """A problem for each study with trials whose spec is not among its own, as when another study's file was copied."""
    known = set(zip(specs["study"].to_pylist(), specs["spec_hash"].to_pylist(), strict=True))
    declared = {study for study, _ in known}
    ran = zip(trials["study"].to_pylist(), trials["spec_hash"].to_pylist(), strict=True)
    strange = Counter(study for study, spec in ran if spec and study in declared and (study, spec) not in known)
    for study, count in sorted(strange.items()):
        what = (
            f"{count} of its rows ran under a spec that is not in studies/study={study}: they are counted, but a file "
            "of another study was copied here, or the file of a spec is gone"
        )
        yield Problem(f"trials/study={study}", what)


def newest(trials: pa.Table, specs: pa.Table) -> pa.Table:
    """The trials of the experiment that the newest spec of their study asks for, whichever spec they ran under.

    Further axes, further seeds or other resources do not make another experiment. A trial whose experiment is unknown
    is kept, because nothing shows that it differs.
    """
    order = specs.sort_by([("study", "ascending"), ("started_at", "ascending")]).to_pylist()
    asked = {row["study"]: _Asked(row, trials) for row in order}

    def is_asked(row: Row) -> bool:
        newest_spec = asked.get(row["study"])
        return newest_spec is None or newest_spec.agrees(row)

    return _to_first_target(trials.filter(pa.array(list(map(is_asked, trials.select(NEEDED).to_pylist())), pa.bool_())))


def of_spec(trials: pa.Table, row: Row) -> pa.Table:
    """The trials of one study that belong to the experiment of a spec, which is given as its row of `studies`."""
    asked = _Asked(row, trials)
    agree = [asked.agrees(trial) for trial in trials.select(NEEDED).to_pylist()]
    return _to_first_target(trials.filter(pa.array(agree, pa.bool_())))


def _to_first_target(trials: pa.Table) -> pa.Table:
    """The trials without confirmations that stop at another target than the first confirmation of their study.

    A target that was declared after the confirmations began decides nothing (`cluster.analysis.declared`), so all of
    them stop at the same target; only older versions began further ones that stop at another.
    """
    confirming = pc.equal(trials["phase"], CONFIRM)
    stopping = trials.filter(pc.and_kleene(confirming, pc.is_valid(trials["stop_at_loss"])))
    order = stopping.sort_by([("started_at", "descending")]).select(["study", "stop_at_loss"]).to_pylist()
    first = {row["study"]: row["stop_at_loss"] for row in order}
    kept = [
        row["phase"] != CONFIRM or row["stop_at_loss"] in (None, first.get(row["study"]))
        for row in trials.select(["study", "phase", "stop_at_loss"]).to_pylist()
    ]
    return trials.filter(pa.array(kept, pa.bool_()))


def screened_on(trials: pa.Table) -> tuple[int, ...]:
    """The seeds on which the learning rates of one experiment were screened, in ascending order."""
    return tuple(sorted(set(trials.filter(pc.equal(trials["phase"], protocol.SCREEN))["seed"].to_pylist())))


def tried_on(trials: pa.Table) -> tuple[int, ...]:
    """The seeds that one experiment trained as a plain grid before anything was confirmed, in ascending order.

    Whoever declared the protocol had seen their losses, so they confirm nothing. Older versions let them confirm, and a
    study that did goes on like that: then there are none.
    """
    plain = finished(trials.filter(pc.is_in(trials["phase"], pa.array([protocol.GRID, None], TEXT))))
    confirming = trials.filter(pc.equal(trials["phase"], CONFIRM))
    if (began := pc.min(confirming["started_at"])).is_valid:
        plain = plain.filter(pc.less(plain["started_at"], began))
    seeds = set(plain["seed"].to_pylist())
    return () if seeds & set(confirming["seed"].to_pylist()) else tuple(sorted(seeds))


def _keys(spec_json: str | None) -> Mapping[str, Any] | None:
    try:
        keys: Mapping[str, Any] = json.loads(spec_json or "null")
        experiment.of_spec(keys, 1, None)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return keys


class _Asked:
    """What a spec (a row of `studies`) asks of its trials; nothing if it cannot be read."""

    def __init__(self, row: Row, trials: pa.Table) -> None:
        self._row, self._trials = row, trials
        self._spec = _keys(row["spec_json"])
        self._at_batch: dict[int, dict[str, Any]] = {}

    def values(self, row: Row) -> dict[str, Any]:
        """COLUMNS of a trial that ran under this spec."""
        if self._spec is None:
            return dict.fromkeys(COLUMNS)
        stop_at_loss = self.stop_at_loss if row["phase"] == CONFIRM else None
        if stop_at_loss is not None and math.isnan(stop_at_loss):
            stop_at_loss = None
        return {**self._values(row["global_batch"]), "stop_at_loss": stop_at_loss}

    def agrees(self, row: Row) -> bool:
        """Whether this spec would ask for such a trial at that point and seed, whatever target stops it."""
        if self._spec is None or row["budget"] is None:
            return True
        mine = self._values(row["global_batch"])
        if mine["budget"] is None:
            # The spec no longer lists the batch size.
            mine = {**mine, "budget": row["budget"]}
        same = all(row[name] == value for name, value in mine.items())
        stops = experiment.stops_at_target(self._spec)
        return same and (row["phase"] != CONFIRM or (row["stop_at_loss"] is not None) == stops)

    def _values(self, global_batch: int) -> dict[str, Any]:
        assert self._spec is not None
        if global_batch not in self._at_batch:
            self._at_batch[global_batch] = experiment.of_spec(self._spec, global_batch, self._row["train_rows"])
        return self._at_batch[global_batch]

    @functools.cached_property
    def stop_at_loss(self) -> float | None:
        """The loss at which its confirmations stop; None if they do not, NaN while the screen has not settled it."""
        assert self._spec is not None
        if not experiment.stops_at_target(self._spec):
            return None
        target = self._spec.get("target")
        if isinstance(target, dict):
            loss: float = target["validation_loss"]
            return loss
        return self._automatic()

    def _automatic(self) -> float:
        """The automatic target, computed from the screen as the driver did."""
        # Needed only for old rows; importing pydantic takes as long as reading a summary.
        from cluster.study import axes, identity

        own = self._trials.filter(pc.field("study") == self._row["study"]).select(NEEDED).to_pylist()
        losses = {row["trial_id"]: NO_LOSS for row in own}
        for row in own:
            if row["state"] == COMPLETED and row["best_validation_loss"] is not None:
                losses[row["trial_id"]] = row["best_validation_loss"]
        screened = sorted({row["seed"] for row in own if row["phase"] == protocol.SCREEN and self.agrees(row)})
        try:
            whole = identity.stored(self._row["spec_json"], where="the spec in the summary")
            grid = axes.trials(whole, data_hash=self._row["data_hash"], train_rows=self._row["train_rows"])
        except InputError:
            return math.nan
        plans = protocol.may_have_wanted(
            grid,
            whole.protocol,
            losses,
            protocol.Conditions(
                guess=self._row["baseline_loss"],
                margin=self._row["margin"],
                screened_on=tuple(screened),
                target_after=whole.target_after,
            ),
        )
        stops = [
            {planned.trial.trial_id: planned.trial.stop_at_loss for planned in plan.trials if planned.phase == CONFIRM}
            for plan in plans
        ]
        # The plan that began the confirmations there are, or else the plan of those to come.
        begun = next((stop for stop in stops if stop.keys() & losses.keys()), stops[0])
        return next((loss for loss in begun.values() if loss is not None), math.nan)
