"""Whole studies are moved, merged and deleted, in a folder and on S3: killed at any time, no row is lost or doubled."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster.summary import compact as compaction
from cluster.summary import query
from cluster.summary.compact import compact
from cluster.summary.driver import lease
from cluster.summary.driver.only import only_driver
from cluster.summary.store import Summary
from cluster.summary.studies import change, notes, unfinished
from cluster.summary.studies.change import copy, delete, merge, move
from cluster.summary.studies.place import FOLDERS, StudyPlace
from cluster.summary.studies.unfinished import refuse_unfinished
from cluster.summary.tables import SCHEMAS
from tests.contracts.test_compact import KilledError
from tests.contracts.test_summary import EVALUATION, NOW, PROBE, STUDY, TRIAL
from trainer.errors import InputError

SPEC = {"study": "wiki", "data": "/data", "summary": "./summary", "task": "classification"}
TRIALS = ("00aa", "00ff")


def write_trials(place: StudyPlace, *trials: str, attempt: int = 1) -> None:
    for trial_id in trials:
        at = {"study": place.study, "trial_id": trial_id, "attempt": attempt}
        place.summary.attempt_started(place.study, trial_id, attempt, {"started_at": NOW})
        place.summary.write_evaluations([{**EVALUATION, **at, "update": update} for update in (10, 20)], part=0)
        place.summary.write_trial({**TRIAL, **at, "test_loss": float("nan")})
        place.store.write(place.folder("checkpoints") + f"{trial_id}/best.npz", f"weights {attempt}".encode())


def written(place: StudyPlace, *trials: str) -> StudyPlace:
    """A study with everything that a study can have."""
    place.summary.write_study({**STUDY, "study": place.study, "spec_json": json.dumps({**SPEC, "study": place.study})})
    place.summary.write_probe([{**PROBE, "study": place.study}])
    fit = {"study": place.study, "fit_id": "f1", "origin": "foreign", "started_at": NOW, "global_batch": 8}
    place.summary.write_fit([{**fit, "epoch": epoch, "training_loss": epoch / 3} for epoch in (1, 2)], part=0)
    write_trials(place, *trials or TRIALS)
    notes.add(place, "why", at=NOW)
    return place


def rows(place: StudyPlace) -> list[list[dict[str, Any]]]:
    """All rows of a study, without its name, where it is and under which spec's words; NaN as text."""
    tables = query.trials, query.evaluations, query.probes, query.fits, query.studies
    found = [table(place.summary, place.study).drop_columns(["study"]).to_pylist() for table in tables]
    for row in found[-1]:
        row["spec_json"] = json.dumps({**json.loads(row["spec_json"]), "study": "", "summary": ""}, sort_keys=True)
    return [sorted(map(repr, of_table)) for of_table in found]  # type: ignore[misc]


def others(place: StudyPlace) -> list[Any]:
    """What else belongs to a study."""
    weights = [place.store.read(place.folder("checkpoints") + name) for name in place.names("checkpoints")]
    return [notes.notes(place), weights, place.names("attempts"), place.summary.lost_attempts(place.study)]


@pytest.fixture
def summary(place: str) -> Summary:
    return Summary(place)


