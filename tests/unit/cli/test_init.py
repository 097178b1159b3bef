"""`batchscope init`: a first study that is read, planned and run as written, and overwrites nothing."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.articles import iris
from cluster.cli import init, plan
from cluster.plan.first_study import LENGTHS, batch_sizes, lengths
from cluster.prepare import prepare
from cluster.study.spec import load, parse
from tests.conftest import write_prepared
from tests.unit.test_readme import ROOT, _keys
from trainer.errors import InputError


def invoked(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prepared data, in which commands are called."""
    monkeypatch.chdir(tmp_path)
    write_prepared(tmp_path / "my tickets", train=640, held_out=80)
    return tmp_path


@pytest.mark.slow
def test_it_passes_plan_and_takes_three_minutes_by_it(folder: Path) -> None:
    result = invoked(init.command, "my tickets", "--no-calibration")
    assert result.exception is None, result
    spec = load(folder / "study.yaml")
    assert (spec.study, spec.data, spec.axes.global_batch) == ("my-tickets", "my tickets", (4, 8, 16, 32, 64))
    planned = invoked(plan.command, "study.yaml", "--no-calibration", "--format", "json")
    found = json.loads(planned.stdout)
    assert 60 < found["expected"]["seconds"] <= 200
    text = (folder / "study.yaml").read_text()
    trials = found["expected"]["trials"]
    for shown in (text, result.stdout):
        assert f"{trials} trainings, about " in shown
        for command in ("plan study.yaml", "run study.yaml", "report my-tickets -o my-tickets.html"):
            assert f"    batchscope {command}" in shown
        # Five rates of five batch sizes on one seed, then 5 to 14 seeds of each.
        assert "`batchscope next` then writes the study that decides: 50 to 95 trainings, " in shown
    assert max(map(len, text.splitlines())) <= 120
    again = invoked(init.command, "my tickets", "--no-calibration")
    assert isinstance(again.exception, InputError)
    assert "study.yaml exists and is not overwritten" in str(again.exception)
    assert (folder / "study.yaml").read_text() == text


def test_its_keys_are_explained_and_what_it_proposes_for_a_verdict_is_a_study(folder: Path) -> None:
    assert invoked(init.command, "my tickets", "--no-calibration", "-o", "a b.yaml", "--study", "x").exception is None
    text = (folder / "a b.yaml").read_text()
    assert "batchscope run 'a b.yaml'" in text
    explained = set(re.findall(r"`([\w.]+)`", (ROOT / "cluster" / "study" / "README.md").read_text()))
    spec = load(folder / "a b.yaml")
    written = {key for key in _keys(type(spec)) if re.search(rf"\b{key.rpartition('.')[2]}:", text)}
    assert {"study", "data", "axes.global_batch", "axes.seeds", "budget", "margin.validation_loss"} <= written
    assert written <= explained
    proposed = text
    for key in ("learning_rate", "seeds"):
        [line] = re.findall(rf"^# (  {key}: .*)$", text, re.MULTILINE)
        proposed = re.sub(rf"^  {key}: .*$", lambda _, line=line: line, proposed, flags=re.MULTILINE)
    proposed = re.sub(r"^# ((?:protocol|margin|target): )", r"\1", proposed, flags=re.MULTILINE)
    spec = parse(proposed, where="proposed")
    assert spec.protocol is not None
    assert (spec.margin.validation_loss, spec.target, len(spec.axes.seeds)) == (0.05, "auto", 14)


@pytest.mark.parametrize(
    ("rows", "count", "expected"),
    [
        (1_000_000, 5, [16, 32, 64, 128, 256]),
        (1_000_000, 3, [16, 64, 256]),
        (150, 5, [1, 2, 4, 8, 16]),
        (51, 5, [1, 2, 4]),
        (51, 3, [1, 2, 4]),
        (1, 5, [1]),
    ],
)
def test_the_batch_sizes_are_those_that_the_data_allow(rows: int, count: int, expected: list[int]) -> None:
    assert batch_sizes(rows, count) == expected


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--study", "a b"], 'the first study: study is "a b": give a name'),
        (["--factory", "build"], "a module and a function in it"),
        (["-o", "missing/study.yaml"], "cannot write missing/study.yaml"),
    ],
)
def test_what_it_cannot_write_is_said(folder: Path, arguments: list[str], problem: str) -> None:
    result = invoked(init.command, "my tickets", "--no-calibration", *arguments)
    assert isinstance(result.exception, InputError), result
    assert problem in str(result.exception)
    assert [path.name for path in folder.iterdir()] == ["my tickets"]


@pytest.mark.slow
def test_vectors_need_a_model_of_ones_own(folder: Path) -> None:
    iris.write(folder / "iris.jsonl")
    prepare([str(folder / "iris.jsonl")], "iris", features="numbers", label="kind")
    refused = invoked(init.command, "iris", "--no-calibration")
    assert isinstance(refused.exception, InputError)
    assert "iris has vectors of 4 numbers" in str(refused.exception)
    made = invoked(init.command, "iris", "--no-calibration", "--factory", "cluster.articles.iris:build")
    assert made.exception is None, made
    text = (folder / "study.yaml").read_text()
    assert re.search(r"^model: {factory: 'cluster.articles.iris:build'} +# your own$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("rows", "sizes", "least"), [(16_000, 3, 1.0), (1_000_000, 5, 0.02), (640, 5, 5.0), (8, 5, 8.0)]
)
def test_each_batch_size_makes_updates_enough_however_busy_the_machine_is(rows: int, sizes: int, least: float) -> None:
    assert lengths(rows, sizes)[0] == least
    assert lengths(rows, sizes)[-1] == LENGTHS[-1]
