"""What is lost on the way: workers, machines, several at once, machines that are called back; no number changes.

Several nodes of a real Ray run on this machine (`ray.cluster_utils.Cluster`), each an own raylet: to the head, one
that is killed is a machine that went away.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.conftest import write_prepared
from tests.integration.test_run import COMMAND, LONG, _is_worker, _nothing_is_left_behind, _processes_of, curve, rows

pytestmark = [pytest.mark.ray, pytest.mark.slow]
# In float64: these updates overfit, which makes of the last digit of a sum over one worker or two, in float32, the
# second digit of a loss. So many that a trial goes on for seconds after its first checkpoint, on a fast machine too.
UPDATES = 4000
LONG = {
    **LONG,
    "axes": {**LONG["axes"], "learning_rate": 0.003, "dtype": "float64"},
    "budget": {"updates": UPDATES},
    "evaluate_every": {"updates": UPDATES // 10},
}
__all__ = ["_nothing_is_left_behind"]


class Machines:
    """A Ray cluster of a head without CPUs and some nodes of one CPU each, on loopback."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.1", "include_dashboard": False},
        )
        self.nodes = [self.add() for _ in range(count)]

    def add(self) -> Any:
        return self.cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")

    def kill(self, *nodes: Any) -> None:
        """At once, raylet and workers: as when the power goes."""
        processes = [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in nodes]
        family = [one for raylet in processes for one in (raylet, *raylet.children(recursive=True))]
        for process in family:
            process.kill()
        for node in nodes:
            self.cluster.remove_node(node, allow_graceful=False)

    def drain(self, node: Any) -> None:
        """What the watcher of a spot machine does when EC2 calls it back."""
        command = [str(Path(sys.executable).with_name("ray")), "drain-node", "--address", self.cluster.address]
        reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        left = ["--deadline-remaining-seconds", "120", "--node-id", node.node_id]
        subprocess.run([*command, *reason, *left], check=True, capture_output=True, timeout=60)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Machines]]:
    """Starts a cluster, which ends with the test."""
    # As in `cluster.study.capacity`: loopback is loopback; a dead node is noticed within seconds.
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    started: list[Machines] = []

    def start(count: int) -> Machines:
        started.append(Machines(count))
        return started[-1]

    yield start
    for one in started:
        one.cluster.shutdown()


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """Writes the long study of the tiny data set; keywords change its keys."""
    write_prepared(tmp_path / "data")

    def write(**changes: Any) -> Path:
        spec = {
            "study": "tiny",
            "data": str(tmp_path / "data"),
            "summary": str(tmp_path / "summary"),
            "task": "classification",
            "model": {"embedding_units": 6, "lstm_units": 5, "dropout": 0.2},
            "resources": {"lanes": 1, "workers": 1},
            **LONG,
            **changes,
        }
        file = tmp_path / "study.yaml"
        file.write_text(yaml.safe_dump(spec))
        return file

    return write


def begin(file: Path, machines: Machines, *, trials: int = 1) -> subprocess.Popen[str]:
    """Start a study, and return when that many of its trials have left a checkpoint."""
    process = subprocess.Popen(
        [*COMMAND, "run", str(file), "--address", machines.cluster.address],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 180
    checkpoints = Path(yaml.safe_load(file.read_text())["summary"]) / "checkpoints"
    while len({path.parent for path in checkpoints.glob("*/*/resume-*.json")}) < trials:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # A few heartbeats, which tell how far it is.
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
    spec = {
        "study": "tiny",
        "data": str(folder / "data"),
        "summary": str(folder / "summary"),
        "task": "classification",
        "model": {"embedding_units": 6, "lstm_units": 5, "dropout": 0.2},
        **LONG,
        "axes": {**LONG["axes"], "seeds": 3},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(spec))
    subprocess.run([*COMMAND, "run", str(folder / "study.yaml")], check=True, capture_output=True, timeout=240)
    return points(folder / "study.yaml")


def points(file: Path) -> dict[tuple[str, int], float]:
    """The validation loss of each trial at each update."""
    return {(trial, update): loss for trial, update, loss in curve(file)}


def assert_as_undisturbed(file: Path, undisturbed: dict[tuple[str, int], float], trials: int) -> None:
    found = points(file)
    assert len(found) == trials * 10
    assert {key: undisturbed[key] for key in found} == pytest.approx(found, abs=1e-4)


def test_a_trial_that_lost_one_of_its_two_machines_goes_on_with_the_other(
    study: Callable[..., Path], machines: Callable[[int], Machines], undisturbed: dict[tuple[str, int], float]
) -> None:
    here = machines(2)
    file = study(axes={**LONG["axes"], "seeds": 1}, resources={"lanes": 1, "workers": 2})
    process = begin(file, here)
    here.kill(here.nodes[1])
    stderr = end(process, file)
    assert "1 lost and resumed" in stderr
    lost, resumed = rows(file)
    assert [(row["state"], row["attempt"], row["workers"]) for row in (lost, resumed)] == [
        ("LOST", 1, 2),
        ("COMPLETED", 2, 1),
    ]
    assert 0 < lost["updates"] < UPDATES
    assert resumed["seconds_resumed"] > 0
    # At most what lies between two checkpoints, half a second apart, and the last beat.
    assert 0 <= resumed["seconds_repeated"] < 2.5
    assert_as_undisturbed(file, undisturbed, 1)


def test_machines_that_go_together_take_only_their_own_trials_with_them(
    study: Callable[..., Path], machines: Callable[[int], Machines], undisturbed: dict[tuple[str, int], float]
) -> None:
    here = machines(3)
    file = study(axes={**LONG["axes"], "seeds": 3}, resources={"lanes": 3, "workers": 1})
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


def test_a_machine_that_is_called_back_is_left_with_a_checkpoint(
    study: Callable[..., Path], machines: Callable[[int], Machines], undisturbed: dict[tuple[str, int], float]
) -> None:
    here = machines(2)
    # One checkpoint long before the call, and none that happens to fall on it.
    file = study(axes={**LONG["axes"], "seeds": 1}, checkpoint_every_seconds=2.0)
    process = begin(file, here)
    [worker] = [one for one in _processes_of(os.environ["BATCHSCOPE_TEST"]) if _is_worker(one)]
    [node] = [node for node in here.nodes if node.all_processes["raylet"][0].process.pid == worker.ppid()]
    # The command takes seconds, in which the trial must not come to its end.
    worker.suspend()
    here.drain(node)
    worker.resume()
    end(process, file)
    lost, resumed = rows(file)
    assert lost["state"] == "LOST"
    assert "called back" in lost["error"]
    assert resumed["state"] == "COMPLETED"
    assert resumed["seconds_repeated"] == 0
    assert_as_undisturbed(file, undisturbed, 1)


def test_one_killed_worker_of_two_costs_an_attempt_and_no_number(
    study: Callable[..., Path], machines: Callable[[int], Machines], undisturbed: dict[tuple[str, int], float]
) -> None:
    here = machines(2)
    file = study(axes={**LONG["axes"], "seeds": 1}, resources={"lanes": 1, "workers": 2})
    process = begin(file, here)
    workers = [one for one in _processes_of(os.environ["BATCHSCOPE_TEST"]) if _is_worker(one)]
    assert len(workers) == 2
    workers[-1].kill()
    end(process, file)
    assert [(row["state"], row["workers"]) for row in rows(file)] == [("LOST", 2), ("COMPLETED", 2)]
    assert_as_undisturbed(file, undisturbed, 1)
