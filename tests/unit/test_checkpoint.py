"""Checkpoints: what was saved comes back to the last bit, and what is not whole does not count."""

import hashlib
import io
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.stores import store_of
from trainer.checkpoint import Checkpoints, Progress, Saved
from trainer.errors import InputError
from trainer.store import Folder


@pytest.fixture(params=["folder", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address at which nothing is yet."""
    if request.param == "folder":
        return str(tmp_path / "study" / "trial")
    return f"s3://{request.getfixturevalue('bucket')}/study/trial"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A local folder with the checkpoints of updates 10 and 20."""
    folder = tmp_path / "trial"
    for update in (10, 20):
        Checkpoints(Folder(str(folder))).save(saved(update))
    return folder


def saved(update: int, *, arrays: int = 13, best: int = 13) -> Saved:
    """A checkpoint in which every array is another one, in several shapes and dtypes."""
    random = np.random.default_rng(update)

    def some(count: int) -> list[np.ndarray]:
        return [random.normal(size=(i % 4, 3)).astype(("float32", "float64", "float16")[i % 3]) for i in range(count)]

    optimizer = [np.array(update, "int64"), np.array(0.1, "float32"), np.array([True, False]), *some(arrays)]
    progress = Progress(
        update=update,
        seconds_training=1.5,
        seconds_evaluating=0.1 + 0.2,
        loss_sum=2 / 3,
        loss_weight=4.0,
        real_tokens=1e15,
        padded_tokens=3e15,
        best_validation_loss=1e-300,
    )
    return Saved(progress=progress, weights=some(arrays), optimizer_state=optimizer, best_weights=some(best))


def assert_same(found: list[np.ndarray] | None, expected: list[np.ndarray]) -> None:
    assert found is not None
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


def assert_is_of(found: Saved | None, update: int) -> None:
    assert found is not None
    assert found.progress.update == update
    assert_same(found.weights, saved(update).weights)


def files(folder: str) -> list[str]:
    return store_of(folder).names()


def resume(update: int, ending: str) -> str:
    return f"resume-{update:012d}.{ending}"


def publish(folder: Path, name: str, archive: bytes, **description: Any) -> None:
    """Write an archive with its right hash, as somebody might who can write into the folder."""
    (folder / f"{name}.npz").write_bytes(archive)
    described = {"sha256": hashlib.sha256(archive).hexdigest(), "facts": {}, **description}
    (folder / f"{name}.json").write_text(json.dumps(described))


@pytest.mark.parametrize("best", [0, 13])
def test_what_was_saved_comes_back_in_its_order_to_the_last_bit(folder: str, best: int) -> None:
    original = saved(7, best=best)
    Checkpoints(store_of(folder)).save(original)
    found = Checkpoints(store_of(folder)).newest()
    assert found is not None
    assert found.progress == original.progress
    assert_same(found.weights, original.weights)
    assert_same(found.optimizer_state, original.optimizer_state)
    assert_same(found.best_weights, original.best_weights)


def test_an_optimiser_without_variables_is_saved_too(tmp_path: Path) -> None:
    original = Saved(progress=Progress(update=1), weights=[np.ones(2)], optimizer_state=[], best_weights=[])
    Checkpoints(Folder(str(tmp_path))).save(original)
    found = Checkpoints(Folder(str(tmp_path))).newest()
    assert found is not None
    assert found.optimizer_state == []


def test_a_folder_that_is_not_there_has_no_checkpoint(folder: str) -> None:
    assert Checkpoints(store_of(folder)).newest() is None
    assert Checkpoints(store_of(folder)).weights("best") is None


def test_the_newest_two_are_kept_and_the_newest_is_read(folder: str) -> None:
    for update in (9, 10, 100, 1000, 20000):
        Checkpoints(store_of(folder)).save(saved(update))
        assert_is_of(Checkpoints(store_of(folder)).newest(), update)
    assert files(folder) == [resume(update, ending) for update in (1000, 20000) for ending in ("json", "npz")]


def test_a_trial_that_ended_keeps_its_best_and_last_weights_and_nothing_else(folder: str) -> None:
    checkpoints = Checkpoints(store_of(folder))
    checkpoints.save(saved(1))
    checkpoints.save(saved(2))
    checkpoints.finish(best=saved(1).weights, last=saved(2).weights)
    assert files(folder) == ["best.json", "best.npz", "last.json", "last.npz"]
    assert_same(checkpoints.weights("best"), saved(1).weights)
    assert_same(checkpoints.weights("last"), saved(2).weights)
    assert checkpoints.newest() is None


def truncate(folder: Path, name: str) -> None:
    (folder / f"{name}.npz").write_bytes((folder / f"{name}.npz").read_bytes()[:-100])


def empty(folder: Path, name: str) -> None:
    (folder / f"{name}.npz").write_bytes(b"")


def flip_a_bit(folder: Path, name: str) -> None:
    content = bytearray((folder / f"{name}.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / f"{name}.npz").write_bytes(content)


def remove_archive(folder: Path, name: str) -> None:
    (folder / f"{name}.npz").unlink()


def remove_description(folder: Path, name: str) -> None:
    (folder / f"{name}.json").unlink()


def describe(content: bytes) -> Any:
    def damage(folder: Path, name: str) -> None:
        (folder / f"{name}.json").write_bytes(content)

    return damage


def not_an_archive(folder: Path, name: str) -> None:
    publish(folder, name, b"not an archive")


def a_lone_array(folder: Path, name: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    publish(folder, name, buffer.getvalue())


def an_archive_of_nothing(folder: Path, name: str) -> None:
    buffer = io.BytesIO()
    np.savez(buffer)
    publish(folder, name, buffer.getvalue())


DAMAGES = {
    "archive truncated": truncate,
    "archive empty": empty,
    "one bit of the archive flipped": flip_a_bit,
    "archive gone": remove_archive,
    "description gone": remove_description,
    "description empty": describe(b""),
    "description torn": describe(b'{"sha256": "ab'),
    "description not UTF-8": describe(b"\xff\xfe\x00"),
    "description without a hash": describe(b'{"facts": {}}'),
    "description a list": describe(b"[]"),
    "description null": describe(b"null"),
    "archive of another kind": not_an_archive,
    "archive a lone array": a_lone_array,
    "archive without arrays": an_archive_of_nothing,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_newest_checkpoint_is_passed_over_for_the_one_before(here: Path, damage: Any) -> None:
    damage(here, f"resume-{20:012d}")
    assert_is_of(Checkpoints(Folder(str(here))).newest(), 10)
    damage(here, f"resume-{10:012d}")
    assert Checkpoints(Folder(str(here))).newest() is None


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_the_weights_of_a_damaged_file_are_none(here: Path, damage: Any) -> None:
    checkpoints = Checkpoints(Folder(str(here)))
    checkpoints.finish(best=saved(1).weights, last=saved(2).weights)
    damage(here, "best")
    assert checkpoints.weights("best") is None
    assert_same(checkpoints.weights("last"), saved(2).weights)


def test_a_description_of_another_version_is_passed_over(here: Path) -> None:
    name = f"resume-{20:012d}"
    facts = {**asdict(saved(20).progress), "a_field_of_the_future": 1}
    publish(here, name, (here / f"{name}.npz").read_bytes(), facts=facts)
    assert_is_of(Checkpoints(Folder(str(here))).newest(), 10)


def test_damaged_checkpoints_further_on_do_not_push_out_the_one_just_saved(here: Path) -> None:
    checkpoints = Checkpoints(Folder(str(here)))
    checkpoints.save(saved(30))
    for update in (20, 30):
        truncate(here, f"resume-{update:012d}")
    # Only a checkpoint before the damaged ones is left, say 10: the trial went on from there.
    checkpoints.save(saved(10))
    assert_is_of(checkpoints.newest(), 10)
    checkpoints.save(saved(15))
    assert_is_of(checkpoints.newest(), 15)
    assert files(str(here)) == [resume(update, ending) for update in (10, 15) for ending in ("json", "npz")]


class Bomb:
    """Whoever unpickles it makes the file `path`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", ["an object array in an archive", "a bare pickle"])
def test_a_pickle_is_refused_and_executes_nothing(here: Path, tmp_path: Path, kind: str) -> None:
    import pickle

    exploded = tmp_path / "exploded"
    buffer = io.BytesIO()
    if kind == "a bare pickle":
        pickle.dump(Bomb(str(exploded)), buffer)
    else:
        bomb = np.empty(1, object)
        bomb[0] = Bomb(str(exploded))
        np.savez(buffer, weights_0000=bomb, optimizer_0000=bomb)
    for name in ("best", f"resume-{20:012d}"):
        publish(here, name, buffer.getvalue(), facts=asdict(saved(20).progress))
    assert Checkpoints(Folder(str(here))).weights("best") is None
    assert_is_of(Checkpoints(Folder(str(here))).newest(), 10)
    assert not exploded.exists()


def test_a_file_is_published_whole_and_replaces_the_one_before(folder: str) -> None:
    for content in (b"first", b"", b"x" * 100_000):
        store_of(folder).write("file", content)
        assert store_of(folder).read("file") == content
        assert files(folder) == ["file"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    Folder(str(tmp_path)).write("file", b"old")

    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(InputError, match="no space left"):
        Folder(str(tmp_path)).write("file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


KILLED_WRITER = """
import os, signal, sys
from trainer.store import Folder
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
os.replace = die
Folder(sys.argv[1]).write("last.npz", b"new" * 1000)
"""


def test_a_killed_writer_leaves_the_old_file(here: Path) -> None:
    checkpoints = Checkpoints(Folder(str(here)))
    checkpoints.finish(best=saved(1).weights, last=saved(2).weights)
    killed = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(here)], check=False)
    assert killed.returncode == -9
    assert_same(checkpoints.weights("last"), saved(2).weights)
    checkpoints.finish(best=saved(1).weights, last=saved(3).weights)
    assert files(str(here)) == ["best.json", "best.npz", "last.json", "last.npz"]


def test_a_writer_killed_between_archive_and_description_leaves_the_checkpoint_before(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, moved = os.replace, []

    def replace_once(source: str, target: str) -> None:
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        replace(source, target)

    checkpoints = Checkpoints(Folder(str(here)))
    monkeypatch.setattr(os, "replace", replace_once)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(saved(30))
    monkeypatch.undo()
    assert [os.path.basename(path) for path in moved] == [resume(30, "npz")]
    assert_is_of(checkpoints.newest(), 20)
    checkpoints.finish(best=saved(1).weights, last=saved(2).weights)
    assert files(str(here)) == ["best.json", "best.npz", "last.json", "last.npz"]
