"""`batchscope next`: a file that is read as the study that follows, or a sentence on why there is none."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.cli import next as next_module
from cluster.cli import plan
from cluster.study.spec import load
from tests.conftest import write_prepared
from tests.support.simulated import World, spec_of, study
from tests.support.stored import changed, store
from trainer.errors import InputError


def invoked(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_study_after_a_grid_is_written_with_what_it_takes_and_passes_plan(folder: Path) -> None:
    manifest = write_prepared(folder / "data", train=160, held_out=20)
    axes = {"global_batch": [16, 64], "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt"}, "seeds": 3}
    spec = spec_of(
        axes=axes, budget={"epochs": 8}, protocol=None, margin=None, data=str(folder / "data"), summary="elsewhere"
    )
    studies, *others = study(spec, World())
    store(folder / "summary", (changed(studies, data_hash=manifest.data_hash, train_rows=160), *others))
    result = invoked(next_module.command, "simulated", "-o", "n.yaml")
    assert result.exception is None, result
    text, found = (folder / "n.yaml").read_text(), load(folder / "n.yaml")
    assert (found.study, found.summary, len(found.axes.seeds)) == ("simulated-next", "./summary", 14)
    # The screen of five rates, and five to fourteen seeds of both batch sizes.
    for shown in (text, result.stdout):
        assert "20 to 38 trainings; about " in shown
        assert "batchscope run n.yaml" in shown
    assert max(map(len, text.splitlines())) <= 120
    assert "# FILL IN the largest difference" in text
    planned = invoked(plan.command, "n.yaml", "--no-calibration", "--format", "json")
    assert planned.exception is None, planned
    assert json.loads(planned.stdout)["study"] == "simulated-next"
    # With less time than any takes, the two sizes stay.
    hurried = invoked(next_module.command, "simulated", "-o", "hurried.yaml", "--minutes", "0.1")
    assert hurried.exception is None, hurried
    assert load(folder / "hurried.yaml").axes == found.axes
    again = invoked(next_module.command, "simulated", "-o", "n.yaml")
    assert isinstance(again.exception, InputError)
    assert "n.yaml exists and is not overwritten" in str(again.exception)


def test_an_undecided_comparison_is_written_and_a_decided_study_says_so(folder: Path) -> None:
    axes = {**spec_of().axes.model_dump(mode="json"), "global_batch": [16, 64]}
    short = {"axes": axes, "budget": {"epochs": 8}}
    store(folder / "summary", study(spec_of(**short), World(run_deviation=0.08)))
    assert invoked(next_module.command, "simulated").exception is None
    text = (folder / "next.yaml").read_text()
    assert "# What simulated left undecided: B = " in text
    assert "fresh seeds decide it with a chance of 80 %" in text
    assert " usd by what those of simulated took" in text
    assert load("next.yaml").protocol.looks == "none"
    store(folder / "decided", study(spec_of(**short), World(run_deviation=0.001)))
    result = invoked(next_module.command, "simulated", "--summary", "decided", "-o", "other.yaml")
    assert (result.exception, result.stdout) == (
        None,
        "nothing is undecided in simulated: every batch size that could be judged is decided\n",
    )
    assert not (folder / "other.yaml").exists()


def test_a_study_that_has_not_ended_or_is_not_there_is_refused(folder: Path) -> None:
    studies, trials, evaluations = study(spec_of(protocol=None, budget={"epochs": 2}), World())
    store(folder / "summary", (changed(studies, trials=trials.num_rows + 1), trials, evaluations))
    for name, words in (("simulated", "simulated has not ended"), ("simulate", "did you mean 'simulated'?")):
        result = invoked(next_module.command, name)
        assert isinstance(result.exception, InputError), result
        assert words in str(result.exception)
    assert not (folder / "next.yaml").exists()
