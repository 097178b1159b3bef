"""What a run stands on fails, or is looked through afterwards: one line and an exit code, and no key anywhere."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from cluster.summary import query
from cluster.summary.store import Summary
from tests.integration.test_loss import Machines, machines
from tests.integration.test_run import COMMAND, LONG, _nothing_is_left_behind, begin, study

pytestmark = [pytest.mark.ray, pytest.mark.slow]
__all__ = ["_nothing_is_left_behind", "machines", "study"]

SIX = {"axes": {"global_batch": [17], "learning_rate": 0.01, "seeds": 6}, "budget": {"updates": 6}}
FAILING = """
import sys

def build(*, vocabulary_size, outputs):
    if not sys.argv[0].endswith("batchscope"):
        raise ValueError("not in a worker")
    import keras
    layers = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True), keras.layers.LSTM(3)
    return keras.Sequential([keras.Input((None,)), *layers, keras.layers.Dense(outputs)])
"""


def trials(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query.trials(Summary(yaml.safe_load(file.read_text())["summary"]), "tiny").to_pylist()
    return found


def test_a_store_that_fails_under_a_run_ends_it_at_once(study: Callable[..., Path]) -> None:
    file = study(**{**LONG, "axes": SIX["axes"]})
    process = begin(file)
    checkpoints = file.parent / "summary" / "checkpoints"
    checkpoints.rename(file.parent / "elsewhere")
    checkpoints.write_text("a file where a folder was")
    began = time.monotonic()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 3, stderr
    assert time.monotonic() - began < 60
    assert "Traceback" not in stderr
    [line] = [line for line in stderr.splitlines() if line.startswith("batchscope: ")]
    assert "cannot write in" in line
    assert "the same command goes on from here" in line
    assert [row["state"] for row in trials(file)] == ["FAILED"]


def test_what_fails_three_trials_alike_is_not_tried_on_the_others(
    study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    monkeypatch.chdir(tmp_path)
    file = study(**SIX, model={"factory": "failing:build"})
    done = subprocess.run([*COMMAND, "run", str(file)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "3 trials in a row failed alike before any update" in done.stderr
    assert [row["state"] for row in trials(file)] == ["FAILED"] * 3


@pytest.mark.parametrize("part", ["gcs_server", "raylet"])
def test_a_part_of_ray_that_is_killed_is_no_failed_check(study: Callable[..., Path], part: str) -> None:
    process = begin(study(**LONG))
    [killed] = [one for one in psutil.Process(process.pid).children(recursive=True) if one.name() == part]
    killed.kill()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 3, stderr
    assert f"batchscope: Ray's {part} on this machine has ended" in stderr
    assert "Traceback" not in stderr


KEYS = {
    name: f"planted-{number}-of-the-person"
    for number, name in enumerate(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
    )
}


def holding(folder: Path) -> list[Path]:
    """The files below a folder that have a planted key in them."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file() and any(value.encode() in file.read_bytes() for value in KEYS.values()):
            found.append(file)
    return found


def test_a_run_on_a_ray_of_its_own_leaves_no_key(
    study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "temporary").mkdir()
    for name, value in {**KEYS, "TMPDIR": str(tmp_path / "temporary")}.items():
        monkeypatch.setenv(name, value)
    process = begin(study(**LONG))
    [raylet] = [one for one in psutil.Process(process.pid).children(recursive=True) if one.name() == "raylet"]
    [session] = {word.partition("=")[2] for word in raylet.cmdline() if word.startswith("--session_dir=")}
    assert (Path(session) / "logs").is_dir()
    assert holding(Path(session) / "logs") == []
    assert holding(tmp_path) == []
    process.terminate()
    process.communicate(timeout=120)
    assert holding(tmp_path) == []
    assert not Path(session).exists()


def test_a_run_on_a_cluster_leaves_no_key_in_its_logs(
    machines: Callable[[int], Machines], study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cluster = machines(1)
    file = study(**{**SIX, "axes": {**SIX["axes"], "seeds": 1}})
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [*COMMAND, "run", str(file), "--address", cluster.cluster.address],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    session = Path(cluster.cluster.head_node.get_session_dir_path())
    assert (session / "logs").is_dir()
    assert holding(session / "logs") == []
    assert holding(tmp_path) == []
