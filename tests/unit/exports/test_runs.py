"""`batchscope export --to`: MLflow and TensorBoard hold what the query says, and a second time doubles nothing."""

import math
import re
import shutil
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.cli.export import command
from cluster.exports import runs
from cluster.exports.runs import CURVE, FIGURES, QUALITY
from cluster.summary import query
from cluster.summary.store import Summary
from tests.support import simulated
from tests.support.stored import store
from trainer.errors import InputError, NotReadyError

BEGAN = datetime(2026, 5, 1, 8, 0, 0, 250000, tzinfo=UTC)
PARAMS = (
    *("global_batch", "learning_rate", "optimizer", "dtype", "seed", "budget", "evaluate_every"),
    *("workers", "micro_batch", "device"),
)
AXES = {"global_batch": 32, "learning_rate": 0.1 + 0.2, "optimizer": "sgd", "dtype": "float64", "seed": 7}
STATUS = {"COMPLETED": "FINISHED", "DIVERGED": "FAILED", "CANCELLED": "KILLED", "RUNNING": "RUNNING"}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Fourteen trials, all of them ended; those of one batch size diverged at once."""
    rates = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}
    spec = simulated.spec_of(axes={"global_batch": [64, 256, 512], "learning_rate": rates, "seeds": 2})
    world = simulated.World(diverging=frozenset({512}))
    return store(tmp_path_factory.mktemp("summary"), simulated.study(spec, world))


@pytest.fixture
def running(tmp_path: Path) -> Summary:
    """A study with one trial, whose first attempt was cancelled after three evaluations."""
    summary = Summary(str(tmp_path / "summary"))
    summary.write_study({"study": "live", "spec_hash": "a", "started_at": BEGAN, "trials": 1})
    begin(summary, 1)
    evaluate(summary, 1, [10, 20, 30])
    end(summary, 1, "CANCELLED", seconds_starting=2.0, seconds_training=3.5)
    return summary


def begin(summary: Summary, attempt: int) -> None:
    started_at = BEGAN + timedelta(hours=attempt)
    summary.attempt_started("live", "t1", attempt, {**AXES, "started_at": started_at, "workers": attempt})


def evaluate(summary: Summary, attempt: int, updates: list[int], part: int = 0) -> None:
    rows = [
        {"update": update, "examples": update * 32, "seconds": update / 10, "validation_loss": 1 / update + attempt}
        for update in updates
    ]
    identity = {"study": "live", "trial_id": "t1", "attempt": attempt}
    summary.write_evaluations([{**identity, **row} for row in rows], part=part)


def end(summary: Summary, attempt: int, state: str, **columns: Any) -> None:
    started_at = BEGAN + timedelta(hours=attempt)
    row = {"study": "live", "trial_id": "t1", "attempt": attempt, "state": state, "workers": attempt, **AXES}
    times = {"started_at": started_at, "ended_at": started_at + timedelta(minutes=9)}
    summary.write_trial({**row, **times, **columns})


def export(summary: Summary, study: str, to: str) -> Result:
    return CliRunner().invoke(command, [study, "--to", to, "--summary", summary.uri], standalone_mode=False)


def counted(result: Result) -> str:
    assert result.exception is None, result.exception
    return result.stdout.rsplit(": ", 1)[1].strip()


# MLflow


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "mlruns")


def client(folder: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=folder)


def mlflow_runs(folder: str, study: str) -> dict[str, Any]:
    """MLflow's runs of an experiment by their trial_id, each trial's only one."""
    mlflow = client(folder)
    found = mlflow.search_runs([mlflow.get_experiment_by_name(study).experiment_id])
    by_trial = {run.data.tags["trial_id"]: run for run in found}
    assert len(by_trial) == len(found)
    return by_trial


def history(folder: str, run: Any) -> dict[tuple[str, int], float]:
    """Every value that MLflow has of a run's metrics, by name and step; none is there twice."""
    points = [
        (name, one) for name in run.data.metrics for one in client(folder).get_metric_history(run.info.run_id, name)
    ]
    found = {(name, one.step): one.value for name, one in points}
    assert len(found) == len(points)
    return found


def wanted_metrics(curve: list[dict[str, Any]], row: dict[str, Any] | None) -> dict[tuple[str, int], float]:
    points = {(name, one["update"]): one[name] for one in curve for name in CURVE if one[name] is not None}
    figures = {(name, row["updates"]): row[name] for name in FIGURES if row[name] is not None} if row else {}
    return {**points, **figures}


