"""Compaction: whatever is killed and whenever one reads, each row is there once, in a folder and on S3."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.cli.compact import command
from cluster.drive import run as running
from cluster.drive.events import Event, NotCompacted
from cluster.summary import compact as compaction
from cluster.summary import query
from cluster.summary.compact import compact
from cluster.summary.compacted import holders, replaced
from cluster.summary.driver import lease
from cluster.summary.driver.only import only_driver
from cluster.summary.problems import Problem
from cluster.summary.scan import LISTINGS_OF_A_FOLDER
from cluster.summary.store import ConflictError, Summary
from tests.contracts.test_summary import EVALUATION, STUDY, TRIAL, locate
from trainer.data.store import Folder
from trainer.errors import InputError, NotReadyError

Rows = tuple[list[dict[str, Any]], list[dict[str, Any]]]
TRIALS = ("00aa", "00ff", "0b1c")


class KilledError(BaseException):
    """What a kill looks like to the code it stops."""


def write(summary: Summary, *trials: str) -> None:
    for trial_id in trials:
        summary.attempt_started("wiki", trial_id, 1, {})
        for part, update in enumerate((10, 20)):
            row = {**EVALUATION, "trial_id": trial_id, "update": update}
            summary.write_evaluations([row], part=part)
        summary.write_trial({**TRIAL, "trial_id": trial_id})


def rows(summary: Summary) -> Rows:
    evaluations = query.evaluations(summary).sort_by([("trial_id", "ascending"), ("update", "ascending")])
    return query.trials(summary, "wiki").sort_by("trial_id").to_pylist(), evaluations.to_pylist()


@pytest.fixture
def summary(place: str) -> Summary:
    """A study with rows of three trials."""
    one = Summary(place)
    one.write_study(STUDY)
    write(one, *TRIALS)
    return one


@pytest.fixture
def around(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], None]], None]:
    """Call something before each change that is made to the store, and after the last; one at a time."""
    monkeypatch.setattr(compaction, "AT_ONCE", 1)
    kind = type(summary.store)

    def set_up(call: Callable[[str], None]) -> None:
        for name in ("create", "delete", "sweep"):
            original = getattr(kind, name)

            def changed(self: Any, *arguments: Any, original: Any = original, name: str = name) -> Any:
                call(f"before {name}")
                answer = original(self, *arguments)
                call(f"after {name}")
                return answer

            monkeypatch.setattr(kind, name, changed)

    return set_up


def test_a_study_becomes_one_object_for_each_table(summary: Summary) -> None:
    before = rows(summary)
    assert compact(summary, "wiki") == 9
    assert rows(summary) == before
    assert [name for name in summary.store.names() if not name.startswith(("attempts/", "studies/"))] == [
        "evaluations/study=wiki/whole.000000001.parquet",
        "trials/study=wiki/whole.000000001.parquet",
    ]
    assert summary.lost_attempts("wiki") == []
    assert summary.next_attempt("wiki", "00ff") == 2
    filesystem, path = locate(summary.uri)
    whole = pq.read_table(f"{path}/trials/study=wiki/whole.000000001.parquet", filesystem=filesystem)
    assert whole.num_rows == 3, "any reader of Parquet reads it"


def test_twice_is_once_and_what_comes_later_is_added(summary: Summary) -> None:
    compact(summary, "wiki")
    before = summary.store.names()
    assert compact(summary, "wiki") == 0
    assert summary.store.names() == before
    write(summary, "0d0d")
    both = rows(summary)
    assert [row["trial_id"] for row in both[0]] == [*TRIALS, "0d0d"]
    assert compact(summary, "wiki") == 5
    assert rows(summary) == both
    assert "trials/study=wiki/whole.000000002.parquet" in summary.store.names()
    assert summary.lost_attempts("wiki") == []


def test_a_writer_whose_retry_comes_late_adds_nothing(summary: Summary) -> None:
    before = rows(summary)
    for _ in range(2):
        compact(summary, "wiki")
        summary.write_trial({**TRIAL, "trial_id": "00ff"})
        summary.write_evaluations([{**EVALUATION, "trial_id": "00ff", "update": 10}], part=0)
        assert rows(summary) == before
        assert summary.lost_attempts("wiki") == []
        write(summary, "0d0d")
        before = rows(summary)


def test_a_kill_at_any_point_loses_and_doubles_nothing(
    summary: Summary, around: Callable[[Callable[[str], None]], None]
) -> None:
    until_death = -1

    def die(_: str) -> None:
        nonlocal until_death
        until_death -= 1
        if until_death == 0:
            raise KilledError

    around(die)
    for point in itertools.count(1):
        summary.write_trial({**TRIAL, "trial_id": f"{point:04x}f"})
        before, until_death = rows(summary), point
        try:
            compact(summary, "wiki")
        except KilledError:
            assert rows(summary) == before
            assert summary.lost_attempts("wiki") == []
        else:
            until_death = -1
            break
    assert point > 12
    assert rows(summary) == before
    assert len(summary.store.names("trials/")) == len(summary.store.names("evaluations/")) == 1


def test_a_reader_beside_it_sees_each_row_once(
    summary: Summary, around: Callable[[Callable[[str], None]], None]
) -> None:
    before, seen = rows(summary), []
    around(lambda _: seen.append(rows(summary) == before and not summary.lost_attempts("wiki")))
    compact(summary, "wiki")
    assert len(seen) > 20
    assert all(seen)


def test_a_reader_whose_list_is_old_lists_again(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    before, kind = query.trials(summary, "wiki").sort_by("trial_id"), type(summary.store)
    listing = "names" if not summary.uri.startswith("s3://") else "versions"
    original, listed = getattr(kind, listing), []

    def overtaken(self: Any, prefix: str = "") -> Any:
        found = original(self, prefix)
        listed.append(prefix)
        if len(listed) == 2 or listing == "versions":
            monkeypatch.setattr(kind, listing, original)
            compact(summary, "wiki")
        return found

    monkeypatch.setattr(kind, listing, overtaken)
    assert query.trials(summary, "wiki").sort_by("trial_id").equals(before)
    assert listed
    assert len(summary.store.names("trials/")) == 1


def test_a_listing_that_saw_neither_the_small_nor_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = Summary(str(tmp_path))
    write(summary, *TRIALS)
    before, original = rows(summary), Folder.names

    def too_late_and_too_early(self: Folder, prefix: str = "") -> list[str]:
        monkeypatch.setattr(Folder, "names", original)
        compact(summary, "wiki")
        return []

    monkeypatch.setattr(Folder, "names", too_late_and_too_early)
    assert rows(summary) == before


def test_what_is_always_gone_is_said(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(summary.store)
    listing = "names" if not summary.uri.startswith("s3://") else "versions"
    ghost = "trials/study=wiki/00ee-1.parquet"
    monkeypatch.setattr(kind, listing, lambda *_: dict.fromkeys([ghost], "etag"))
    with pytest.raises(NotReadyError, match="deleted while the summary was read"):
        query.trials(summary, "wiki")


def test_columns_of_a_newer_version_and_nan_survive(summary: Summary) -> None:
    filesystem, path = locate(summary.uri)
    newer = pa.table({"trial_id": ["0fff"], "attempt": [1], "state": ["COMPLETED"], "mood": [{"good": 1.5}]})
    pq.write_table(newer, f"{path}/trials/study=wiki/0fff-1.parquet", filesystem=filesystem)
    older = pa.table({"trial_id": ["0eee"], "attempt": pa.array([1], pa.int32()), "state": ["LOST"], "seed": [None]})
    pq.write_table(older, f"{path}/trials/study=wiki/0eee-1.parquet", filesystem=filesystem)
    summary.write_trial({**TRIAL, "trial_id": "0ddd", "test_loss": float("nan"), "error": None})
    before = str(rows(summary))
    compact(summary, "wiki")
    assert str(rows(summary)) == before
    whole = pq.read_table(f"{path}/trials/study=wiki/whole.000000001.parquet", filesystem=filesystem)
    assert [row["mood"] for row in whole.sort_by("trial_id").to_pylist()] == [*[None] * 5, {"good": 1.5}]


def test_what_cannot_be_one_table_is_left(summary: Summary) -> None:
    filesystem, path = locate(summary.uri)
    for name, mood in (("0f01", "good"), ("0f02", [1])):
        newer = pa.table({"trial_id": [name], "attempt": [1], "state": ["COMPLETED"], "mood": [mood]})
        pq.write_table(newer, f"{path}/trials/study=wiki/{name}-1.parquet", filesystem=filesystem)
    before = summary.store.names()
    with pytest.raises(InputError, match="do not fit into one table"):
        compact(summary, "wiki")
    assert summary.store.names() == before


def test_of_two_that_compact_one_wins(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    before, publish = rows(summary), compaction.publish

    def overtaken(store: Any, name: str, body: bytes) -> None:
        monkeypatch.setattr(compaction, "publish", publish)
        write(summary, "0d0d")
        compact(summary, "wiki")
        publish(store, name, body)

    monkeypatch.setattr(compaction, "publish", overtaken)
    with pytest.raises(ConflictError, match=r"whole\.000000001\.parquet was written by somebody else"):
        compact(summary, "wiki")
    assert len(rows(summary)[0]) == len(before[0]) + 1


def test_the_command_leaves_a_study_that_runs(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_RENEWALS", 0.1)
    monkeypatch.setattr(lease, "SECONDS_TO_WATCH", 10.0)
    summary.write_study({**STUDY, "study": "other"})

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(command, [*arguments, "--summary", summary.uri], standalone_mode=False)

    with only_driver(summary, "wiki", print):
        result = run()
        assert (result.exception, result.stdout) == (None, "other: nothing to do\n")
        assert "left alone: study 'wiki' is being run" in result.stderr
        assert isinstance(run("wiki").exception, InputError)
    assert run().stdout == "other: nothing to do\nwiki: removed 9 small files\n"
    assert "did you mean 'wiki'" in str(run("wikki").exception)


def test_a_run_that_cannot_compact_says_so_and_ends_as_it_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = Summary(str(tmp_path))
    write(summary, *TRIALS)

    events: list[Event] = []

    def refuse(*_: object) -> None:
        raise InputError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "publish", refuse)
        running._compact(summary, "wiki", events.append)
    assert events == [NotCompacted(reason="no room")]
    assert len(summary.store.names("trials/")) == 3
    running._compact(summary, "wiki", events.append)
    assert len(events) == 1
    assert len(summary.store.names("trials/")) == 1


class History:
    """What a folder holds after each change that two compactions make, the second of them with new rows."""

    def __init__(self, folder: Path) -> None:
        self.summary, self.states, self.contents = Summary(str(folder)), [set[str]()], dict[str, bytes]()
        kind = type(self.summary.store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compaction, "AT_ONCE", 1)
            for name in ("create", "delete"):
                patch.setattr(kind, name, self._noted(getattr(kind, name)))
            write(self.summary, *TRIALS)
            compact(self.summary, "wiki")
            write(self.summary, "0d0d", "0e0e")
            compact(self.summary, "wiki")

    def _noted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def changed(store: Any, *arguments: Any) -> Any:
            answer = original(store, *arguments)
            names = set(store.names("trials/"))
            if names != self.states[-1]:
                self.states.append(names)
                self.contents |= {name: store.read(name) for name in names - set(self.contents)}
            return answer

        return changed

    def trials(self, names: Iterable[str]) -> list[str]:
        """The trials in these objects, as often as they are there."""
        tables = (pq.read_table(pa.BufferReader(self.contents[name]), columns=["trial_id"]) for name in names)
        return sorted(trial for table in tables for trial in table["trial_id"].to_pylist())

    def live(self, names: Iterable[str]) -> list[str]:
        """What a reader with these names before it reads; whole ones that were replaced have no further row."""
        problems: list[Problem] = []
        found = holders(names, self.contents.__getitem__, problems.append)
        assert problems == []
        assert set(self.trials(found.earlier)) <= set(self.trials(found.live))
        return list(found.live)

    def check(self, listing: set[str], first: int, last: int) -> None:
        """A reader who listed this after the state `first`, and reads in `last`, has each row once or lists again."""
        read = self.live(listing)
        if set(read) <= self.states[last]:
            found = self.trials(read)
            assert len(found) == len(set(found))
            assert set(found) >= set(self.trials(self.live(self.states[first])))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(tmp_path_factory.mktemp("history"))


def moments(history: History, data: st.DataObject, count: int) -> list[int]:
    return sorted(data.draw(st.lists(st.integers(0, len(history.states) - 1), min_size=count, max_size=count)))


@settings(deadline=None)
@given(st.data())
def test_no_listing_that_a_folder_may_give_hides_or_doubles_a_row(history: History, data: st.DataObject) -> None:
    # A listing that lasts from one state to another has what is there all the time, and may have the rest.
    listing: set[str] = set()
    *times, last = moments(history, data, 2 * LISTINGS_OF_A_FOLDER + 1)
    for begin, end in zip(times[::2], times[1::2], strict=True):
        during = history.states[begin : end + 1]
        always = set.intersection(*during)
        perhaps = sorted(set.union(*during) - always)
        listing |= always | set(data.draw(st.lists(st.sampled_from(perhaps), unique=True) if perhaps else st.just([])))
    history.check(listing, times[0], last)


@settings(deadline=None)
@given(st.data())
def test_no_listing_in_pages_hides_or_doubles_a_row(history: History, data: st.DataObject) -> None:
    # S3: each page is of one moment, and pages follow the names' order.
    every = sorted(set.union(*history.states))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(every)), min_size=2, max_size=2)))
    *times, last = moments(history, data, 4)
    pages = zip(itertools.pairwise([0, *cuts, len(every)]), times, strict=True)
    listing = {name for (begin, end), time in pages for name in every[begin:end] if name in history.states[time]}
    history.check(listing, times[0], last)


def test_what_a_whole_object_replaces_is_kept_in_the_next(history: History) -> None:
    assert len(history.states) == 14
    assert replaced(history.contents["trials/study=wiki/whole.000000002.parquet"]) == [
        *(f"{name}-1.parquet" for name in sorted([*TRIALS, "0d0d", "0e0e"])),
        "whole.000000001.parquet",
    ]
