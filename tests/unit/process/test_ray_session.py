"""Ray's start and end in this process, with a stand-in for `ray.init`: tries, handlers, folders, and what has ended."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray._private import utils

from cluster.drive.ends import Ends, spent_out, watch
from cluster.lanes.tally import Tally
from cluster.prices import Spending
from cluster.process import ray_session, signals
from cluster.process.ray_session import Session
from trainer.errors import DataError, NotReadyError

LATE = "The current node timed out during startup. This could happen because the raylet failed to startup"


class Stand:
    """In the place of Ray: fails so many times, then is there."""

    def __init__(self, failures: int) -> None:
        self.failures, self.folders, self.ended = failures, [], 0

    def init(self, **options: Any) -> None:
        utils.set_sigterm_handler(lambda number, frame: sys.exit(number))
        self.folders.append(options["_temp_dir"])
        assert (options["address"], options["_node_ip_address"]) == ("local", "127.0.0.1")
        assert signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        if len(self.folders) <= self.failures:
            raise Exception(LATE)

    def shutdown(self) -> None:
        self.ended += 1


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bs-", dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def stand(monkeypatch: pytest.MonkeyPatch, failures: int) -> Stand:
    found = Stand(failures)
    monkeypatch.setattr(ray, "init", found.init)
    monkeypatch.setattr(ray, "shutdown", found.shutdown)
    monkeypatch.setattr(ray_session, "Session", lambda: "session")
    return found


def test_a_node_that_is_late_once_is_tried_again(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    found = stand(monkeypatch, failures=1)
    handler, theirs = signal.getsignal(signal.SIGTERM), utils.set_sigterm_handler
    with ray_session.local(num_cpus=1) as session:
        assert session == "session"
        assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        [folder] = root.iterdir()
        assert found.folders == [str(folder)] * 2
    assert found.ended == 2
    assert list(root.iterdir()) == []
    assert utils.set_sigterm_handler is theirs


def test_nothing_of_rays_is_released_while_it_shuts_down(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Ray would end the process, with exit code 1."""
    found = stand(monkeypatch, failures=0)
    seen: list[tuple[bool, bool]] = []

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    def shutdown() -> None:
        seen.append((gc.isenabled(), left() is not None))
        found.shutdown()

    monkeypatch.setattr(ray, "shutdown", shutdown)
    with ray_session.local():
        left = weakref.ref(Cycle())
    assert seen == [(False, False)]
    assert gc.isenabled()


def test_a_machine_too_busy_for_ray_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    stand(monkeypatch, failures=9)
    with pytest.raises(NotReadyError, match=r"did not start on this machine in 2 tries \(The current node timed out"):
        ray_session.local().__enter__()
    assert list(root.iterdir()) == []


