"""`batchscope run` as people use it: a study to its end, again, interrupted, and with its workers killed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from cluster.study.seeds import SCREEN_SEEDS
from cluster.summary import query
from cluster.summary.store import Summary
from tests.conftest import hash_of, write_prepared

pytestmark = [pytest.mark.ray, pytest.mark.slow]
COMMAND = [str(Path(sys.executable).with_name("batchscope"))]


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study of the tiny data set; keywords change its keys."""
    write_prepared(tmp_path / "data")

    def write(**changes: Any) -> Path:
        spec = {
            "study": "tiny",
            "data": str(tmp_path / "data"),
            "summary": str(tmp_path / "summary"),
            "task": "classification",
            "model": {"embedding_units": 6, "lstm_units": 5, "dropout": 0.2},
            "axes": {"global_batch": [17, "full"], "learning_rate": 0.01, "seeds": 2},
            "budget": {"updates": 6},
            "evaluate_every": {"updates": 3},
            "resources": {"lanes": 1, "workers": 1},
            **changes,
        }
        file = tmp_path / "study.yaml"
        file.write_text(yaml.safe_dump(spec))
        return file

    return write


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("BATCHSCOPE_TEST", str(tmp_path))
    yield
    deadline = time.monotonic() + 30
    while left := _processes_of(str(tmp_path)):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def _processes_of(test: str) -> list[psutil.Process]:
    """The living processes that inherited the test's mark, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            marked = process.environ().get("BATCHSCOPE_TEST") == test
            if marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def run(file: Path, *, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a study to its end."""
    done = subprocess.run([*COMMAND, "run", str(file)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def rows(file: Path) -> list[dict[str, Any]]:
    """The attempts of the study, oldest first."""
    summary = Summary(yaml.safe_load(file.read_text())["summary"])
    return sorted(query.trials(summary, "tiny").to_pylist(), key=lambda row: (row["started_at"], row["attempt"]))


def curve(file: Path) -> list[tuple[str, int, float]]:
    """What each trial's evaluations say, whatever attempts it took."""
    summary = Summary(yaml.safe_load(file.read_text())["summary"])
    table = query.curves(query.evaluations(summary, "tiny"))
    return [(row["trial_id"], row["update"], row["validation_loss"]) for row in table.to_pylist()]


def test_a_study_runs_once_and_is_there_to_be_asked(study: Callable[..., Path]) -> None:
    file = study(resources={"lanes": 2, "workers": 1})
    first = run(file)
    assert first.stdout.startswith("global batch")
    assert "4 done, 0 running, 0 waiting" in first.stderr
    found = rows(file)
    assert [row["state"] for row in found] == ["COMPLETED"] * 4
    assert {row["global_batch"] for row in found} == {17, 51}
    for row in found:
        assert row["updates"] == 6
        assert row["examples"] == 6 * row["global_batch"]
        assert row["ended_at"] > row["started_at"]
        assert 0 < row["padding_fraction"] < 1
        assert row["best_validation_loss"] <= row["final_validation_loss"]
        assert row["test_loss"] > 0
        assert row["peak_memory_bytes"] > 10**8
    assert len(curve(file)) == 8
    uri = yaml.safe_load(file.read_text())["summary"]
    for table in ("trials", "evaluations"):
        assert [path.name for path in Path(uri, table, "study=tiny").iterdir()] == ["whole.000000001.parquet"]

    started = time.monotonic()
    again = run(file)
    assert time.monotonic() - started < 15
    assert "4 finished before" in again.stderr
    assert len(rows(file)) == 4
    assert again.stdout == first.stdout

    asked = subprocess.run(
        [*COMMAND, "results", "tiny", "--summary", uri, "--format", "json"], capture_output=True, text=True, check=True
    )
    assert json.loads(asked.stdout)["schema_version"] == 1


def test_two_workers_and_a_diverging_rate_after_which_the_study_goes_on(study: Callable[..., Path]) -> None:
    axes = {"global_batch": [17], "learning_rate": [1e38, 0.01], "seeds": 1}
    file = study(axes=axes, resources={"lanes": 1, "workers": 2, "cpus_per_worker": 0.5})
    run(file)
    by_rate = {row["learning_rate"]: row for row in rows(file)}
    assert by_rate[0.01]["state"] == "COMPLETED"
    assert by_rate[0.01]["workers"] == 2
    assert by_rate[1e38]["state"] == "DIVERGED"
    assert "at update 1" in by_rate[1e38]["error"]


LONG = {
    "axes": {"global_batch": [17], "learning_rate": 0.01, "seeds": 2},
    "budget": {"updates": 3000},
    "evaluate_every": {"updates": 300},
    "checkpoint_every_seconds": 0.5,
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, float]]:
    """The curves of the long study when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_prepared(folder / "data")
    spec = {
        "study": "tiny",
        "data": str(folder / "data"),
        "summary": str(folder / "summary"),
        "task": "classification",
        "model": {"embedding_units": 6, "lstm_units": 5, "dropout": 0.2},
        "resources": {"lanes": 1, "workers": 1},
        **LONG,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(spec))
    run(folder / "study.yaml")
    return curve(folder / "study.yaml")


def begin(file: Path) -> subprocess.Popen[str]:
    """Start a study, and return when a trial of it has left its first checkpoint."""
    process = subprocess.Popen([*COMMAND, "run", str(file)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    checkpoints = Path(yaml.safe_load(file.read_text())["summary"]) / "checkpoints"
    while not list(checkpoints.glob("*/*/resume-*.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a study's end: exit code and stderr."""
    _, stderr = process.communicate(timeout=240)
    assert "Traceback" not in stderr
    return process.returncode, stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_study_goes_on_where_it_was(
    study: Callable[..., Path], undisturbed: list[Any], number: signal.Signals
) -> None:
    file = study(**LONG)
    process = begin(file)
    process.send_signal(number)
    status, stderr = finish(process)
    assert status == 128 + number
    assert "the same command goes on from here" in stderr
    [cancelled] = rows(file)
    assert cancelled["state"] == "CANCELLED"
    assert 0 < cancelled["updates"] < 3000
    run(file)
    assert [row["state"] for row in rows(file)] == ["CANCELLED", "COMPLETED", "COMPLETED"]
    assert [row["attempt"] for row in rows(file)] == [1, 2, 1]
    assert curve(file) == undisturbed


def test_a_killed_worker_costs_an_attempt_and_no_number(
    study: Callable[..., Path], undisturbed: list[Any], tmp_path: Path
) -> None:
    file = study(**LONG)
    process = begin(file)
    addresses = {ip for one in _processes_of(str(tmp_path)) for ip in _listening(one)}
    assert addresses
    assert all(ip.removeprefix("::ffff:").startswith("127.") for ip in addresses), addresses
    [worker] = [one for one in psutil.Process(process.pid).children(recursive=True) if _is_worker(one)]
    worker.kill()
    status, _ = finish(process)
    assert status == 0
    assert [row["state"] for row in rows(file)] == ["LOST", "COMPLETED", "COMPLETED"]
    assert [row["attempt"] for row in rows(file)] == [1, 2, 1]
    assert curve(file) == undisturbed


def test_other_data_in_the_place_of_the_first_end_the_study(study: Callable[..., Path], tmp_path: Path) -> None:
    file = study(**LONG)
    process = begin(file)
    before = hash_of(tmp_path / "data")[:8]
    shutil.rmtree(tmp_path / "data")
    write_prepared(tmp_path / "data", seed=1)
    now = hash_of(tmp_path / "data")[:8]
    [worker] = [one for one in psutil.Process(process.pid).children(recursive=True) if _is_worker(one)]
    worker.kill()
    status, stderr = finish(process)
    assert status == 2
    said = f"the data at {tmp_path}/data changed: this study was begun with {before}, there is {now} now"
    assert said in stderr
    [lost, failed] = rows(file)
    assert (lost["state"], failed["state"]) == ("LOST", "FAILED")
    assert failed["trial_id"] == lost["trial_id"]
    assert failed["error"].startswith(said)
    assert not failed["updates"]


def test_a_killed_driver_leaves_an_attempt_that_is_lost(study: Callable[..., Path], undisturbed: list[Any]) -> None:
    file = study(**LONG)
    process = begin(file)
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    # Ray's own processes follow their driver within seconds; what is killed here would have ended by itself.
    psutil.wait_procs(family, timeout=30)
    assert rows(file) == []
    run(file)
    assert [row["state"] for row in rows(file)] == ["LOST", "COMPLETED", "COMPLETED"]
    assert curve(file) == undisturbed


def _listening(process: psutil.Process) -> list[str]:
    """The addresses on which a process takes connections."""
    with contextlib.suppress(psutil.Error):
        found = process.net_connections(kind="tcp")
        return [one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN]
    return []


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "RayTrainWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


TUNED = {
    "axes": {"global_batch": [17, "full"], "learning_rate": [0.00003, 0.0001, 0.0003], "seeds": 2},
    "budget": {"updates": 400},
    "evaluate_every": {"updates": 50},
    "checkpoint_every_seconds": 0.2,
    "protocol": {"extensions": 1},
    "margin": {"validation_loss": 0.01},
    "resources": {"lanes": 2, "workers": 1},
}


def test_a_study_that_tunes_its_rates_goes_on_in_any_phase(study: Callable[..., Path]) -> None:
    file = study(**TUNED)
    process = begin(file)
    process.send_signal(signal.SIGINT)
    status, stderr = finish(process)
    assert status == 130
    assert "10 trials, 0 finished before" in stderr
    run(file)
    ended = [row for row in rows(file) if row["state"] == "COMPLETED"]
    # On this data a higher rate is better as far as these go: one more is tried, for both global batches.
    phases = [(row["phase"], row["global_batch"]) for row in ended]
    assert {phase: phases.count(phase) for phase in phases} == {
        ("screen", 17): 4,
        ("screen", 51): 4,
        ("confirm", 17): 2,
        ("confirm", 51): 2,
    }
    assert {row["seed"] for row in ended if row["phase"] == "screen"} == {SCREEN_SEEDS[0]}
    assert {row["seed"] for row in ended if row["phase"] == "confirm"} == {0, 1}
    for batch in (17, 51):
        screened = {
            row["learning_rate"]: row["best_validation_loss"]
            for row in ended
            if (row["phase"], row["global_batch"]) == ("screen", batch)
        }
        best = min(screened, key=lambda rate: screened[rate])
        assert {r["learning_rate"] for r in ended if (r["phase"], r["global_batch"]) == ("confirm", batch)} == {best}
    [asked] = query.studies(Summary(yaml.safe_load(file.read_text())["summary"])).to_pylist()
    assert (asked["trials"], asked["margin"]) == (12, 0.01)
    assert "12 finished before" in run(file).stderr


COUPLED = '''
import keras


class Centred(keras.layers.Layer):
    """In training, what a row becomes depends on the rows beside it: a batch is not the sum of its parts."""

    def call(self, inputs, training=False):
        return inputs - keras.ops.mean(inputs, axis=0, keepdims=True) if training else inputs


def build(vocabulary_size, outputs):
    tokens = keras.Input([None], dtype="int32")
    hidden = keras.layers.LSTM(4)(keras.layers.Embedding(vocabulary_size, 4, mask_zero=True)(tokens))
    return keras.Model(tokens, keras.layers.Dense(outputs)(Centred()(hidden)))
'''


def test_a_model_that_couples_rows_is_refused_before_anything_is_trained(
    study: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "coupled.py").write_text(COUPLED)
    file = study(model={"factory": "coupled:build"})
    done = subprocess.run(
        [*COMMAND, "run", file.name], capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    assert "the check failed: the layout changes the update, so nothing was trained" in done.stderr
    [row] = rows(file)
    assert row["state"] == "FAILED"
    assert "in micro-batches" in row["error"]
    assert not row["updates"]
