"""A study leaves nothing on a cluster that stays, and goes on there; that its machines go is in tests/rehearsal."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import write_prepared
from tests.support.clusters import Machines
from tests.support.keys import KEYS, holding
from tests.support.runs import begin, curve, finish, rows, run, workers_of
from tests.support.seen import Seen
from tests.support.studies import LONG, write_study
from tests.support.undisturbed import curve as undisturbed_curve

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("nothing_is_left_behind")]
SECONDS = 180
ONE = {**LONG, "axes": {**LONG["axes"], "seeds": 1}}


@pytest.fixture(autouse=True)
def _without_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's user may have a token; these clusters, on loopback for a minute, ask for none."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, float]]:
    """The curve of the study when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_prepared(folder / "data")
    return undisturbed_curve(write_study(folder, **ONE))


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
    undisturbed: list[tuple[str, int, float]],
    nothing_is_left_behind: str,
    tmp_path: Path,
) -> None:
    here = machines(1)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    file = study(**ONE)
    seen = Seen(here.address)
    try:
        process = begin(file, "--address", here.address)
        assert seen.left() != []
        process.send_signal(signal.SIGTERM)
        assert "the same command goes on from here" in finish(process, status=128 + signal.SIGTERM)
        assert_nothing_is_left(seen, nothing_is_left_behind)
        run(file, "--address", here.address)
        assert_nothing_is_left(seen, nothing_is_left_behind)
        cancelled, completed = rows(file)
        assert (cancelled["state"], completed["state"]) == ("CANCELLED", "COMPLETED")
        assert 0 < cancelled["updates"] < completed["updates"]
        assert sorted(curve(file)) == undisturbed
    finally:
        seen.leave()
    head: Any = here.cluster.head_node
    logs = Path(head.get_session_dir_path()) / "logs"
    assert logs.is_dir()
    assert holding(logs) == []
    assert holding(tmp_path) == []