def test_a_signal_while_ray_starts_waits_for_it_and_then_ends_it(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    found = stand(monkeypatch, failures=1)
    first = found.init

    def init(**options: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        first(**options)

    monkeypatch.setattr(ray, "init", init)
    signals.install()
    with pytest.raises(signals.StoppedError):
        ray_session.local().__enter__()
    # No second try for somebody who wants to end.
    assert len(found.folders) == 1
    assert signals.exit_code() == 143
    assert list(root.iterdir()) == []


def test_a_long_temporary_folder_is_none_for_rays_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = stand(monkeypatch, failures=0)
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with ray_session.local():
        pass
    assert found.folders[0].startswith("/tmp/batchscope-ray-")


@pytest.mark.slow
def test_ray_begins_by_nobodys_asking_but_ours() -> None:
    code = (
        "from cluster.study import capacity; capacity.this_machine(with_gpus=True)\n"
        "import ray, os; from ray._private import auto_init_hook\n"
        "assert not auto_init_hook.enable_auto_connect\n"
        "try: ray.get(ray.remote(lambda: 1).remote())\n"
        "except Exception as problem: print(type(problem).__name__, ray.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout == "RaySystemError False\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    ["import cluster.drive.run", "import cluster.lanes.schedule", "import batchscope, ray", "import cluster.lanes"],
)
def test_whatever_is_imported_first_ray_is_one_that_stays_on_loopback(first: str) -> None:
    code = f"{first}\nfrom ray._private import ray_constants\nprint(ray_constants.ENABLE_RAY_CLUSTER)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_a_ray_that_would_listen_on_every_interface_is_not_used() -> None:
    code = (
        "import ray\nfrom cluster.process import ray_session\n"
        "try:\n    ray_session.local().__enter__()\nexcept Exception as problem:\n    print(problem)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout.startswith("Ray was imported before batchscope, and would listen on every interface")


HELD: Any = SimpleNamespace(lost=lambda: None)


def session(**parts: Any) -> Session:
    found = object.__new__(Session)
    found.__dict__.update({"_looked_at": 0.0, "_answered_at": 0.0, **parts})
    return found


def test_a_part_of_ray_that_has_ended_ends_the_run_with_its_name() -> None:
    dead: list[tuple[str, object]] = [("log_monitor", None)]
    here = session(_node=SimpleNamespace(head=True, dead_processes=lambda: dead))
    ends = Ends(here, HELD, None, began_at=0.0)
    assert ends.check(Tally()) is None
    dead.append(("gcs_server", None))
    with pytest.raises(NotReadyError, match=r"Ray's gcs_server on this machine has ended; .* the same command again"):
        ends.check(Tally())


@pytest.mark.parametrize(
    ("problem", "dead", "raised"),
    [
        (RuntimeError("Tune met a dead Ray"), [("raylet", None)], NotReadyError("Ray's raylet on this machine")),
        (RuntimeError("a bug of ours"), [], RuntimeError("a bug of ours")),
        (DataError("the data changed"), [("raylet", None)], DataError("the data changed")),
    ],
)
def test_what_came_of_a_dead_ray_does_not_hide_that_it_died(
    problem: Exception, dead: list[tuple[str, object]], raised: Exception
) -> None:
    def failing(seconds: float) -> bool:
        raise problem

    schedule: Any = SimpleNamespace(wait=failing)
    here = session(_node=SimpleNamespace(head=True, dead_processes=list))
    # On a fleet, whatever is up is paid for, whether it trains or not; and no budget is kept in unknown prices.
    five = Spending(usd=5.0, seconds=None)
    said = {4.99: None, 5.0: "the budget of 5 usd is spent", None: "the price of a machine is unknown, so"}
    for bill_usd, reason in said.items():
        meter: Any = SimpleNamespace(usd=lambda bill_usd=bill_usd: bill_usd)
        found = Ends(here, HELD, five, 0.0, meter).check(Tally())
        assert (found is None) if reason is None else (found is not None and found.startswith(reason))
    ends = Ends(session(_node=SimpleNamespace(head=True, dead_processes=lambda: dead)), HELD, None, began_at=0.0)
    with pytest.raises(type(raised), match=str(raised)):
        watch(schedule, lambda: ends.check(Tally()), lambda: None, lambda stopping: None)


def test_a_head_that_is_silent_for_long_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    there = session(
        _node=SimpleNamespace(head=False), _head="127.0.0.1", _port="1", _looked_at=100.0, _answered_at=100.0
    )
    found = []
    for now[0] in range(100, 130, 3):
        found.append(there.lost())
    assert found[:7] == [None] * 7
    assert found[-1] == "the head of the cluster at 127.0.0.1:1 no longer answers"


def test_a_budget_in_seconds_counts_from_the_commands_start() -> None:
    hour = Spending(usd=None, seconds=3600.0)
    assert spent_out(hour, seconds=3599.0, usd=None) is None
    assert spent_out(hour, seconds=3600.0, usd=None) == "the budget of 3600 s is spent"
    ends = Ends(session(_node=SimpleNamespace(head=True, dead_processes=list)), HELD, hour, began_at=-1e9)
    assert ends.check(Tally()) == "the budget of 3600 s is spent"
