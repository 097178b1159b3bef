"""Several experiments under one study's name are never averaged, and a cell has one number wherever it is shown."""

import base64
import gzip
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from cluster.analysis.verdict import judge
from cluster.cli.results import command
from cluster.report.page.page import page
from cluster.report.serve.app import application
from cluster.report.serve.guard import Rules, host_headers
from cluster.study import identity
from cluster.study.experiment import COLUMNS
from cluster.summary import experiments, query
from cluster.summary.store import Summary
from cluster.summary.tables import STUDIES
from tests.support import simulated
from tests.support.simulated import World, spec_of

AXES = {"global_batch": [16, 64], "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}, "seeds": 3}
RULES = Rules(hosts=host_headers(["127.0.0.1"], 8700))


def spec(**changed: Any) -> Any:
    return spec_of(**{"axes": AXES, "budget": {"epochs": 10}, **changed})


def written(summary: Summary, *specs: Any, with_columns: bool = True, screened_on: tuple[int, ...] = ()) -> Summary:
    """One study of simulated trials, run under each spec in turn, a day apart."""
    known = set(query.trials(summary)["trial_id"].to_pylist())
    for day, one in enumerate(specs, start=bool(known)):
        tables = simulated.study(one, World(), screened_on=screened_on)
        studies, trials, evaluations = (table.to_pylist() for table in tables)
        later = timedelta(days=day)
        for row in studies:
            summary.write_study({**row, "started_at": row["started_at"] + later, "trials": len(trials)})
        new = {row["trial_id"] for row in trials} - known
        known |= new
        for row in trials:
            if row["trial_id"] in new:
                times = {name: row[name] + later for name in ("started_at", "ended_at")}
                without = {} if with_columns else dict.fromkeys(COLUMNS)
                summary.write_trial({**row, **times, **without})
                own = [some for some in evaluations if some["trial_id"] == row["trial_id"]]
                summary.write_evaluations(own, part=0)
    return summary


def results(summary: Summary, *arguments: str) -> Any:
    found = CliRunner().invoke(command, ["simulated", "--summary", summary.uri, *arguments], standalone_mode=False)
    assert found.exception is None, found
    return json.loads(found.stdout) if "json" in arguments else found.stdout


def embedded(html: str, file: str) -> str:
    """A file that the page holds."""
    [(kind, packed)] = re.findall(rf'download="{file}(\.gz)?" href="data:[^,]*,([^"]*)"', html)
    content = base64.b64decode(packed)
    return (gzip.decompress(content) if kind else content).decode()


@pytest.fixture(params=[True, False], ids=["now", "rows of an older version"])
def two_budgets(request: pytest.FixtureRequest, tmp_path: Path) -> Summary:
    """A study with a screen and confirmations, run with 10 epochs and then with 20."""
    summary = Summary(str(tmp_path / "summary"))
    return written(summary, spec(), spec(budget={"epochs": 20}), with_columns=request.param)


@pytest.mark.slow
def test_a_cell_has_one_number_on_every_surface(two_budgets: Summary) -> None:
    summary = two_budgets
    verdict = results(summary, "--verdict", "--format", "json")
    cells = {cell["global_batch"]: cell for cell in verdict["groups"][0]["cells"]}
    assert {cell["completed"] for cell in cells.values()} == {3}
    means = {batch: cell["loss"]["mean"] for batch, cell in cells.items()}

    rows = results(summary, "--format", "json")["rows"]
    assert {(row["phase"], row["budget"]) for row in rows} == {
        (phase, budget) for phase in ("confirm", "screen") for budget in ("10 epochs", "20 epochs")
    }
    now = {row["global_batch"]: row for row in rows if (row["phase"], row["budget"]) == ("confirm", "20 epochs")}
    assert {batch: row["best_validation_loss_mean"] for batch, row in now.items()} == pytest.approx(means, rel=1e-12)
    assert {row["seeds"] for row in now.values()} == {3}
    # The first lines: the confirmations, of a batch size the newest first.
    first = [(row["phase"], row["global_batch"], row["budget"]) for row in rows[:4]]
    assert first == [("confirm", batch, budget) for batch in (16, 64) for budget in ("20 epochs", "10 epochs")]

    head, units, line, *rest = results(summary).splitlines()
    assert {"phase", "budget"} <= set((head + units).split())
    assert f"{means[16]:.4f}" in line
    assert "confirm" in line
    lowest = min(means, key=lambda batch: means[batch])
    assert any(f"lowest mean validation loss of the confirmations: global batch {lowest}" in one for one in rest)
    assert any("trials of another experiment under this name are left out" in one for one in rest)

    with TestClient(application(summary, RULES, page=page, report=print), base_url="http://127.0.0.1:8700") as client:
        assert client.get("/api/studies/simulated/points").json()["rows"] == rows
        assert client.get("/api/studies/simulated/verdict").json() == verdict
        [listed] = client.get("/api/studies").json()["rows"]
        assert listed["lowest_validation_loss_mean"] == pytest.approx(means[lowest], rel=1e-12)
        assert (listed["lowest_global_batch"], listed["lowest_seeds"]) == (lowest, 3)
        assert (listed["done"], listed["trials"]) == (listed["asked"], listed["asked"])
        assert f"{means[lowest]:.4f}" in client.get("/").text
        html = client.get("/studies/simulated").text
    assert json.loads(embedded(html, "simulated-verdict.json")) == verdict
    points = embedded(html, "simulated-points.csv").splitlines()
    assert points[0].endswith("phase,budget,evaluate_every,clip_norm,stop_at_loss,settings")
    assert len(points) == len(rows) + 1
    sql = "select best_validation_loss_mean as loss from points where phase = 'confirm' and budget = '20 epochs'"
    assert [row["loss"] for row in results(summary, "--sql", sql, "--format", "json")["rows"]] == [
        row["best_validation_loss_mean"] for row in rows[:4:2]
    ]


@pytest.mark.slow
def test_the_verdict_is_on_the_newest_spec_also_when_an_older_one_is_asked_for_again(tmp_path: Path) -> None:
    alone = [judge(*simulated.study(spec(budget={"epochs": epochs}), World())) for epochs in (10, 20)]
    summary = written(Summary(str(tmp_path / "s")), spec(), spec(budget={"epochs": 20}))
    tables = query.studies(summary), query.trials(summary), query.evaluations(summary)
    assert judge(*tables).groups[0].cells == alone[1].groups[0].cells
    again = written(summary, spec(), spec(budget={"epochs": 20}), spec())
    tables = query.studies(again), query.trials(again), query.evaluations(again)
    assert judge(*tables).groups[0].cells == alone[0].groups[0].cells


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"evaluate_every": {"examples": 1024}},
        {"clip_norm": 1.0},
        {"target": "auto", "protocol": {"stop_at_target": True}},
        {"protocol": {"stop_at_target": True}},
        {"budget": {"16": {"epochs": 10}, "64": {"epochs": 12}}},
    ],
)
def test_whatever_makes_another_experiment_is_told_apart(changed: dict[str, Any], tmp_path: Path) -> None:
    for with_columns in (True, False):
        summary = written(
            Summary(str(tmp_path / f"{with_columns}")), spec(), spec(**changed), with_columns=with_columns
        )
        rows = query.points(query.trials(summary)).to_pylist()
        assert max(row["trials"] for row in rows) == 3
        confirmed = {(row["global_batch"], *(row[name] for name in COLUMNS)) for row in rows if row["seeds"] == 3}
        assert len(confirmed) == (3 if "budget" in changed else 4)
        cells = judge(query.studies(summary), query.trials(summary), query.evaluations(summary)).groups[0].cells
        assert [cell.completed for cell in cells] == [3, 3]
        alone = judge(*simulated.study(spec(**changed), World())).groups[0].cells
        assert [cell.loss for cell in cells] == [cell.loss for cell in alone]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"resources": {"lanes": 2}},
        {"axes": AXES | {"global_batch": [16, 64, 128]}},
        {"margin": {"validation_loss": 0.02}},
        {"budget": {"16": {"epochs": 10}, "64": {"epochs": 10}}},
    ],
)
def test_further_axes_or_other_resources_make_no_other_experiment(changed: dict[str, Any], tmp_path: Path) -> None:
    for with_columns in (True, False):
        summary = written(
            Summary(str(tmp_path / f"{with_columns}")), spec(), spec(**changed), with_columns=with_columns
        )
        trials = query.trials(summary)
        assert query.newest(trials, query.studies(summary)).num_rows == trials.num_rows
        assert pa.compute.count_distinct(trials["budget"]).as_py() == 1


