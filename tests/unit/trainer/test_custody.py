"""The data that a worker opens are those that the driver read: whatever was changed between is named, and not used."""

import hashlib
import json
import multiprocessing
import queue
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cluster.drive.opening import opened
from cluster.lanes import check
from cluster.lanes.events import TrialEnded
from cluster.lanes.failure import Fault
from cluster.measure import body, processes
from cluster.study import spec
from cluster.study.capacity import Capacity
from cluster.study.preflight import examine
from cluster.study.study import Study
from tests.conftest import hash_of, write_prepared
from tests.support.unlaned import schedule
from trainer.data.manifest import SPLITS, identified, read
from trainer.data.splits import open_data
from trainer.data.store import Folder
from trainer.errors import DataError, InputError
from trainer.report import State
from trainer.trial import TrialSpec

FILES = [
    "manifest.json",
    "tokenizer.json",
    *(f"{split}-{number:05d}.parquet" for split in SPLITS for number in range(3)),
]


def write_data(folder: Path, *, seed: int = 0) -> None:
    """A prepared data set of text with a tokenizer; another seed gives another one, in files of the same names."""
    manifest = write_prepared(folder, seed=seed)
    tokenizer = f'{{"seed": {seed}}}'.encode()
    (folder / "tokenizer.json").write_bytes(tokenizer)
    manifest = identified(replace(manifest, tokenizer_sha256=hashlib.sha256(tokenizer).hexdigest()))
    (folder / "manifest.json").write_text(manifest.to_json())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `data` and `other`, two prepared data sets, and an empty cache."""
    write_data(tmp_path / "data")
    write_data(tmp_path / "other", seed=1)
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def examined(here: Path) -> Study:
    """The study as the driver sees it."""
    text = (
        f"{{study: tiny, data: '{here}/data', summary: '{here}/summary', task: classification, budget: {{updates: 6}}, "
        "axes: {global_batch: [17], learning_rate: 0.01, seeds: 1}}"
    )
    return examine(spec.parse(text, where="test"), Capacity(cpus=1, gpus=0))


def all_rows(uri: Path, data_hash: str) -> list[Any]:
    """What a worker reads of the data: every row of every split, and its label."""
    data = open_data(Folder(str(uri)), data_hash)[1]
    splits = [getattr(data, name) for name in SPLITS]
    return [
        array.tolist()
        for rows in splits
        for array in (rows.tokens(np.arange(len(rows))), rows.labels(np.arange(len(rows))))
    ]


def test_what_is_as_it_was_is_opened(here: Path) -> None:
    assert all_rows(here / "data", examined(here).manifest.data_hash)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_each_file_that_was_changed_after_the_driver_read_it_is_named(here: Path, file: str, change: str) -> None:
    began_with = examined(here).manifest.data_hash
    if change == "removed":
        (here / "data" / file).unlink()
    else:
        shutil.copy(here / "other" / file, here / "data" / file)
    with pytest.raises(DataError) as caught:
        all_rows(here / "data", began_with)
    if (file, change) != ("manifest.json", "replaced"):
        assert file in str(caught.value)
        return
    assert str(caught.value) == (
        f"the data at {here}/data changed: this study was begun with {began_with[:8]}, but now "
        f"{hash_of(here / 'other')[:8]} is there: put the old data back, or give the study another name"
    )


def replace_data(here: Path) -> tuple[str, str]:
    """Put the other data set in the place of the first; the beginnings of both hashes."""
    before = hash_of(here / "data")[:8]
    shutil.rmtree(here / "data")
    (here / "other").rename(here / "data")
    return before, hash_of(here / "data")[:8]


def test_whole_other_data_are_named_with_both_hashes(here: Path) -> None:
    study = examined(here)
    before, now = replace_data(here)
    for first_rows in (None, 1):
        with pytest.raises(DataError, match=f"begun with {before}, but now {now} is there: put the old data back"):
            open_data(Folder(str(here / "data")), study.manifest.data_hash, first_rows=first_rows)


def test_a_shard_that_was_decoded_before_is_that_of_its_hash_whatever_lies_there_now(here: Path) -> None:
    began_with = hash_of(here / "data")
    rows = all_rows(here / "data", began_with)
    for file in FILES[2:]:
        shutil.copy(here / "other" / file, here / "data" / file)
    assert all_rows(here / "data", began_with) == rows


def test_a_study_does_not_go_on_with_other_data(here: Path) -> None:
    with opened(examined(here), print):
        pass
    before, now = replace_data(here)
    with pytest.raises(InputError, match=rf"{before}.*{now}"), opened(examined(here), print):
        raise AssertionError("it was opened")


@pytest.mark.parametrize("file", ["manifest.json", "tokenizer.json", "train-00001.parquet"])
def test_a_study_is_not_begun_with_a_folder_of_two_data_sets(here: Path, file: str) -> None:
    shutil.copy(here / "other" / file, here / "data" / file)
    with pytest.raises(DataError):
        examined(here)


WRONG = DataError("the data changed")


def test_wrong_data_end_the_whole_study_once_what_runs_has_saved(tiny_trial: Callable[..., TrialSpec]) -> None:
    found, board, heard = schedule()
    for _ in range(2):
        found._note(TrialEnded(trial=tiny_trial(), state=State.FAILED, error=str(WRONG), fault=Fault.DATA))
    assert len(heard) == 2
    assert board.stopped == [State.CANCELLED]
    assert not found.wait(0.0)
    found._over.set()
    with pytest.raises(DataError, match=str(WRONG)):
        found.wait(0.0)


@pytest.mark.parametrize("measuring", ["probe", "calibration"])
def test_a_measurement_ends_with_what_its_worker_found(measuring: str) -> None:
    def probed() -> None:
        raise WRONG

    def calibrated() -> Iterator[float]:
        yield 0.5
        raise WRONG

    pipe: Any = SimpleNamespace(send=(sent := []).append)
    assert not body.answered(pipe, probed if measuring == "probe" else calibrated)
    assert sent[-1:] == [WRONG]
    here, there = multiprocessing.Pipe()
    for message in sent:
        there.send(message)
    process = SimpleNamespace(kill=lambda: None, join=lambda: None)
    lane: Any = object.__new__(processes.ThrowawayLane)
    lane._workers = [(process, here, Path())]
    heard: list[float] = []
    with pytest.raises(DataError, match=str(WRONG)):
        lane.answers(heard.append)
    assert heard == sent[:-1] == ([] if measuring == "probe" else [0.5])


def test_a_check_raises_what_any_worker_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def prove(config: Any) -> None:
        raise WRONG

    class Answers(queue.Queue[Any]):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            return super().get(block, timeout)

    monkeypatch.setattr(check, "_prove", prove)
    answers = Answers()
    with pytest.raises(DataError):
        check._compare({"answers": answers})
    with pytest.raises(DataError, match=str(WRONG)):
        check._raise_wrong_data(answers)  # type: ignore[arg-type]


@pytest.mark.tf
def test_a_worker_that_finds_wrong_data_says_so_in_its_attempts_row() -> None:
    from cluster.lanes.failure import failure_of

    for workers in (1, 2):
        failure = failure_of(WRONG, workers=workers)
        assert failure is not None
        assert (failure.state, failure.error, failure.fault) == (State.FAILED, str(WRONG), Fault.DATA)


def test_old_data_without_hashes_of_all_are_opened_by_their_data_hash(here: Path) -> None:
    fields = json.loads((here / "data" / "manifest.json").read_text())
    del fields["sha256"]
    for split in fields["splits"].values():
        del split["digest"]
    (here / "data" / "manifest.json").write_text(json.dumps({**fields, "schema_version": 1, "data_hash": "old"}))
    assert not read(Folder(str(here / "data"))).verified
    assert all_rows(here / "data", "old")
