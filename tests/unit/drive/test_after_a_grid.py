"""A protocol after a plain grid under one name: the grid's seeds confirm nothing, whatever rates are chosen."""

from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pyarrow.compute as pc
import pytest

from cluster.analysis.declared import as_begun
from cluster.analysis.verdict import judge
from cluster.exports.found import trials_of
from cluster.study import axes, protocol
from cluster.study.spec import StudySpec
from cluster.study.study import Study
from cluster.summary import query
from cluster.summary.known_losses import losses
from cluster.summary.store import Summary
from tests.support import simulated
from tests.support.simulated import ROWS, World, spec_of
from tests.support.stored import changed, store

AXES = {"global_batch": [16, 64], "learning_rate": [0.003, 0.01, 0.03], "seeds": 3}
# A best rate that is one of the axis: the grid has trained what the screen chooses.
ON_THE_GRID = {"rates": "best_of_grid", "screen_seeds": 1}
WORLD = World(run_deviation=0.01)
SPLIT = Mock(rows=ROWS, label_mean=None, label_variance=None, label_counts=())
MANIFEST = Mock(data_hash=simulated.DATA_HASH, splits={"train": SPLIT, "validation": SPLIT})


def grown(summary: Summary, spec: StudySpec) -> Study:
    """The study as the driver opens it."""
    grid = axes.trials(spec, data_hash=simulated.DATA_HASH, train_rows=ROWS)
    study = Study(spec=spec, manifest=MANIFEST, trials=grid, placed=Mock(), capacity=Mock())
    return as_begun(study, query.studies(summary), query.trials(summary))


def store_later(folder: Path, tables: simulated.Tables) -> Summary:
    """The summary with these tables too, a day later."""
    studies, trials, evaluations = (
        changed(table, **{name: pc.add(table[name], timedelta(days=1)).to_pylist() for name in names})
        for table, names in zip(tables, (("started_at", "declared_at"), ("started_at", "ended_at"), ()), strict=True)
    )
    return store(folder, (studies, trials, evaluations), file="later")


def test_its_seeds_confirm_nothing_and_the_study_ends_with_a_verdict(tmp_path: Path) -> None:
    plain = spec_of(axes=AXES, protocol=None)
    tuned = spec_of(axes=AXES, protocol=ON_THE_GRID)
    summary = store(tmp_path, simulated.study(plain, WORLD))
    study = grown(summary, tuned)
    assert study.tried_on == (0, 1, 2)
    store_later(tmp_path, simulated.study(tuned, WORLD, tried_on=study.tried_on))
    trials = query.trials(summary)
    confirmed = trials.filter(pc.field("phase") == protocol.CONFIRM)
    assert set(confirmed["seed"].to_pylist()) == {3, 4, 5}
    # Opened again, the study wants nothing else.
    again = grown(summary, tuned).plan(losses(trials))
    assert not again.open
    assert {one.trial.trial_id for one in again.trials} <= losses(trials).keys()
    [group] = judge(query.studies(summary), trials, query.evaluations(summary)).groups
    assert {(cell.completed, cell.seeds, cell.usable) for cell in group.cells} == {(3, 3, True)}
    assert group.qualities
    # Every trial that was trained can be exported.
    assert trials_of(query.specs(summary, "simulated"), MANIFEST, trials).keys() >= losses(trials).keys()


def test_neither_a_later_grid_nor_a_trial_without_an_answer_moves_the_seeds_that_confirm(tmp_path: Path) -> None:
    plain, tuned = spec_of(axes=AXES, protocol=None), spec_of(axes=AXES, protocol=ON_THE_GRID)
    grid = simulated.study(plain, WORLD)
    summary = store(tmp_path, grid)
    store_later(tmp_path, simulated.study(tuned, WORLD, tried_on=(0, 1, 2)))
    # Seeds 3 and 4 again, at the rates of a grid, after they confirmed; and seed 7, which never ended.
    later = [changed(table, seed=[3 + seed % 2 for seed in table["seed"].to_pylist()]) for table in grid[1:2]]
    late = changed(later[0], trial_id=[f"late{n}" for n in range(later[0].num_rows)])
    times = {name: pc.add(late[name], timedelta(days=2)).to_pylist() for name in ("started_at", "ended_at")}
    store(tmp_path, (grid[0], changed(late, **times), grid[2].slice(0, 0)), file="grid-again")
    unended = changed(grid[1].slice(0, 1), trial_id=["cancelled"], seed=[7], state="CANCELLED")
    store(tmp_path, (grid[0], unended, grid[2].slice(0, 0)), file="unended")
    assert grown(summary, tuned).tried_on == (0, 1, 2)


def test_a_study_that_an_older_version_confirmed_on_them_goes_on_like_that(tmp_path: Path) -> None:
    plain = spec_of(axes=AXES, protocol=None)
    # Of the fitted rates, which the grid has not trained.
    tuned = spec_of(axes=AXES, protocol={"screen_seeds": 1})
    summary = store(tmp_path, simulated.study(plain, WORLD))
    store_later(tmp_path, simulated.study(tuned, WORLD))
    study = grown(summary, tuned)
    assert study.tried_on == ()
    known = losses(query.trials(summary))
    assert {one.trial.trial_id for one in study.plan(known).trials} <= known.keys()
    [group] = judge(query.studies(summary), query.trials(summary), query.evaluations(summary)).groups
    assert {(cell.completed, cell.seeds) for cell in group.cells} == {(3, 3)}


@pytest.mark.parametrize("rules", [ON_THE_GRID, {"screen_seeds": 1}])
def test_the_headline_says_which_seeds_confirm(rules: dict[str, object], tmp_path: Path) -> None:
    from cluster.report.headline import headline

    summary = store(tmp_path, simulated.study(spec_of(axes=AXES, protocol=None), WORLD))
    study = grown(summary, spec_of(axes=AXES, protocol=rules))
    study.placed.note = None
    said = headline(study, 0, 9)
    assert "confirmed on seeds 3, 4, 5 in the place of seeds 0, 1, 2, trained before" in said
