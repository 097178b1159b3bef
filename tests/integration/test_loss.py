"""What is lost on the way: workers, machines, several at once, machines that are called back; no number changes."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import write_prepared
from tests.support import runs
from tests.support.clusters import Machines
from tests.support.runs import curve, rows, workers_of
from tests.support.studies import LONG, write_study
from tests.support.undisturbed import curve as undisturbed_curve

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("nothing_is_left_behind")]
# In float64: updates that overfit make of the last digit of a sum over one worker or two, in float32, a much earlier
# digit of a loss. So many that a trial goes on for seconds after its first checkpoint, on a fast machine too.
UPDATES = 600
LONG = {
    **LONG,
    "axes": {**LONG["axes"], "learning_rate": 0.003, "dtype": "float64"},
    "budget": {"updates": UPDATES},
    "evaluate_every": {"updates": UPDATES // 10},
}
# As `batchscope`, but what computes nothing for that long hangs.
SECONDS_WITHOUT_STEP = 20.0
IMPATIENT = [
    sys.executable,
    "-c",
    "from cluster import cli; from cluster.drive import lanes; "
    f"lanes.SECONDS_WITHOUT_STEP = {SECONDS_WITHOUT_STEP}; cli.main()",
]
SEED = {**LONG["axes"], "seeds": 1}
SEEDS = {**LONG["axes"], "seeds": 3}


def begin(file: Path, machines: Machines, *, trials: int = 1) -> subprocess.Popen[str]:
    """Start a study, and return when that many of its trials have left a checkpoint and told how far they are."""
    process = runs.begin(file, "--address", machines.address, trials=trials, command=IMPATIENT)
    # A few heartbeats.
    time.sleep(1.5)
    return process


def end(process: subprocess.Popen[str], file: Path) -> str:
    """Wait for a study's end: its stderr."""
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, (stderr, [row["error"] for row in rows(file)])
    assert "Traceback" not in stderr
    return stderr


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], float]:
    """The curves of the long study with three seeds when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_prepared(folder / "data")
    return points(undisturbed_curve(write_study(folder, **{**LONG, "axes": SEEDS})))


def points(curve: list[tuple[str, int, float]]) -> dict[tuple[str, int], float]:
    """The validation loss of each trial at each update."""
    return {(trial, update): loss for trial, update, loss in curve}


def assert_as_undisturbed(file: Path, undisturbed: dict[tuple[str, int], float], trials: int) -> None:
    found = points(curve(file))
    assert len(found) == trials * 10
    assert {key: undisturbed[key] for key in found} == pytest.approx(found, abs=1e-4)


def test_a_trial_goes_on_after_a_killed_worker_hung_ones_a_machine_called_back_and_one_lost(
    study: Callable[..., Path],
    machines: Callable[[int], Machines],
    undisturbed: dict[tuple[str, int], float],
    nothing_is_left_behind: str,
) -> None:
    here = machines(3)
    # One checkpoint long before the call, and none that happens to fall on it.
    long = {**LONG, "axes": SEED, "checkpoint_every_seconds": 1.0}
    file = study(**long, resources={"lanes": 1, "workers": 2})
    process = begin(file, here)
    workers = workers_of(nothing_is_left_behind)
    assert len(workers) == 2
    workers[-1].kill()
    _wait_for_attempt(2, file, process)
    # Both: of one alone TensorFlow itself tells the other within half a minute.
    for worker in workers_of(nothing_is_left_behind):
        worker.suspend()
    _wait_for_attempt(3, file, process)
    # The third machine stands by.
    workers = workers_of(nothing_is_left_behind)
    [called, *_] = [node for node in here.nodes if any(_is_on(node, worker) for worker in workers)]
    # The command takes seconds, in which the trial must not come to its end.
    for worker in workers:
        worker.suspend()
    here.drain(called)
    for worker in workers:
        worker.resume()
    _wait_for_attempt(4, file, process)
    workers = workers_of(nothing_is_left_behind)
    here.kill(*[node for node in here.nodes if _is_on(node, workers[-1])])
    stderr = end(process, file)
    assert "4 lost and resumed" in stderr
    killed, hung, left, lost, resumed = found = rows(file)
    assert [(row["state"], row["attempt"], row["workers"]) for row in found] == [
        ("LOST", 1, 2),
        ("LOST", 2, 2),
        ("LOST", 3, 2),
        ("LOST", 4, 2),
        ("COMPLETED", 5, 1),
    ]
    assert "nothing was computed for" in hung["error"]
    assert "called back" in left["error"]
    assert lost["seconds_repeated"] == 0
    assert 0 < killed["updates"] <= hung["updates"] <= left["updates"] < lost["updates"] < UPDATES
    assert resumed["seconds_resumed"] > 0
    # At most what lies between two checkpoints, a second apart, and the last beat.
    assert 0 <= resumed["seconds_repeated"] < 3.0
    assert_as_undisturbed(file, undisturbed, 1)


def _wait_for_attempt(number: int, file: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the trial's attempt of that number has left a checkpoint and told how far it is."""
    runs.wait_for_attempts(file, process, number)
    runs.wait_for_checkpoints(file, process, before=runs.checkpoints(file))
    time.sleep(1.5)


def _is_on(node: Any, worker: psutil.Process) -> bool:
    return bool(node.all_processes["raylet"][0].process.pid == worker.ppid())


def test_machines_that_go_together_take_only_their_own_trials_with_them(
    study: Callable[..., Path], machines: Callable[[int], Machines], undisturbed: dict[tuple[str, int], float]
) -> None:
    here = machines(3)
    file = study(**{**LONG, "axes": SEEDS}, resources={"lanes": 3, "workers": 1})
    process = begin(file, here, trials=3)
    here.kill(*here.nodes[1:])
    end(process, file)
    found = rows(file)
    states = [row["state"] for row in found]
    assert states.count("COMPLETED") == 3
    # The trial on the machine that stayed was not disturbed; it may have ended meanwhile.
    assert 1 <= states.count("LOST") <= 2
    assert len(states) == 3 + states.count("LOST")
    assert min(row["attempt"] for row in found if row["state"] == "COMPLETED") == 1
    assert_as_undisturbed(file, undisturbed, 3)
