"""`batchscope plan`: nothing is started or written, its JSON is stable, and what cannot fit is refused as by `run`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cluster.cli import plan, run
from cluster.drive.opening import Declaration
from cluster.study.capacity import this_machine
from cluster.study.experiment import of_trial
from cluster.study.preflight import examine
from cluster.study.spec import load
from cluster.summary.store import Summary
from tests.conftest import write_prepared
from tests.unit.test_architecture import imported_by
from trainer.errors import InputError
from trainer.order.plan import total_updates
from trainer.report import State
from trainer.trial import TrialSpec

Write = Callable[..., str]
NOW = datetime.now(UTC)


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
        *("schema_version", "study", "source", "why_guessed", "busy", "finished"),
        *("lanes", "workers", "threads_per_worker"),
        *("cpus", "gpus", "machines", "expected", "low", "high", "phases", "measured_on", "points"),
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


@pytest.mark.slow
def test_a_plan_needs_neither_ray_nor_tensorflow_before_it_calibrates(study: Write) -> None:
    code = f"from cluster.cli import plan; plan.command(['--no-calibration', {study()!r}], standalone_mode=False)"
    assert not {"ray", "tensorflow", "keras"} & imported_by(code)


def test_a_calibration_that_fails_leaves_a_guess_that_says_why(study: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.measure import calibration
    from cluster.measure.processes import FailedError

    def fails(*_: Any, **__: Any) -> None:
        raise FailedError(State.FAILED, "a worker's process was ended")

    monkeypatch.setattr(calibration, "calibrate", fails)
    found = as_json(study())
    assert found["source"] == "guess"
    assert found["why_guessed"] == "the calibration failed (a worker's process was ended)"


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
        ({"resources": {"memory_gib": 0.3}}, "needs about 0.8 GiB (a guess), but resources.memory_gib is 0.3"),
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


def test_the_last_probe_of_the_same_layout_is_taken(study: Write, tmp_path: Path) -> None:
    from cluster.study import identity
    from cluster.study.capacity import this_machine
    from cluster.study.preflight import examine
    from cluster.study.spec import load

    one = examine(load(study()), this_machine(with_gpus=False))
    common = {
        "study": "tiny",
        "spec_hash": identity.spec_hash(one.spec),
        "data_hash": one.manifest.data_hash,
        "state": "COMPLETED",
        "optimizer": "adam",
        "dtype": "float32",
        "lanes": 1,
        "workers": 1,
        "threads": 1,
    }
    speed = {"kind": "throughput", "with_reading": 1, "seconds_starting": 4.0, "seconds_tracing": 6.0}
    held = {"kind": "memory", "fit_base_bytes": 5e8, "fit_bytes_per_place": 1e4, "micro_batch": 8, "length": 16}

    def probe(day: int, factor: float, lanes: int) -> None:
        rows = [
            speed
            | {"global_batch": batch, "seconds_per_update": factor * batch, "lanes": lanes}
            | {"seconds_per_update_low": 0.8 * factor * batch, "seconds_per_update_high": 1.5 * factor * batch}
            for batch in (4, 17, 51)
        ]
        at = {"probed_at": datetime(2026, 1, day, tzinfo=UTC)}
        Summary(str(tmp_path / "summary")).write_probe([common | row | at for row in (*rows, held)])

    probe(1, 9.0, 1)
    probe(2, 0.01, 1)
    found = as_json(study())
    assert found["source"] == "probe"
    assert [point["seconds_training"] for point in found["points"]] == pytest.approx([26 * 0.04, 6 * 0.17, 2 * 0.51])
    assert found["points"][0]["seconds_high"] == pytest.approx(1.5 * found["points"][0]["seconds"])
    assert found["points"][0]["memory_bytes"] == pytest.approx(5e8 + 1e4 * 8 * 16, rel=0.1)
    # Of two lanes at once: not how it would run now.
    probe(3, 0.01, 2)
    assert as_json(study(), "--no-calibration")["source"] == "guess"


def test_a_growing_cluster_is_the_head_and_as_many_workers_as_the_lanes_need(monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster import prices
    from cluster.plan import bill
    from cluster.study.capacity import Capacity
    from cluster.study.placement import Placement
    from cluster.study.resources import Resources

    cost = {"t3.large": 0.1, "g5.xlarge": 1.0}
    monkeypatch.setattr(prices, "hourly", lambda name, **_: prices.Price(cost.get(name), "pinned table", "2026-11"))
    types = {
        "head": {"resources": {"CPU": 0}, "node_config": {"InstanceType": "t3.large"}},
        "worker": {"resources": {"CPU": 4, "GPU": 1}, "node_config": {"InstanceType": "g5.xlarge"}},
    }
    fleet = {"head_node_type": "head", "available_node_types": types, "provider": {"region": "eu-west-1", "spot": True}}
    capacity = Capacity(cpus=16, gpus=4, where="the cluster", grows=True, fleet=fleet)
    placed = Placement(lanes=5, workers=1, cpus=5, gpus=2.5, threads_per_worker=1, note=None)
    found = bill.machines(capacity, placed, Resources(gpus_per_worker=0.5))
    assert [(one.instance.instance_type, one.instance.market, one.count) for one in found] == [
        ("t3.large", "on-demand", 1),
        ("g5.xlarge", "spot", 3),
    ]
    assert bill.usd(found, seconds=3600) == pytest.approx(3.1)
    cost.pop("t3.large")
    assert bill.usd(bill.machines(capacity, placed, Resources(gpus_per_worker=0.5)), seconds=3600) is None
    joined = Capacity(cpus=4, gpus=0, where="the cluster")
    assert bill.machines(joined, placed, Resources()) == []


def test_cards_on_several_machines_are_not_calibrated(study: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.study import capacity

    there = capacity.Capacity(cpus=8, gpus=2, where="the cluster")
    monkeypatch.setattr(capacity, "of_cluster", lambda address: there)
    found = as_json(study(resources={"gpus_per_worker": 1, "workers": 2}), "--address", "head:6379")
    assert found["source"] == "guess"
    assert "its cards on several machines" in found["why_guessed"]
    assert (found["lanes"], found["gpus"], found["machines"], found["expected"]["usd"]) == (1, 2.0, [], None)


@pytest.mark.parametrize(
    ("given", "each", "workers", "lanes"),
    [(None, 0, 1, 8), (None, 0, 2, 4), ("0", 1, 1, 1), ("0", 0.25, 1, 4), ("0,1", 0.5, 2, 2), ("0,1,2,3", 1, 1, 4)],
)
def test_a_machine_holds_the_lanes_for_which_it_has_cores_and_cards(
    given: str | None, each: float, workers: int, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster.measure.calibration import lanes_here
    from cluster.study.resources import Resources

    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    spec = SimpleNamespace(resources=Resources(gpus_per_worker=each))
    study: Any = SimpleNamespace(spec=spec, placed=SimpleNamespace(lanes=99))
    assert lanes_here(study, workers) == lanes


def test_a_narrow_terminal_has_whole_lines(study: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"global_batch": [17, "full"], "learning_rate": 0.01, "seeds": 1, "optimizer": ["adam", "sgd"]}
    resources = {"lanes": 1, "workers": 2, "cpus_per_worker": 0.5, "memory_gib": 2}
    for width in (60, 80, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        text = planned(study(axes=axes, resources=resources), "--no-calibration").stdout
        assert max(map(len, text.splitlines())) <= max(width, 80)
        assert "(26) + (25)" in text
        assert ("in a wider terminal" in text) == (width < 140)
    assert "within resources.memory_gib 2 the largest micro-batch has 51 rows of 8 tokens" in text


@pytest.mark.tf
def test_a_calibration_measures_and_writes_nothing(study: Write, tmp_path: Path) -> None:
    found = as_json(study())
    assert (found["source"], found["why_guessed"]) == ("calibration", None)
    assert 0.3 * 2**30 < found["points"][0]["memory_bytes"] < 3 * 2**30
    assert found["low"]["seconds"] < found["expected"]["seconds"] < found["high"]["seconds"]
    assert not (tmp_path / "summary").exists()


@pytest.mark.parametrize(
    ("gpus", "workers", "address", "said"),
    [
        (0.0, 1, None, None),
        (1.0, 1, None, "no GPU to calibrate on"),
        (1.0, 1, "auto", None),
        (1.0, 2, "auto", "several machines"),
        (0.0, 2, "auto", None),
    ],
)
def test_what_one_machine_cannot_stand_in_for_is_said(
    gpus: float, workers: int, address: str | None, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster.plan import basis
    from cluster.study.capacity import Capacity

    monkeypatch.setattr(basis, "this_machine", lambda *, with_gpus: Capacity(cpus=2.0, gpus=0.0))
    spec = SimpleNamespace(resources=SimpleNamespace(gpus_per_worker=gpus))
    study: Any = SimpleNamespace(spec=spec, workers={8: workers})
    why = basis._not_calibrated(study, address)
    assert why is None if said is None else said in (why or "")


def write_rows(path: str, *, trials: Callable[[TrialSpec], bool], **changed: Any) -> None:
    """A row for each of the study's trials that `trials` chooses, as of a run here; an update took 0.1 seconds."""
    spec = load(path)
    study = examine(spec, this_machine(with_gpus=False))
    summary = Summary(spec.summary)
    Declaration(summary=summary, study=study, declared_at=NOW).declare(study.plan({}))
    for trial in filter(trials, study.trials):
        updates = total_updates(trial.budget, global_batch=trial.global_batch, rows=51)
        assert updates is not None
        axes = {name: getattr(trial, name) for name in ("global_batch", "learning_rate", "optimizer", "dtype", "seed")}
        measured = {"seconds_training": 0.1 * updates, "seconds_evaluating": 2.0, "peak_memory_bytes": 3 * 2**30}
        layout = {"workers": 1, "micro_batch": study.micro_batches[trial.global_batch], "node_type": "local"}
        ended = {"state": "COMPLETED", "best_validation_loss": 1.0, "updates": updates, "phase": "grid"}
        known = {"data_hash": trial.data_hash, "spec_hash": study.spec_hash, "started_at": NOW, "ended_at": NOW}
        row = {"study": "tiny", "trial_id": trial.trial_id, "attempt": 1, **axes, **of_trial(trial), **known}
        summary.write_trial({**row, **layout, **measured, **ended, **changed})


