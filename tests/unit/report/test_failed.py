"""A study in which trials failed says so, and why, wherever it is looked at."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from cluster.analysis.failures import failures
from cluster.analysis.verdict import judge
from cluster.cli.results import command
from cluster.report import verdict as words
from cluster.report.failed import sentence
from cluster.report.page.page import page
from cluster.report.serve.app import application
from cluster.report.serve.guard import Rules, host_headers
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.tables import table_of
from tests.support import simulated
from tests.support.simulated import World, spec_of
from tests.support.stored import changed, store

ERROR = "InvalidArgumentError: indices[0] = {} is not in [0, 4) <b>\x1b[31m (my_models.py:39)"
AXES = {"global_batch": [16, 64], "learning_rate": 0.01, "seeds": 2}


def study(folder: Path, errors: list[str | None]) -> Summary:
    """A grid of four trials; those with an error failed."""
    spec = spec_of(axes=AXES, protocol=None, target=None, margin=None)
    studies, trials, evaluations = simulated.study(spec, World())
    rows = changed(
        trials,
        state=["FAILED" if error else "COMPLETED" for error in errors],
        error=errors,
        best_validation_loss=[None if error else 0.5 for error in errors],
    )
    store(folder, (changed(studies, trials=4), rows, evaluations), study="mine")
    return Summary(str(folder))


def told(summary: Summary, *arguments: str) -> str:
    result = CliRunner().invoke(command, ["mine", "--summary", summary.uri, *arguments], standalone_mode=False)
    assert result.exception is None, result
    return result.stdout


@pytest.mark.slow
def test_all_failed_is_the_headline_everywhere(tmp_path: Path) -> None:
    summary = study(tmp_path, [ERROR.format(number) for number in range(4)])
    said = "All 4 trials failed, all with: InvalidArgumentError: indices[0] = 0 is not in [0, 4) <b> (my_models.py:39)"
    escaped = said.replace("<b>", "&lt;b&gt;")
    assert said in told(summary)
    assert said in told(summary, "--verdict")
    assert "no trial has ended" not in told(summary, "--verdict")
    verdict = json.loads(told(summary, "--verdict", "--format", "json"))
    assert verdict["sentences"] == [said]
    assert (verdict["failures"]["failed"], verdict["failures"]["trials"]) == (4, 4)
    rules = Rules(hosts=host_headers(["127.0.0.1"], 8700))
    with TestClient(application(summary, rules, page=page, report=print), base_url="http://127.0.0.1:8700") as client:
        listed = client.get("/").text
        assert escaped in listed
        assert "0 of 4 trials done" in listed
        assert '<progress max="4" value="0"' in listed
        [row] = client.get("/api/studies").json()["rows"]
        assert (row["failed"], row["why_failed"]) == (4, said)
        html = client.get("/studies/mine").text
    assert f'<p class="lead">{escaped}</p>' in html
    assert "None found" not in html
    assert "no trial has ended" not in html
    assert "\x1b" not in html + listed


def test_some_failed_is_said_once_beside_what_the_others_show(tmp_path: Path) -> None:
    summary = study(tmp_path, [ERROR.format(9), None, None, "KeyError: 'x' (my_models.py:16)"])
    line = "2 of 4 trials failed: 1 with: InvalidArgumentError: indices[0] = 9 is not in [0, 4)"
    assert line in told(summary)
    tables = query.studies(summary), query.trials(summary), query.evaluations(summary)
    assert sum(one.startswith(line) for one in words.sentences(judge(*tables))) == 1
    html = page(summary, "mine")
    assert html.count(f'<p class="failed">{line}') == 1


ROWS: list[dict[str, Any]] = [
    {"study": "s", "trial_id": f"{number}", "attempt": 1, "state": state, "error": error}
    for number, (state, error) in enumerate(
        [("FAILED", "a 1"), ("FAILED", "a 2"), ("FAILED", "b"), ("FAILED", "c"), ("FAILED", "d"), ("FAILED", None)]
    )
]


@pytest.mark.parametrize(
    ("rows", "asked", "said"),
    [
        ([], 3, ""),
        (ROWS[:1], 1, "The only trial failed with: a 1"),
        (ROWS[:2], 2, "All 2 trials failed, both with: a 1"),
        (ROWS[:2], None, "All 2 trials failed, both with: a 1"),
        (ROWS[:1], 5, "1 of 5 trials failed with: a 1"),
        (
            ROWS,
            9,
            "6 of 9 trials failed: 2 with: a 1; 1 with: FAILED without a recorded error; 1 with: b; 2 with other "
            "errors",
        ),
        ([ROWS[0] | {"state": "LOST"}, ROWS[1] | {"state": "CANCELLED"}], 2, ""),
        ([ROWS[0], ROWS[0] | {"attempt": 2, "state": "COMPLETED"}], 2, ""),
        ([ROWS[0] | {"state": "OUT_OF_MEMORY", "micro_batch_next": 8}], 2, ""),
    ],
)
def test_the_sentence_on_what_failed(rows: list[dict[str, Any]], asked: int | None, said: str) -> None:
    assert sentence(failures(table_of("trials", rows), asked)) == said


def test_a_long_error_keeps_its_place() -> None:
    long = failures(table_of("trials", [ROWS[0] | {"error": "E: " + "word " * 200 + "(my_models.py:39)"}]), 1)
    assert len(sentence(long)) < 300
    assert sentence(long).endswith("... (my_models.py:39)")