@pytest.mark.slow
def test_mlflow_has_a_run_for_each_trial_with_its_numbers(ended: Summary, folder: str) -> None:
    done = export(ended, "simulated", f"mlflow:{folder}")
    rows = query.latest(query.trials(ended, "simulated")).to_pylist()
    assert counted(done) == f"{len(rows)} new, 0 changed, 0 unchanged"
    assert "MLFLOW_ALLOW_FILE_STORE" in done.stderr
    curves = query.curves(query.evaluations(ended, "simulated")).to_pylist()
    found = mlflow_runs(folder, "simulated")
    assert set(found) == {row["trial_id"] for row in rows}
    for row in rows:
        run = found[row["trial_id"]]
        curve = [one for one in curves if one["trial_id"] == row["trial_id"]]
        assert history(folder, run) == wanted_metrics(curve, row)
        assert run.data.params == {name: str(row[name]) for name in PARAMS}
        assert float(run.data.params["learning_rate"]) == row["learning_rate"]
        assert run.info.status == STATUS[row["state"]]
        assert (run.data.tags["state"], run.data.tags["phase"]) == (row["state"], row["phase"])
        times = [round(row[name].timestamp() * 1000) for name in ("started_at", "ended_at")]
        assert [run.info.start_time, run.info.end_time] == times
    some = next(row for row in rows if row["global_batch"] == 64)
    assert found[some["trial_id"]].info.run_name == f"B=64 lr={some['learning_rate']:.6g} adam seed={some['seed']}"
    # Again, nothing is doubled.
    assert counted(export(ended, "simulated", f"mlflow:{folder}")) == f"0 new, 0 changed, {len(rows)} unchanged"
    assert {one.info.run_id for one in mlflow_runs(folder, "simulated").values()} == {
        one.info.run_id for one in found.values()
    }


@pytest.mark.slow
def test_mlflow_follows_a_trial_that_runs_and_is_resumed(running: Summary, folder: str) -> None:
    to = f"mlflow:{folder}"
    assert counted(export(running, "live", to)) == "1 new, 0 changed, 0 unchanged"
    first = mlflow_runs(folder, "live")["t1"]
    assert first.info.status == "KILLED"
    ((at,),) = (
        {one.timestamp for one in client(folder).get_metric_history(first.info.run_id, "examples") if one.step == 20},
    )
    # An hour after BEGAN it began, started for two seconds, and trained for two.
    assert at == round((BEGAN + timedelta(hours=1, seconds=4)).timestamp() * 1000)

    copy = Summary(shutil.copytree(running.uri, f"{running.uri}-copy"))
    begin(running, 2)
    assert counted(export(running, "live", to)) == "1 new, 0 changed, 0 unchanged"
    assert counted(export(copy, "live", to)) == "0 new, 0 changed, 1 unchanged"
    second = mlflow_runs(folder, "live")["t1"]
    assert (second.info.status, second.data.tags["state"], second.data.params["workers"]) == ("RUNNING", "RUNNING", "2")
    # It resumed somewhere before 30: what the first attempt did after that would have to be taken back.
    assert history(folder, second) == {}
    evaluate(running, 2, [20, 30])
    assert counted(export(running, "live", to)) == "0 new, 1 changed, 0 unchanged"
    assert counted(export(running, "live", to)) == "0 new, 0 changed, 1 unchanged"
    evaluate(running, 2, [40], part=1)
    end(running, 2, "COMPLETED", updates=40, best_validation_loss=2.0, data_hash="dd", spec_hash="ss")
    assert counted(export(running, "live", to)) == "0 new, 1 changed, 0 unchanged"
    run = mlflow_runs(folder, "live")["t1"]
    assert run.info.run_id == second.info.run_id
    assert run.info.status == "FINISHED"
    assert {name: run.data.tags[name] for name in ("attempt", "state", "data_hash", "spec_hash")} == {
        "attempt": "2",
        "state": "COMPLETED",
        "data_hash": "dd",
        "spec_hash": "ss",
    }
    (row,) = query.latest(query.trials(running, "live")).to_pylist()
    curve = query.curves(query.evaluations(running, "live")).to_pylist()
    assert history(folder, run) == wanted_metrics(curve, row)
    assert {name for name, _ in history(folder, run)} >= {"validation_loss", "best_validation_loss", "examples"}