def test_what_is_finished_is_not_planned_again_and_its_seconds_count(study: Write) -> None:
    path = study()
    before = as_json(path, "--no-calibration")
    assert (before["source"], before["finished"], before["expected"]["trials"]) == ("guess", 0, 18)
    write_rows(path, trials=lambda trial: trial.seed == 0)
    found = as_json(path)
    assert (found["source"], found["finished"], found["expected"]["trials"]) == ("trials", 6, 12)
    for point in found["points"]:
        assert point["trials"] == 4
        assert point["seconds_training"] == pytest.approx(0.1 * point["updates"])
        assert point["seconds_evaluating"] == pytest.approx(2.0)
        assert point["memory_bytes"] == pytest.approx(3 * 2**30)
    text = text_of(path)
    assert "plan of study tiny: 6 trials finished, 12 left;" in text
    assert "measured on the study's own trials" in text


def test_a_study_after_another_of_the_same_data_and_model_is_planned_by_its_trials(study: Write) -> None:
    write_rows(study(), trials=lambda trial: trial.seed == 0)
    after = study(study="after")
    found = as_json(after, "--no-calibration")
    assert (found["source"], found["finished"], found["expected"]["trials"]) == ("trials", 0, 18)
    assert all(point["seconds_training"] == pytest.approx(0.1 * point["updates"]) for point in found["points"])
    assert "measured on the trials of tiny" in text_of(after)
    other = study(study="other", model={"embedding_units": 6, "lstm_units": 50})
    assert as_json(other, "--no-calibration")["source"] == "guess"


