"""`batchscope plan`: nothing is started or written, its JSON is stable, and what cannot fit is refused as by `run`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cluster.cli import plan, run
from tests.conftest import write_prepared
from tests.unit.test_architecture import imported_by
from trainer.errors import InputError

Write = Callable[..., str]


@pytest.fixture
def study(tmp_path: Path) -> Write:
    """Writes a study of the tiny data set; keywords change its keys."""
    write_prepared(tmp_path / "data")

    def write(**changes: Any) -> str:
        spec = {
            "study": "tiny",
            "data": str(tmp_path / "data"),
            "summary": str(tmp_path / "summary"),
            "task": "classification",
            "model": {"embedding_units": 6, "lstm_units": 5},
            "axes": {"global_batch": [4, 17, "full"], "learning_rate": [0.01, 0.02], "seeds": 3},
            "budget": {"epochs": 2},
            "resources": {"lanes": 1},
            **changes,
        }
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(spec))
        return str(tmp_path / "study.yaml")

    return write


def planned(*arguments: str) -> Result:
    return CliRunner().invoke(plan.command, arguments, standalone_mode=False)


def text_of(path: str) -> str:
    """The text without its line breaks."""
    return " ".join(planned(path, "--no-calibration").stdout.split())


def as_json(*arguments: str) -> dict[str, Any]:
    result = planned(*arguments, "--format", "json")
    assert result.exception is None, result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refusal(command: Any, *arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert isinstance(result.exception, InputError), result
    assert result.stdout == ""
    assert result.exception.exit_code == 2
    return str(result.exception)


def test_a_guess_says_so_on_every_kind_of_output_and_writes_nothing(study: Write, tmp_path: Path) -> None:
    text = text_of(study())
    assert "18 trials" in text
    assert "GUESSES" in text
    assert "in all: " in text
    assert "no price: not on EC2" in text
    assert "hint: few worker counts divide 17; many divide 12 " in text
    found = as_json(study(), "--no-calibration")
    assert (found["schema_version"], found["source"]) == (1, "guess")
    assert not (tmp_path / "summary").exists()


def test_the_json_has_its_keys(study: Write) -> None:
    found = as_json(study(resources={"lanes": 1, "workers": {1: 1, 17: 2}, "cpus_per_worker": 0.5}), "--no-calibration")
    assert list(found) == [
        *("schema_version", "study", "source", "why_guessed", "busy", "lanes", "workers", "threads_per_worker"),
        *("cpus", "gpus", "machines", "expected", "low", "high", "phases", "points"),
    ]
    for outlook in ("expected", "low", "high"):
        assert list(found[outlook]) == [
            *("seconds", "minutes", "usd", "trials", "seconds_starting", "seconds_ending", "lane_seconds"),
            "seconds_compiling",
        ]
    assert [point["global_batch"] for point in found["points"]] == [4, 17, 51]
    assert list(found["points"][0]) == [
        *("global_batch", "optimizer", "dtype", "trials", "workers", "micro_batch", "split", "updates", "epochs"),
        *("evaluations", "memory_bytes", "seconds_training", "seconds_evaluating", "seconds", "seconds_low"),
        *("seconds_high", "evenly_shared_sizes"),
    ]
    assert [point["split"] for point in found["points"]] == [[[4]], [[8], [9]], [[25], [26]]]
    assert [point["updates"] for point in found["points"]] == [26, 6, 2]
    assert sum(point["trials"] for point in found["points"]) == found["expected"]["trials"] == 18


def test_a_plan_needs_neither_ray_nor_tensorflow_before_it_calibrates(study: Write) -> None:
    code = f"from cluster.cli import plan; plan.command(['--no-calibration', {study()!r}], standalone_mode=False)"
    assert not {"ray", "tensorflow", "keras"} & imported_by(code)


def test_a_price_is_for_the_whole_machine_from_start_to_end(study: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster import prices

    monkeypatch.setattr(prices, "this_instance", lambda: prices.Instance("g5.xlarge", "on-demand", "eu-west-1"))
    monkeypatch.setattr(prices, "hourly", lambda *_, **__: prices.Price(3.6, "pinned table", "2026-11"))
    found = as_json(study(), "--no-calibration")
    assert found["expected"]["usd"] == pytest.approx(found["expected"]["seconds"] * 0.001)
    assert found["low"]["usd"] < found["expected"]["usd"] < found["high"]["usd"]
    assert "1 x g5.xlarge on-demand at 3.6 usd an hour (pinned table 2026-11)" in text_of(study())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resources": {"memory_gib": 0.3}}, "needs about 0.7 GiB (a guess), resources.memory_gib is 0.3"),
        (
            {"resources": {"memory_gib": 1, "micro_batch": 50}, "model": {"lstm_units": 20_000}},
            "resources.memory_gib is 1: set model.lstm_units: ",
        ),
        ({"resources": {"workers": 100_000}}, "a lane of 100000 workers needs 100000 CPUs"),
    ],
)
def test_what_cannot_fit_is_refused_by_run_in_the_same_words(
    study: Write, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    said = refusal(plan.command, study(**changes), "--no-calibration")
    assert words in said
    assert refusal(run.command, study(**changes)) == said
    assert not (tmp_path / "summary").exists()


def test_the_largest_micro_batch_that_fits_is_named_and_fits(study: Write, tmp_path: Path) -> None:
    write_prepared(tmp_path / "data", train=2000, longest=200)
    axes = {"global_batch": [1500], "learning_rate": 0.01, "seeds": 1}
    model = {"embedding_units": 64, "lstm_units": 256}

    def resources(micro_batch: int) -> dict[str, Any]:
        return {"memory_gib": 2, "micro_batch": micro_batch}

    said = refusal(plan.command, study(axes=axes, model=model, resources=resources(1500)), "--no-calibration")
    most = int(said.partition("set resources.micro_batch: ")[2].split()[0])
    assert 1 <= most < 1500
    found = as_json(study(axes=axes, model=model, resources=resources(most)), "--no-calibration")
    assert found["points"][0]["micro_batch"] == most


@pytest.mark.tf
def test_a_calibration_measures_and_writes_nothing(study: Write, tmp_path: Path) -> None:
    found = as_json(study())
    assert (found["source"], found["why_guessed"]) == ("calibration", None)
    assert 0.3 * 2**30 < found["points"][0]["memory_bytes"] < 3 * 2**30
    assert found["low"]["seconds"] < found["expected"]["seconds"] < found["high"]["seconds"]
    assert not (tmp_path / "summary").exists()
