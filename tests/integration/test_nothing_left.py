"""A study leaves nothing on a cluster that stays; that its machines go is in tests/rehearsal."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.clusters import Machines
from tests.support.keys import KEYS, holding
from tests.support.runs import begin, finish, rows, run, workers_of
from tests.support.seen import Seen
from tests.support.studies import LONG

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("nothing_is_left_behind")]
SECONDS = 180


@pytest.fixture(autouse=True)
def _without_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's user may have a token; these clusters, on loopback for a minute, ask for none."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


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
