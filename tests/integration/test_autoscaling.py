"""A study brings the machines that it needs and lets them go; it leaves nothing on a cluster that stays.

Ray's own autoscaler, the one that `ray up` starts, over pretended machines; and a cluster without one.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_loss import Machines, begin, machines
from tests.integration.test_run import COMMAND, LONG, _is_worker, _nothing_is_left_behind, _processes_of, rows, study
from tests.support.fake_fleet import Seen, fleet

pytestmark = [pytest.mark.ray, pytest.mark.slow]
__all__ = ["_nothing_is_left_behind", "machines", "study"]
SECONDS = 180


@pytest.fixture(autouse=True)
def _without_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's user may have a token; these clusters, on loopback for a minute, ask for none."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


@contextmanager
def counted(seen: Seen) -> Iterator[list[int]]:
    """How many machines are up, again and again while inside."""
    counts, over = [len(seen.machines())], threading.Event()

    def count() -> None:
        while not over.wait(0.5):
            counts.append(len(seen.machines()))

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join()


def wait_until(reached: Callable[[], bool], otherwise: Callable[[], object]) -> None:
    """Wait for it; `otherwise` says what was there instead."""
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.5)


def run_on(file: Path, address: str) -> None:
    """Run a study on a cluster to its end."""
    command = [*COMMAND, "run", str(file), "--address", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def assert_nothing_is_left(seen: Seen) -> None:
    """Ray itself needs a moment to see that a driver has ended."""
    wait_until(lambda: not seen.left(), seen.left)
    wait_until(lambda: not workers(), workers)


def workers() -> list[object]:
    return [one for one in _processes_of(os.environ["BATCHSCOPE_TEST"]) if _is_worker(one)]


def test_a_study_brings_the_machines_it_needs_and_lets_them_go(
    study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = study(resources={"lanes": 2, "workers": 1, "gpus_per_worker": 1})
    with fleet(most_machines=3, idle_seconds=6) as here, counted(here.seen) as counts:
        monkeypatch.setenv("HOME", str(here.home))
        assert here.seen.machines() == set()
        run_on(file, here.seen.address)
        assert_nothing_is_left(here.seen)
        wait_until(lambda: not here.seen.machines(), here.log_of_autoscaler)
        wait_until(lambda: counts[-1] == 0, lambda: counts)
        assert here.seen.head_is_up()
        assert len(here.seen.machines(gone=True)) == 2
        assert here.seen.left() == []
    assert counts[0] == 0
    assert max(counts) == 2
    found = rows(file)
    assert [row["state"] for row in found] == ["COMPLETED"] * 4
    # The first trial of each lane waits for a machine to come, the others for nothing.
    assert sorted(row["seconds_waiting"] > 0 for row in found) == [False, False, True, True]


def test_a_study_that_was_stopped_or_has_ended_leaves_nothing_on_a_cluster(
    study: Callable[..., Path], machines: Callable[[int], Machines]
) -> None:
    here = machines(1)
    file = study(**{**LONG, "axes": {**LONG["axes"], "seeds": 1}})
    seen = Seen(here.cluster.address)
    try:
        process = begin(file, here)
        assert seen.left() != []
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=SECONDS)
        assert process.returncode == 128 + signal.SIGINT, stderr
        assert_nothing_is_left(seen)
        run_on(file, here.cluster.address)
        assert_nothing_is_left(seen)
        assert [row["state"] for row in rows(file)] == ["CANCELLED", "COMPLETED"]
    finally:
        seen.leave()
