"""What tests of whole commands share: workers that do not starve, the tiny study, and nothing left behind."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import write_prepared
from tests.support.clusters import Machines
from tests.support.runs import MARK, wait_for_end_of
from tests.support.studies import write_study


@pytest.fixture(scope="session", autouse=True)
def _workers_of_the_same_priority() -> Iterator[None]:
    """Ray gives its workers a low priority: beside other tests they would take minutes for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture
def nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The test's mark, which its processes inherit; none of them outlives the test."""
    mark = str(tmp_path)
    monkeypatch.setenv(MARK, mark)
    yield mark
    wait_for_end_of(mark)


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study of the tiny data set; keywords change its keys."""
    write_prepared(tmp_path / "data")
    return partial(write_study, tmp_path)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Machines]]:
    """Starts a cluster of so many nodes, which ends with the test."""
    # As in `cluster.process.ray_session`: loopback is loopback.
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    started: list[Machines] = []

    def start(count: int) -> Machines:
        started.append(Machines(count))
        return started[-1]

    yield start
    for one in started:
        one.cluster.shutdown()
