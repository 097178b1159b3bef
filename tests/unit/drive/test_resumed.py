"""A study begun by an older version goes on: no trial changes its id, none is trained again, and all agree on it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cluster.analysis.asked import specs_of
from cluster.analysis.cells import cells_of
from cluster.analysis.declared import as_begun
from cluster.analysis.verdict import judge
from cluster.drive.opening import Declaration, _read
from cluster.exports.found import trials_of
from cluster.study import axes, protocol
from cluster.study.experiment import COLUMNS
from cluster.study.spec import StudySpec
from cluster.study.study import Study
from cluster.summary import query
from cluster.summary.known_losses import losses
from cluster.summary.store import Summary
from tests.support import simulated
from tests.support.simulated import ROWS, World, spec_of
from tests.support.stored import changed, store

WORLD = World(run_deviation=0.01, floors={16: 0.83, 512: 0.95})
BATCHES = [16, 64, 512]
RATES = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}
# What the protocol was before it had words for it.
OLD = {"rates": "best_of_grid", "looks": "none"}
SPLIT = Mock(rows=ROWS, label_mean=None, label_variance=None, label_counts=())
MANIFEST = Mock(data_hash=simulated.DATA_HASH, label_names=(), splits={"train": SPLIT, "validation": SPLIT})


def spec(*, seeds: int, margin: float | None = 0.05, screen_seeds: int = 1, **more: Any) -> StudySpec:
    """A spec whose confirmations stop at its automatic target."""
    return spec_of(
        axes={"global_batch": BATCHES, "learning_rate": RATES, "seeds": seeds},
        target="auto",
        margin=margin and {"validation_loss": margin},
        **{"protocol": {**OLD, "stop_at_target": True, "screen_seeds": screen_seeds}} | more,
    )


@dataclass
class Old:
    """A summary that an older version writes: its screens are on the seeds after the last, its rows lack COLUMNS."""

    summary: Summary
    days: int = 0

    def run(self, one: StudySpec) -> set[str]:
        """Run a spec to its end, a day after the one before; its trials."""
        assert one.protocol is not None
        first = len(one.axes.seeds)
        tables = simulated.study(one, WORLD, screened_on=tuple(range(first, first + one.protocol.fewest_screen_seeds)))
        known = pa.array(self.losses(), pa.string())
        new = [
            table.filter(pc.invert(pc.is_in(table["trial_id"], known))) if "trial_id" in table.column_names else table
            for table in tables
        ]
        new[0] = self._later(new[0], "started_at", "declared_at")
        new[1] = changed(self._later(new[1], "started_at", "ended_at"), **dict.fromkeys(COLUMNS))
        store(Path(self.summary.uri), (new[0], new[1], new[2]), file=f"rows{self.days}")
        self.days += 1
        return set(tables[1]["trial_id"].to_pylist())

    def losses(self) -> dict[str, float]:
        return losses(query.trials(self.summary))

    def resumed(self, one: StudySpec) -> Study:
        """The study as the driver goes on with it."""
        grid = axes.trials(one, data_hash=simulated.DATA_HASH, train_rows=ROWS)
        study = Study(spec=one, manifest=MANIFEST, trials=grid, placed=Mock(), capacity=Mock())
        return as_begun(study, query.studies(self.summary), query.trials(self.summary))

    def _later(self, table: pa.Table, *names: str) -> pa.Table:
        times = {name: [time + timedelta(days=self.days) for time in table[name].to_pylist()] for name in names}
        return changed(table, **times)


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(Summary(str(tmp_path / "summary")))


def new_seeds(plan: protocol.Wanted, known: Mapping[str, float]) -> list[int]:
    """The seeds of the trials that are still wanted, each of which confirms every batch size."""
    missing = [planned for planned in plan.trials if planned.trial.trial_id not in known]
    assert {planned.phase for planned in missing} <= {protocol.CONFIRM}
    seeds = sorted({planned.trial.seed for planned in missing})
    assert len(missing) == len(seeds) * len(BATCHES)
    return seeds


@pytest.mark.slow
@pytest.mark.parametrize("late", [0.05, 0.2, None])
@pytest.mark.parametrize(("screen_seeds", "confirm"), [(1, [6, 7]), (2, [7, 8])])
def test_more_seeds_and_a_late_margin_train_nothing_again(
    screen_seeds: int, confirm: list[int], late: float | None, old: Old
) -> None:
    before = old.run(spec(seeds=5, screen_seeds=screen_seeds))
    study = old.resumed(spec(seeds=7, margin=late, screen_seeds=screen_seeds))
    known, plan = old.losses(), study.plan(old.losses())
    assert not plan.open
    assert before <= {planned.trial.trial_id for planned in plan.trials}
    assert new_seeds(plan, known) == confirm
    Declaration(summary=old.summary, study=study, declared_at=datetime.now(UTC)).declare(plan)
    stored = query.studies(old.summary), query.trials(old.summary), query.evaluations(old.summary)
    verdict = judge(*stored)
    [target] = {planned.trial.stop_at_loss for planned in plan.trials if planned.phase == protocol.CONFIRM}
    assert verdict.declared.target == target
    assert verdict.declared.margin == 0.05
    assert {(cell.completed, cell.seeds) for cell in verdict.groups[0].cells} == {(5, 7)}
    # Every trial that was trained can be exported, and those that are to be.
    exported = trials_of(query.specs(old.summary, "simulated"), MANIFEST, stored[1])
    assert exported.keys() >= known.keys() | {planned.trial.trial_id for planned in plan.trials}


@pytest.mark.slow
@pytest.mark.parametrize("late", [0.05, 0.2, None])
def test_of_two_budgets_each_keeps_its_own_screen_seeds_and_target(late: float | None, old: Old) -> None:
    short = old.run(spec(seeds=5, budget={"epochs": 10}))
    long = old.run(spec(seeds=7))
    known = old.losses()
    study = old.resumed(spec(seeds=9, margin=late))
    assert study.screened_on == (7,)
    plan = study.plan(known)
    assert long <= {planned.trial.trial_id for planned in plan.trials}
    assert new_seeds(plan, known) == [8, 9]
    again = old.resumed(spec(seeds=9, margin=late, budget={"epochs": 10}))
    assert again.screened_on == (5,)
    plan = again.plan(known)
    assert short <= {planned.trial.trial_id for planned in plan.trials}
    assert new_seeds(plan, known) == [6, 7, 8, 9]


def test_a_spec_that_cannot_be_read_stops_no_study_that_goes_on(old: Old) -> None:
    old.run(spec(seeds=5))
    for number, text in enumerate((None, "{}")):
        old.summary.write_study({"study": "simulated", "spec_hash": f"{number:016d}", "spec_json": text})
    assert new_seeds(old.resumed(spec(seeds=6)).plan(old.losses()), old.losses()) == [6]


@pytest.mark.slow
@pytest.mark.parametrize("stop_at_target", [True, False])
def test_a_seed_that_screened_after_the_study_grew_confirms_nowhere(stop_at_target: bool, old: Old) -> None:
    protocol_keys = {"protocol": {**OLD, "stop_at_target": stop_at_target}}
    old.run(spec(seeds=5, **protocol_keys))
    # Its screen moved from seed 5 to seed 6, and seed 5 confirmed.
    old.run(spec(seeds=6, **protocol_keys))
    plan = old.resumed(spec(seeds=6, **protocol_keys)).plan(old.losses())
    assert new_seeds(plan, old.losses()) == [7]
    stored = query.studies(old.summary), query.trials(old.summary), query.evaluations(old.summary)
    confirmed = {planned.trial.seed for planned in plan.trials if planned.phase == protocol.CONFIRM}
    for cell in cells_of(stored[1], stored[2], specs_of(stored[0], stored[1])):
        assert set(cell.planned) == confirmed
        assert {run.seed for run in cell.runs} == confirmed - {7}


def test_other_paths_and_words_are_declared_when_the_spec_was_first(old: Old) -> None:
    old.run(spec(seeds=5))
    [first] = query.studies(old.summary).to_pylist()
    moved = spec(seeds=5, data="moved", summary=old.summary.uri, description="why", tags=["a"])
    here = _read(replace(old.resumed(moved), known_as=None), old.summary, Mock())
    here.declaration.declare(here.unfolding.plan)
    [row] = query.studies(old.summary).filter(pc.field("data") == "moved").to_pylist()
    assert (row["spec_hash"], row["declared_at"]) == (first["spec_hash"], first["declared_at"])
    assert (row["description"], row["tags"]) == ("why", "a")
    assert row["started_at"] > first["started_at"]
    other = _read(old.resumed(spec(seeds=6, data="moved")), old.summary, Mock())
    assert other.declaration.declared_at > first["declared_at"]