@pytest.fixture
def dies(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set before which change of the store from now on a process dies."""
    monkeypatch.setattr(compaction, "AT_ONCE", 1)
    kind, left = type(summary.store), [-1]

    def step() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KilledError

    for name in ("create", "write", "delete"):
        original = getattr(kind, name)

        def changed(self: Any, key: str, *more: Any, original: Any = original) -> Any:
            # A dying process gives no lease back; here it does, since a lease would be watched for minutes.
            if key.endswith(".json") and key[:-5].isdecimal():
                return original(self, key, *more)
            step()
            return original(self, key, *more)

        monkeypatch.setattr(kind, name, changed)

    def set_up(changes: int) -> None:
        left[0] = changes

    return set_up


def silent(_: str) -> None:
    """Say nothing."""


def test_every_table_of_a_study_is_its_own() -> None:
    assert set(SCHEMAS) <= set(FOLDERS)


def test_a_renamed_study_has_all_that_it_had(summary: Summary) -> None:
    old, new = written(StudyPlace(summary, "wiki")), StudyPlace(summary, "news")
    before, besides = rows(old), others(old)
    move(old, new, silent)
    assert rows(new) == before
    assert others(new) == besides
    assert not any(old.names(folder) for folder in FOLDERS)
    assert query.names(summary) == ["news"]
    [spec] = query.studies(summary, "news").to_pylist()
    assert json.loads(spec["spec_json"])["study"] == "news"
    assert spec["spec_hash"] == STUDY["spec_hash"]
    assert summary.next_attempt("news", "00ff") == 2
    assert unfinished.unfinished(summary) == {}


def test_a_moved_study_and_its_copy(summary: Summary) -> None:
    here, there = written(StudyPlace(summary, "wiki")), StudyPlace(Summary(f"{summary.uri}-2"), "wiki")
    before, besides = rows(here), others(here)
    copy(here, there, silent)
    assert (rows(here), rows(there)) == (before, before)
    assert others(there) == besides
    delete(there, silent)
    move(here, there, silent)
    assert (rows(there), others(there)) == (before, besides)
    assert query.names(summary) == []
    [spec] = query.studies(there.summary, "wiki").to_pylist()
    assert json.loads(spec["spec_json"])["summary"] == there.summary.uri


def test_a_move_that_is_killed_at_any_point_loses_nothing_and_goes_on(
    summary: Summary, dies: Callable[[int], None], long: bool
) -> None:
    strides = (1, 1) if long else (12, 4)
    for point in itertools.count(1, strides[0] if summary.uri.startswith("s3://") else strides[1]):
        old, new = written(StudyPlace(summary, f"old{point}"), "00aa"), StudyPlace(summary, f"new{point}")
        before, besides = rows(old), others(old)
        dies(point)
        try:
            move(old, new, silent)
        except KilledError:
            dies(-1)
            whole = [place for place in (old, new) if rows(place)[:2] == before[:2]]
            assert whole, "each trial can be read in one of the two"
            assert all(rows(place)[0] in (before[0], []) for place in (old, new)), "no reader sees a part of the trials"
            if set(unfinished.unfinished(summary)) & {old.study}:
                with pytest.raises(InputError, match=rf"half-way through `batchscope studies rename {old.study}"):
                    refuse_unfinished(summary, old.study)
            if old.is_there() or old.study in unfinished.unfinished(summary):
                move(old, new, silent)
        else:
            dies(-1)
            break
        assert (rows(new), others(new)) == (before, besides)
        assert not old.is_there()
        assert unfinished.unfinished(summary) == {}
        delete(new, silent)
    assert point > 15


def test_what_is_noted_while_a_study_moves_moves_with_it(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = written(StudyPlace(summary, "wiki")), StudyPlace(summary, "news")
    arrive = change._arrive

    def arrive_and_note(moved: Any) -> None:
        arrive(moved)
        notes.add(old, "added by another process", at=NOW + timedelta(hours=1))

    monkeypatch.setattr(change, "_arrive", arrive_and_note)
    move(old, new, silent)
    assert [note.text for note in notes.notes(new)] == ["why", "added by another process"]
    assert not old.is_there()


def test_a_copy_that_is_killed_is_whole_when_it_is_run_again(summary: Summary, dies: Callable[[int], None]) -> None:
    here, there = written(StudyPlace(summary, "wiki")), StudyPlace(summary, "again")
    before, besides = rows(here), others(here)
    # Well after its mark, and before the specs, which come last.
    dies(8)
    with pytest.raises(KilledError):
        copy(here, there, silent)
    dies(-1)
    assert rows(there) != before
    copy(here, there, silent)
    assert (rows(there), others(there)) == (before, besides)
    assert (rows(here), others(here)) == (before, besides)
    assert unfinished.unfinished(summary) == {}


def test_a_deletion_that_is_killed_at_any_point_goes_on(summary: Summary, dies: Callable[[int], None]) -> None:
    for point in itertools.count(1, 3 if summary.uri.startswith("s3://") else 1):
        place = written(StudyPlace(summary, "wiki"), "00aa")
        before = rows(place)[0]
        dies(point)
        try:
            delete(place, silent)
        except KilledError:
            dies(-1)
            assert rows(place)[0] in (before, [])
            if place.is_there() or unfinished.unfinished(summary):
                delete(place, silent)
        else:
            dies(-1)
            break
        assert not place.is_there()
        assert unfinished.unfinished(summary) == {}
    assert point > 5


def test_two_machines_that_compacted_to_one_name_are_merged_whole(summary: Summary) -> None:
    here, there = written(StudyPlace(summary, "wiki"), "00aa", "00ff"), StudyPlace(Summary(f"{summary.uri}-2"), "wiki")
    compact(summary, "wiki")
    copy(here, there, silent)
    write_trials(here, "0aaa")
    write_trials(there, "0bbb", "0ccc")
    for one in (here, there):
        compact(one.summary, "wiki")
    wholes = [one.names("trials") for one in (here, there)]
    assert wholes[0] == wholes[1] == ["whole.000000002.parquet"]
    first = NOW - timedelta(days=1)
    spec = {**STUDY, "spec_json": json.dumps(SPEC)}
    there.summary.write_study({**spec, "declared_at": first, "started_at": NOW + timedelta(days=1), "trials": 50})
    for _ in range(2):
        merge(there, here, silent)
        assert sorted(query.trials(summary, "wiki")["trial_id"].to_pylist()) == ["00aa", "00ff", "0aaa", "0bbb", "0ccc"]
        assert len(query.evaluations(summary, "wiki")) == 10
        assert summary.lost_attempts("wiki") == []
        assert here.names("trials") == ["whole.000000003.parquet"]
        [row] = query.studies(summary, "wiki").to_pylist()
        assert (row["declared_at"], row["started_at"], row["trials"]) == (first, NOW + timedelta(days=1), 50)
    assert len(query.trials(there.summary, "wiki")) == 4, "the source stays as it is"


def test_a_later_attempt_brings_its_checkpoints(summary: Summary) -> None:
    here, there = written(StudyPlace(summary, "wiki"), "00aa"), StudyPlace(Summary(f"{summary.uri}-2"), "wiki")
    copy(here, there, silent)
    write_trials(there, "00aa", attempt=2)
    merge(there, here, silent)
    assert others(here)[1] == [b"weights 2"]
    write_trials(here, "00aa", attempt=3)
    merge(there, here, silent)
    assert others(here)[1] == [b"weights 3"]


def test_two_rows_of_one_attempt_are_refused_and_nothing_changes(summary: Summary) -> None:
    here, there = written(StudyPlace(summary, "wiki"), "00aa"), StudyPlace(Summary(f"{summary.uri}-2"), "wiki")
    there.summary.write_study({**STUDY, "spec_json": json.dumps(SPEC)})
    there.summary.write_trial({**TRIAL, "trial_id": "0bbb"})
    there.summary.write_trial({**TRIAL, "trial_id": "00aa", "test_loss": 0.5})
    before = summary.store.versions()
    with pytest.raises(InputError, match=r"both have trial_id 00aa, attempt 1, with another test_loss: two machines"):
        merge(there, here, silent)
    assert {name: mark for name, mark in summary.store.versions().items() if not name.startswith("drivers/")} == before


def test_another_study_of_the_same_name_is_refused(summary: Summary) -> None:
    here, there = written(StudyPlace(summary, "wiki"), "00aa"), StudyPlace(Summary(f"{summary.uri}-2"), "wiki")
    there.summary.write_study({**STUDY, "spec_json": json.dumps({**SPEC, "task": "regression"}), "data_hash": "0ther"})
    with pytest.raises(InputError, match=r"another study .*task: regression|task: classification -> regression"):
        merge(there, here, silent)
    for bring in (copy, move):
        with pytest.raises(InputError, match="already"):
            bring(there, here, silent)


def test_a_study_that_runs_is_left_alone(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_RENEWALS", 0.1)
    monkeypatch.setattr(lease, "SECONDS_TO_WATCH", 10.0)
    place, new = written(StudyPlace(summary, "wiki"), "00aa"), StudyPlace(summary, "news")
    before = rows(place)
    with only_driver(summary, "wiki", silent):
        for change in (
            lambda: move(place, new, silent),
            lambda: delete(place, silent),
            lambda: copy(place, new, silent),
        ):
            with pytest.raises(InputError, match=r"study 'wiki' is being run by another process \(\d+ on "):
                change()
        notes.add(place, "runs", at=datetime.now(UTC))
    assert rows(place) == before
    assert [note.text for note in notes.notes(place)] == ["why", "runs"]


def test_what_cannot_be_read_is_not_left_behind(summary: Summary) -> None:
    place, new = written(StudyPlace(summary, "wiki")), StudyPlace(summary, "news")
    name = "trials/study=wiki/00ff-1.parquet"
    whole = summary.store.read(name)
    summary.store.write(name, whole[:-9])
    with pytest.raises(InputError, match=r"00ff-1\.parquet cannot be taken along"):
        move(place, new, silent)
    assert summary.store.read(name) == whole[:-9]
    assert not new.is_there()
    delete(place, silent)
    assert not place.is_there()


def test_what_is_not_there_leaves_no_trace(summary: Summary) -> None:
    written(StudyPlace(summary, "wiki"), "00aa")
    before = summary.store.names()
    with pytest.raises(InputError, match="did you mean 'wiki'"):
        delete(StudyPlace(summary, "wikki"), silent)
    with pytest.raises(InputError, match="there is no study 'wikki'"):
        move(StudyPlace(summary, "wikki"), StudyPlace(summary, "news"), silent)
    with pytest.raises(InputError, match="name another place"):
        move(StudyPlace(summary, "wiki"), StudyPlace(summary, "wiki"), silent)
    assert summary.store.names() == before