@pytest.mark.slow
def test_an_export_that_was_broken_off_is_completed(
    ended: Summary, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    log_batch = MlflowClient.log_batch
    calls = []

    def breaks(self: Any, run_id: str, metrics: Any = (), **rest: Any) -> None:
        calls.append(run_id)
        if len(calls) == 7:
            # Half of the batch is there when the machine goes away.
            log_batch(self, run_id, metrics=metrics[:5])
            raise KeyboardInterrupt
        log_batch(self, run_id, metrics=metrics, **rest)

    with monkeypatch.context() as patch:
        patch.setattr("cluster.exports.mlflow.METRICS_PER_BATCH", 20)
        patch.setattr(MlflowClient, "log_batch", breaks)
        assert export(ended, "simulated", f"mlflow:{folder}").exception is not None
    assert re.fullmatch(r"\d+ new, 1 changed, \d unchanged", counted(export(ended, "simulated", f"mlflow:{folder}")))
    rows = query.latest(query.trials(ended, "simulated")).to_pylist()
    curves = query.curves(query.evaluations(ended, "simulated")).to_pylist()
    found = mlflow_runs(folder, "simulated")
    for row in rows:
        curve = [one for one in curves if one["trial_id"] == row["trial_id"]]
        assert history(folder, found[row["trial_id"]]) == wanted_metrics(curve, row)


def test_mlflow_that_is_not_there_is_one_line(
    running: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    # No port of this machine is as low and has a server.
    done = export(running, "live", "mlflow:http://me:secret@127.0.0.1:9")
    assert isinstance(done.exception, NotReadyError)
    assert str(done.exception).startswith("--to mlflow:http://127.0.0.1:9 does not work: ")
    assert "secret" not in str(done.exception)
    (tmp_path / "file").write_text("")
    for place, problem in ((f"{tmp_path}/file", "Not a directory|another place"), ("foo://x", "unsupported URI")):
        refused = export(running, "live", f"mlflow:{place}").exception
        assert isinstance(refused, InputError | NotReadyError)
        with pytest.raises(type(refused), match=problem):
            raise refused
        assert "\n" not in str(refused)
    absent = {"mlflow": r"pip install 'batchscope\[mlflow\]'", "sqlalchemy": "pip install mlflow, or"}
    for name, problem in absent.items():
        with monkeypatch.context() as patch:
            patch.setattr("importlib.util.find_spec", lambda asked, name=name: None if asked == name else object())
            refused = export(running, "live", "mlflow:sqlite:///x.db").exception
        with pytest.raises(InputError, match=problem):
            raise refused  # type: ignore[misc]


def test_an_experiment_that_mlflow_deleted_is_not_written(running: Summary, folder: str) -> None:
    export(running, "live", f"mlflow:{folder}")
    client(folder).delete_experiment(client(folder).get_experiment_by_name("live").experiment_id)
    with pytest.raises(InputError, match="was deleted: `mlflow experiments restore"):
        raise export(running, "live", f"mlflow:{folder}").exception  # type: ignore[misc]


# TensorBoard


def events(file: Path) -> Iterator[Any]:
    """The events of a file; its format is a length, its checksum, so many bytes, and theirs."""
    from tensorboardX.crc32c import crc32c
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    assert crc32c(b"123456789") == 0xE3069283
    content = file.read_bytes()
    while content:
        length, checksum = struct.unpack("<QI", content[:12])
        assert checksum == masked_crc32c(content[:8])
        record = content[12 : 12 + length]
        assert struct.unpack("<I", content[12 + length : 16 + length]) == (masked_crc32c(record),)
        yield Event.FromString(record)
        content = content[16 + length :]


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def scalars(file: Path) -> dict[tuple[str, int], float]:
    points = [
        ((value.tag, event.step), value.simple_value)
        for event in events(file)
        for value in event.summary.value
        if value.HasField("simple_value")
    ]
    assert len(dict(points)) == len(points)
    return dict(points)


def hparams(file: Path) -> dict[str, Any]:
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    values = [value for event in events(file) for value in event.summary.value if value.HasField("metadata")]
    assert {value.metadata.plugin_data.plugin_name for value in values} == {"hparams"}
    return {value.tag: HParamsPluginData.FromString(value.metadata.plugin_data.content) for value in values}


def single(values: dict[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    """As TensorBoard keeps them, in single precision."""
    return {key: struct.unpack("f", struct.pack("f", value))[0] for key, value in values.items()}


@pytest.mark.slow
def test_tensorboard_has_a_folder_for_each_trial_with_its_numbers(ended: Summary, tmp_path: Path) -> None:
    rows = query.latest(query.trials(ended, "simulated")).to_pylist()
    assert counted(export(ended, "simulated", f"tensorboard:{tmp_path}")) == f"{len(rows)} new, 0 changed, 0 unchanged"
    curves = query.curves(query.evaluations(ended, "simulated")).to_pylist()
    files = {}
    for row in rows:
        folder = f"B={row['global_batch']} lr={row['learning_rate']:.6g} adam seed={row['seed']}"
        file = files[row["trial_id"]] = only_file(tmp_path / "simulated" / folder)
        assert row["trial_id"] in file.name
        curve = [one for one in curves if one["trial_id"] == row["trial_id"]]
        wanted = {key: value for key, value in wanted_metrics(curve, row).items() if key[0] in (*CURVE, *QUALITY)}
        assert scalars(file) == single(wanted)
        times = {event.step: event.wall_time for event in events(file) if event.step}
        for one in curve[:-1]:
            assert times[one["update"]] == pytest.approx(row["started_at"].timestamp() + one["seconds"], abs=1e-5)
        table = hparams(file)
        start = table["_hparams_/session_start_info"].session_start_info
        values = {name: value.string_value or value.number_value for name, value in start.hparams.items()}
        assert values == {name: row[name] for name in PARAMS}
        assert table["_hparams_/session_end_info"].session_end_info.status == (1 if row["state"] == "COMPLETED" else 2)
        metrics = [info.name.tag for info in table["_hparams_/experiment"].experiment.metric_infos]
        assert metrics == list(QUALITY)
    assert len(set(files.values())) == len(rows)
    before = {file: file.stat().st_mtime_ns for file in files.values()}
    done = export(ended, "simulated", f"tensorboard:{tmp_path}")
    assert counted(done) == f"0 new, 0 changed, {len(rows)} unchanged"
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "simulated").glob("*/*")} == before


def test_tensorboard_follows_a_trial_that_runs(running: Summary, tmp_path: Path) -> None:
    folder, to = tmp_path / "logs" / "live" / "B=32 lr=0.3 sgd float64 seed=7", f"tensorboard:{tmp_path}/logs"
    assert counted(export(running, "live", to)) == "1 new, 0 changed, 0 unchanged"
    assert {step for _, step in scalars(only_file(folder))} == {10, 20, 30}
    (folder / "mine.txt").write_text("mine")
    begin(running, 2)
    evaluate(running, 2, [30, 40])
    assert counted(export(running, "live", to)) == "0 new, 1 changed, 0 unchanged"
    file, _ = sorted(folder.iterdir())
    assert file.name == "events.out.tfevents.0000000002.t1.batchscope"
    found = scalars(file)
    assert {step: value for (name, step), value in found.items() if name == "examples"} == {
        step: step * 32 for step in (10, 20, 30, 40)
    }
    assert found["validation_loss", 20] == pytest.approx(1 / 20 + 1)
    assert found["validation_loss", 30] == pytest.approx(1 / 30 + 2)
    assert "_hparams_/session_end_info" not in hparams(file)
    # A TensorBoard that read the file before forgets it here.
    assert [event.session_log.status for event in events(file) if event.HasField("session_log")] == [1]


def test_trials_that_differ_in_no_axis_have_folders_of_their_own(running: Summary, tmp_path: Path) -> None:
    export(running, "live", f"tensorboard:{tmp_path}/logs")
    row = {"study": "live", "trial_id": "a123456789", "attempt": 1, "state": "DIVERGED", **AXES}
    running.write_trial(row)
    assert counted(export(running, "live", f"tensorboard:{tmp_path}/logs")) == "1 new, 0 changed, 1 unchanged"
    name = "B=32 lr=0.3 sgd float64 seed=7"
    assert {path.name for path in (tmp_path / "logs" / "live").iterdir()} == {name, f"{name} a1234567"}
    assert counted(export(running, "live", f"tensorboard:{tmp_path}/logs")) == "0 new, 0 changed, 2 unchanged"


def test_a_folder_that_cannot_be_written_is_one_line(running: Summary, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file.*: Not a directory; choose another folder"):
        raise export(running, "live", f"tensorboard:{tmp_path}/file").exception  # type: ignore[misc]


def test_a_loss_that_is_not_finite_is_carried_as_it_is(running: Summary) -> None:
    row = {
        "study": "live",
        "trial_id": "a1",
        "attempt": 1,
        "state": "DIVERGED",
        **AXES,
        "final_training_loss": math.nan,
    }
    running.write_trial(row)
    diverged, _ = runs.read(running, "live")
    assert math.isnan(diverged.of(QUALITY)["final_training_loss"])
