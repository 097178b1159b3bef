"""The lease of a study: one driver at a time, a dead one's successor waits a little, a second one is refused."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from cluster.stores import store_of
from cluster.summary.driver import lease
from cluster.summary.driver.lease import held
from cluster.summary.driver.only import only_driver
from cluster.summary.store import Summary
from trainer.data.store import Store
from trainer.errors import InputError, NotReadyError


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


@pytest.mark.slow
def test_the_lease_of_a_dead_driver_is_taken_over_after_a_watch(summary: Store) -> None:
    dead = json.dumps({"host": "h", "process": 1, "token": "t", "renewals": 7}).encode()
    summary.write("drivers/study=a/000000004.json", dead)
    said: list[str] = []
    with held(summary, "a", said.append):
        assert summary.names("drivers/")[-1] == "drivers/study=a/000000005.json"
    assert "driver on h" in said[0]


@pytest.mark.slow
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


class Clock:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of leases; nothing is renewed but by the test."""
    one = Clock()
    monkeypatch.setattr(lease, "time", one)
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_RENEWALS", 1000.0)
    return one


def fields(store: Store, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.read(f"drivers/study=a/{number:09d}.json"))
    return found


def test_a_lease_that_is_renewed_is_held(summary: Store, clock: Clock) -> None:
    with held(summary, "a", silent) as own:
        for _ in range(9):
            clock.seconds += 100
            own.renew()
            assert own.lost() is None
        assert fields(summary, 1)["renewals"] == 9
    assert fields(summary, 1)["renewals"] == -1


def test_a_holder_that_stood_still_neither_renews_nor_goes_on(summary: Store, clock: Clock) -> None:
    with held(summary, "a", silent) as own:
        clock.seconds += 220
        own.renew()
        problem = own.lost()
        assert isinstance(problem, NotReadyError)
        assert "could not be reached for 120 s" in str(problem)
        assert "run the same command again" in str(problem)
        assert "\n" not in str(problem)
        clock.seconds = 1000.0
        assert own.lost() is problem, "what was lost stays lost"
    assert fields(summary, 1)["renewals"] == 0, "neither renewed nor given back"


def test_a_holder_that_stood_still_while_it_renewed_goes_no_further(
    summary: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = type(summary).write

    def slow(self: Store, name: str, content: bytes) -> None:
        original(self, name, content)
        clock.seconds += 220

    with held(summary, "a", silent) as own:
        monkeypatch.setattr(type(summary), "write", slow)
        own.renew()
        assert own.lost() is not None


def test_a_store_that_hangs_loses_the_lease_in_time(
    summary: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, leave = threading.Event(), threading.Event()

    def hangs(self: Store, name: str, content: bytes) -> None:
        began.set()
        leave.wait(20)
        raise NotReadyError("the network is gone")

    with held(summary, "a", silent) as own:
        monkeypatch.setattr(type(summary), "write", hangs)

        def renew() -> None:
            with pytest.raises(NotReadyError):
                own.renew()

        renewing = threading.Thread(target=renew)
        renewing.start()
        assert began.wait(10)
        clock.seconds += 124
        assert own.lost() is not None, "told while the call still hangs"
        leave.set()
        renewing.join(10)


def test_a_holder_that_was_succeeded_touches_nothing(summary: Store, clock: Clock) -> None:
    with held(summary, "a", silent) as own:
        newer = json.dumps({"host": "h", "process": 1, "token": "t", "renewals": 3}).encode()
        summary.create("drivers/study=a/000000002.json", newer)
        own.renew()
        assert "another driver has taken over the study" in str(own.lost())
    assert fields(summary, 1)["renewals"] == 0
    assert fields(summary, 2)["renewals"] == 3


def test_a_holder_that_was_succeeded_unseen_gives_nothing_back(summary: Store, clock: Clock) -> None:
    newer = json.dumps({"host": "h", "process": 1, "token": "t", "renewals": 3}).encode()
    with held(summary, "a", silent):
        summary.create("drivers/study=a/000000002.json", newer)
        summary.delete("drivers/study=a/000000001.json")
    assert summary.names("drivers/") == ["drivers/study=a/000000002.json"]
    assert fields(summary, 2)["renewals"] == 3


def test_a_lease_that_was_deleted_is_lost(summary: Store, clock: Clock) -> None:
    with held(summary, "a", silent) as own:
        summary.delete("drivers/study=a/000000001.json")
        own.renew()
        assert "it was deleted" in str(own.lost())
    assert summary.names("drivers/") == []


@pytest.mark.parametrize("damage", [b"{", b"", b"[]", b'{"renewals": "many"}', b"[" * 100_000])
def test_a_damaged_lease_is_watched_as_any_other(summary: Store, clock: Clock, damage: bytes) -> None:
    summary.write("drivers/study=a/000000004.json", damage)
    summary.write("drivers/study=a/notes.txt", b"by hand")
    said: list[str] = []
    with held(summary, "a", said.append):
        assert "drivers/study=a/000000005.json" in summary.names("drivers/")
    assert "was not given back by its driver on an unknown machine" in said[0]


def test_the_driver_that_followed_gave_its_own_back_meanwhile(
    summary: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary.write("drivers/study=a/000000001.json", b"{}")
    original, seen = type(summary).names, []

    def overtaken(self: Store, prefix: str = "") -> list[str]:
        found = original(self, prefix)
        if not seen:
            seen.append(found)
            summary.write("drivers/study=a/000000002.json", json.dumps({"renewals": -1}).encode())
            summary.delete("drivers/study=a/000000001.json")
        return found

    monkeypatch.setattr(type(summary), "names", overtaken)
    with held(summary, "a", silent):
        assert fields(summary, 3)["renewals"] == 0


def test_a_lease_that_cannot_be_given_back_is_said(summary: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Store, name: str, content: bytes) -> None:
        raise NotReadyError("the network is gone")

    said: list[str] = []
    with monkeypatch.context() as patch, held(summary, "a", said.append):
        patch.setattr(type(summary), "write", refuse)
    assert said == ["study a was not given back to the next driver: the network is gone"]


def test_a_lock_that_was_deleted_with_its_folder_is_lost(tmp_path: Path) -> None:
    summary = Summary(str(tmp_path / "summary"))

    def delete_it() -> None:
        with only_driver(summary, "a", silent) as hold:
            assert hold.lost() is None
            shutil.rmtree(summary.uri)
            assert hold.lost() is not None
            with only_driver(summary, "a", silent) as second:
                assert hold.lost() is not None, "another file in its place is not this lock"
                assert second.lost() is None

    with pytest.raises(NotReadyError, match="was deleted or replaced while study 'a' ran"):
        delete_it()


def test_a_lease_that_is_lost_ends_its_driver_without_a_signal(bucket: str, clock: Clock) -> None:
    def stand_still() -> None:
        with only_driver(Summary(f"s3://{bucket}/summary"), "a", silent) as hold:
            clock.seconds += 124
            assert hold.lost() is not None

    with pytest.raises(NotReadyError, match="could not be reached for 120 s"):
        stand_still()