def test_rows_without_a_spec_are_kept_together() -> None:
    _, trials, _ = simulated.study(spec(), World())
    bare = trials.set_column(trials.schema.get_field_index("budget"), "budget", pa.nulls(len(trials), pa.string()))
    assert query.newest(bare, STUDIES.empty_table()).equals(bare)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [{}, {"target": "auto", "protocol": {"stop_at_target": True}}])
def test_the_screen_that_a_study_began_with_is_found_and_its_runs_count(stop: dict[str, Any], tmp_path: Path) -> None:
    more = spec(axes=AXES | {"seeds": 5}, **stop)
    summary = written(Summary(str(tmp_path / "s")), spec(**stop), with_columns=False, screened_on=(3,))
    [began] = query.studies(summary).to_pylist()
    asked = began | {"spec_json": identity.canonical_json(more), "spec_hash": identity.spec_hash(more)}
    found = experiments.screened_on(experiments.of_spec(query.trials(summary), asked))
    assert found == (3,)
    assert experiments.screened_on(experiments.of_spec(query.trials(summary), asked | _budget_of(20))) == ()
    written(summary, more, screened_on=found)
    tables = query.studies(summary), query.trials(summary), query.evaluations(summary)
    [group] = judge(*tables).groups
    assert [cell.completed for cell in group.cells] == [5, 5]
    assert tables[1].filter(pa.compute.field("phase") == "screen").num_rows == 6
    assert {row["seeds"] for row in query.points(tables[1]).to_pylist()} == {1, 5}


def _budget_of(epochs: int) -> dict[str, str]:
    return {"spec_json": identity.canonical_json(spec(budget={"epochs": epochs}))}
