"""The lease of a study: one driver at a time, a dead one's successor waits a little, a second one is refused."""

import json
import threading
from pathlib import Path

import pytest

from cluster.stores import store_of
from cluster.summary import lease
from cluster.summary.lease import held
from trainer.errors import InputError, NotReadyError
from trainer.store import Store


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_RENEWALS", 0.05)
    monkeypatch.setattr(lease, "SECONDS_TO_WATCH", 1.0)


@pytest.fixture(params=["folder", "s3"])
def summary(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return store_of(str(tmp_path / "summary"))
    return store_of(f"s3://{request.getfixturevalue('bucket')}/summary")


def silent(line: str) -> None:
    pass


def test_one_after_another_and_nothing_piles_up(summary: Store) -> None:
    said: list[str] = []
    for _ in range(3):
        with held(summary, "a", said.append):
            pass
    assert said == []
    assert summary.names("drivers/") == ["drivers/study=a/000000003.json"]


def test_a_second_driver_is_refused_while_the_first_lives(summary: Store) -> None:
    said: list[str] = []
    with held(summary, "a", silent):
        with pytest.raises(InputError, match=r"'a' is being run by another process \(\d+ on .*stop it first"):
            held(summary, "a", said.append).__enter__()
        with held(summary, "b", silent):
            pass
    assert "was not given back" in said[0]
    with held(summary, "a", silent):
        pass


def test_the_lease_of_a_dead_driver_is_taken_over_after_a_watch(summary: Store) -> None:
    dead = json.dumps({"host": "h", "process": 1, "token": "t", "renewals": 7}).encode()
    summary.write("drivers/study=a/000000004.json", dead)
    said: list[str] = []
    with held(summary, "a", said.append):
        assert summary.names("drivers/")[-1] == "drivers/study=a/000000005.json"
    assert "driver on h" in said[0]


def test_of_several_that_follow_a_dead_one_one_succeeds(summary: Store) -> None:
    dead = json.dumps({"host": "h", "process": 1, "token": "t", "renewals": 7}).encode()
    summary.write("drivers/study=a/000000001.json", dead)
    outcomes: list[str] = []
    ready, leave = threading.Barrier(4), threading.Event()

    def contend() -> None:
        ready.wait()
        try:
            with held(summary, "a", silent):
                outcomes.append("held")
                leave.wait(20)
        except InputError:
            outcomes.append("refused")

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(outcomes) < 4 and any(thread.is_alive() for thread in threads):
        leave.wait(0.05)
    leave.set()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["held", "refused", "refused", "refused"]


def test_a_driver_whose_lease_cannot_be_renewed_is_asked_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SECONDS_WITHOUT_RENEWAL", 0.2)
    asked = threading.Event()
    monkeypatch.setattr(lease.os, "kill", lambda pid, number: asked.set())
    store = store_of(str(tmp_path))

    def failing(self: Store, name: str, content: bytes) -> None:
        if json.loads(content)["renewals"] > 0:
            raise NotReadyError("the network is gone")

    with held(store, "a", silent):
        monkeypatch.setattr(type(store), "write", failing)
        assert asked.wait(10)
