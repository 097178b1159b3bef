"""A study brings the machines that it needs and lets them go; it leaves nothing on a cluster that stays.

Ray's own autoscaler, the one that `ray up` starts, over pretended machines; and a cluster without one.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.clusters import Machines
from tests.support.fake_fleet import Seen, fleet
from tests.support.keys import KEYS, holding
from tests.support.runs import begin, finish, rows, run, workers_of
from tests.support.studies import LONG

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("nothing_is_left_behind")]
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


def assert_nothing_is_left(seen: Seen, mark: str) -> None:
    """Ray itself needs a moment to see that a driver has ended."""
    wait_until(lambda: not seen.left(), seen.left)
    wait_until(lambda: not workers_of(mark), lambda: workers_of(mark))


def test_a_study_brings_the_machines_it_needs_and_lets_them_go(
    study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, nothing_is_left_behind: str
) -> None:
    file = study(resources={"lanes": 2, "workers": 1})
    with fleet(most_machines=3, idle_seconds=6) as here, counted(here.seen) as counts:
        monkeypatch.setenv("HOME", str(here.home))
        assert here.seen.machines() == set()
        run(file, "--address", here.seen.address)
        assert_nothing_is_left(here.seen, nothing_is_left_behind)
        assert len(here.seen.machines() | here.seen.machines(gone=True)) == 2
        # The machines say that they have a card, but TensorFlow finds none there: nothing is trained on their CPUs.
        blind = study(study="blind", resources={"lanes": 1, "workers": 1, "gpus_per_worker": 1})
        assert "was given 1 GPU, but TensorFlow" in run(blind, "--address", here.seen.address, status=3).stderr
        assert_nothing_is_left(here.seen, nothing_is_left_behind)
        wait_until(lambda: not here.seen.machines(), here.log_of_autoscaler)
        wait_until(lambda: counts[-1] == 0, lambda: counts)
        assert here.seen.head_is_up()
        assert here.seen.left() == []
    assert counts[0] == 0
    assert max(counts) == 2
    found = rows(file)
    assert [row["state"] for row in found] == ["COMPLETED"] * 4
    # The first trial of each lane waits for a machine to come, the others for nothing.
    assert sorted(row["seconds_waiting"] > 0 for row in found) == [False, False, True, True]


def test_a_study_that_was_stopped_or_has_ended_leaves_nothing_on_a_cluster_and_no_key_in_its_logs(
    study: Callable[..., Path],
    machines: Callable[[int], Machines],
    monkeypatch: pytest.MonkeyPatch,
    nothing_is_left_behind: str,
    tmp_path: Path,
) -> None:
    here = machines(1)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    file = study(**{**LONG, "axes": {**LONG["axes"], "seeds": 1}})
    seen = Seen(here.address)
    try:
        process = begin(file, "--address", here.address)
        assert seen.left() != []
        process.send_signal(signal.SIGINT)
        finish(process, status=128 + signal.SIGINT)
        assert_nothing_is_left(seen, nothing_is_left_behind)
        run(file, "--address", here.address)
        assert_nothing_is_left(seen, nothing_is_left_behind)
        assert [row["state"] for row in rows(file)] == ["CANCELLED", "COMPLETED"]
    finally:
        seen.leave()
    head: Any = here.cluster.head_node
    logs = Path(head.get_session_dir_path()) / "logs"
    assert logs.is_dir()
    assert holding(logs) == []
    assert holding(tmp_path) == []
