"""`batchscope run` as a process of its own: started, waited for, its processes found, and its rows read."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from cluster.summary import query
from cluster.summary.store import Summary

COMMAND = [str(Path(sys.executable).with_name("batchscope"))]
# The variable by which a test's processes are known, whoever their parent is by now.
MARK = "BATCHSCOPE_TEST"
# A factory of tests is found in the folder where the command is called.
ROOT = Path(__file__).parents[2]


def run(file: Path, *options: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a study to its end."""
    command = [*COMMAND, "run", str(file), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def begin(file: Path, *options: str, trials: int = 1, command: Sequence[str] = COMMAND) -> subprocess.Popen[str]:
    """Start a study, and return when as many of its trials have left a checkpoint that was not there before."""
    words = [*command, "run", str(file), *options]
    before = checkpoints(file)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    wait_for_checkpoints(file, process, before=before, trials=trials)
    return process


def wait_for_checkpoints(file: Path, process: subprocess.Popen[str], *, before: set[Path], trials: int = 1) -> None:
    """Wait until as many trials have left a checkpoint that is not one of `before`."""
    deadline = time.monotonic() + 240
    while len({path.parent for path in checkpoints(file) - before}) < trials:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_attempts(file: Path, process: subprocess.Popen[str], count: int) -> None:
    """Wait until the study's trials have begun that many attempts."""
    deadline = time.monotonic() + 240
    while len(list((Path(summary_of(file)) / "attempts").rglob("*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def checkpoints(file: Path) -> set[Path]:
    """The checkpoints from which the study's trials could go on."""
    return set((Path(summary_of(file)) / "checkpoints").glob("*/*/resume-*.json"))


def finish(process: subprocess.Popen[str], *, status: int = 0) -> str:
    """Wait for a study's end: its stderr."""
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == status, stderr
    assert "Traceback" not in stderr
    return stderr


def summary_of(file: Path) -> str:
    """Where the study keeps its results."""
    return str(yaml.safe_load(file.read_text())["summary"])


def rows(file: Path) -> list[dict[str, Any]]:
    """The attempts of the study, oldest first."""
    found = query.trials(Summary(summary_of(file)), "tiny").to_pylist()
    return sorted(found, key=lambda row: (row["started_at"], row["attempt"]))


def curve(file: Path) -> list[tuple[str, int, float]]:
    """What each trial's evaluations say, whatever attempts it took."""
    table = query.curves(query.evaluations(Summary(summary_of(file)), "tiny"))
    return [(row["trial_id"], row["update"], row["validation_loss"]) for row in table.to_pylist()]


def processes_of(mark: str) -> list[psutil.Process]:
    """The living processes that inherited the mark, but for this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            marked = process.environ().get(MARK) == mark
            if marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for_end_of(mark: str, seconds: float = 30) -> None:
    """Wait until no process has the mark; what does not end by itself is a fault, and is ended."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert left == []


def workers_of(mark: str) -> list[psutil.Process]:
    """The processes with the mark that train."""
    return [process for process in processes_of(mark) if _trains(process)]


def _trains(process: psutil.Process) -> bool:
    try:
        return "RayTrainWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False
