"""What a run stands on fails, or is looked through afterwards: one line and an exit code, and no key anywhere."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.keys import KEYS, holding
from tests.support.runs import COMMAND, begin, finish, rows
from tests.support.studies import LONG

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("nothing_is_left_behind")]

SIX = {"axes": {"global_batch": [17], "learning_rate": 0.01, "seeds": 6}, "budget": {"updates": 6}}
FAILING = """
import sys

def build(*, vocabulary_size, outputs):
    if not sys.argv[0].endswith("batchscope"):
        raise ValueError("not in a worker")
    import keras
    layers = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True), keras.layers.GlobalAveragePooling1D()
    return keras.Sequential([keras.Input((None,)), *layers, keras.layers.Dense(outputs)])
"""


def test_a_store_that_fails_under_a_run_ends_it_at_once_and_no_key_is_left(
    study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "temporary").mkdir()
    for name, value in {**KEYS, "TMPDIR": str(tmp_path / "temporary")}.items():
        monkeypatch.setenv(name, value)
    file = study(**{**LONG, "axes": SIX["axes"], "budget": {"updates": 1_000_000}})
    process = begin(file)
    [raylet] = [one for one in psutil.Process(process.pid).children(recursive=True) if one.name() == "raylet"]
    [session] = {word.partition("=")[2] for word in raylet.cmdline() if word.startswith("--session_dir=")}
    assert (Path(session) / "logs").is_dir()
    assert holding(Path(session) / "logs") == []
    assert holding(tmp_path) == []

    checkpoints = tmp_path / "summary" / "checkpoints"
    checkpoints.rename(tmp_path / "elsewhere")
    checkpoints.write_text("a file where a folder was")
    # Long before the trial would have ended, which took minutes.
    stderr = finish(process, status=3)
    [line] = [line for line in stderr.splitlines() if line.startswith("batchscope: ")]
    assert "cannot write in" in line
    assert "run the same command again to continue" in line
    assert [row["state"] for row in rows(file)] == ["FAILED"]
    monkeypatch.chdir(tmp_path)
    for words in (["report", "tiny", "-o", "page.html"], ["export", "tiny", "--tables", "tables"]):
        subprocess.run([*COMMAND, *words], check=True, capture_output=True, timeout=120)
    assert (tmp_path / "page.html").stat().st_size > 0
    assert holding(tmp_path) == []
    assert not Path(session).exists()


def test_what_fails_three_trials_alike_is_not_tried_on_the_others(study: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    file = study(**SIX, model={"factory": "failing:build"})
    done = subprocess.run(
        [*COMMAND, "run", str(file)], capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "3 trials in a row failed alike before any update" in done.stderr
    assert [row["state"] for row in rows(file)] == ["FAILED"] * 3