@pytest.mark.parametrize("changed", [{"workers": 2}, {"node_type": "g5.xlarge"}, {"budget": "9 epochs"}])
def test_what_ran_otherwise_tells_no_seconds(study: Write, changed: dict[str, Any]) -> None:
    path = study()
    write_rows(path, trials=lambda trial: trial.seed == 0, **changed)
    assert as_json(path, "--no-calibration")["source"] == "guess"


def test_a_protocol_without_a_margin_is_told_before_the_bill(study: Write) -> None:
    rates = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}
    axes = {"global_batch": [8, 17], "learning_rate": rates, "seeds": 5}
    assert "hint: without a margin" in " ".join(
        planned(study(axes=axes, protocol={}), "--no-calibration").stdout.split()
    )
    declared = study(axes=axes, protocol={}, margin={"validation_loss": 0.1})
    assert "without a margin" not in planned(declared, "--no-calibration").stdout


def test_one_trial_in_ten_beside_other_work_does_not_make_the_range(study: Write) -> None:
    length: dict[str, Any] = {"budget": {"updates": 40}, "evaluate_every": {"updates": 10}}
    axes = {"global_batch": [17], "learning_rate": 0.01, "seeds": 20}
    path = study(**length, axes=axes)
    write_rows(path, trials=lambda trial: trial.seed in range(9), updates=40, seconds_training=4.0)
    write_rows(path, trials=lambda trial: trial.seed == 9, updates=40, seconds_training=80.0)
    [point] = as_json(path)["points"]
    assert point["seconds_high"] < 2 * point["seconds"]
    write_rows(path, trials=lambda trial: trial.seed == 10, updates=40, seconds_training=80.0)
    [point] = as_json(path)["points"]
    assert point["seconds_high"] > 5 * point["seconds"]


def test_what_ended_early_is_counted_whole_and_another_model_not_at_all(study: Write) -> None:
    length: dict[str, Any] = {"budget": {"updates": 40}, "evaluate_every": {"updates": 10}}
    path = study(**length)
    write_rows(path, trials=lambda trial: trial.seed == 0, updates=20, seconds_training=2.0, seconds_evaluating=1.0)
    for point in as_json(path)["points"]:
        assert point["seconds_training"] == pytest.approx(4.0)
        assert point["seconds_evaluating"] == pytest.approx(2.0)
    larger = study(
        budget={"updates": 40}, evaluate_every={"updates": 10}, model={"embedding_units": 6, "lstm_units": 50}
    )
    assert as_json(larger, "--no-calibration")["source"] == "guess"


def test_under_a_memory_limit_its_trials_tell_no_seconds(study: Write) -> None:
    path = study(resources={"lanes": 1, "memory_gib": 8})
    write_rows(path, trials=lambda trial: trial.seed == 0)
    found = as_json(path, "--no-calibration")
    assert (found["source"], found["finished"]) == ("guess", 6)


def test_a_finished_study_is_told_at_once(study: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.plan.basis._calibration", lambda *_: pytest.fail("there is nothing to calibrate for"))
    path = study()
    write_rows(path, trials=lambda _: True, workers=2)
    # Its seconds are of another layout, and still nothing is calibrated.
    assert planned(path).stdout == "study tiny is finished: 18 trials, nothing is left\n"
    assert as_json(path)["expected"]["trials"] == 0
