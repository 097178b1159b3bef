"""Checkpoints: what was saved comes back to the last bit, and what is not whole does not count."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.stores import store_of
from trainer.checkpoint import Checkpoints, Progress, Saved
from trainer.data.store import Folder
from trainer.errors import InputError

TRIAL = "0123456789abcdef"


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
        Checkpoints(Folder(str(folder)), TRIAL).save(saved(update))
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
    Checkpoints(store_of(folder), TRIAL).save(original)
    found = Checkpoints(store_of(folder), TRIAL).newest()
    assert found is not None
    assert found.progress == original.progress
    assert_same(found.weights, original.weights)
    assert_same(found.optimizer_state, original.optimizer_state)
    assert_same(found.best_weights, original.best_weights)


def test_an_optimiser_without_variables_is_saved_too(tmp_path: Path) -> None:
    original = Saved(progress=Progress(update=1), weights=[np.ones(2)], optimizer_state=[], best_weights=[])
    Checkpoints(Folder(str(tmp_path)), TRIAL).save(original)
    found = Checkpoints(Folder(str(tmp_path)), TRIAL).newest()
    assert found is not None
    assert found.optimizer_state == []


def test_averages_and_the_best_of_them_come_back_too(tmp_path: Path) -> None:
    checkpoints = Checkpoints(Folder(str(tmp_path)), TRIAL)
    averages, best = [np.arange(3.0), np.ones((2, 2))], [np.full(3, 0.5), np.zeros((2, 2))]
    checkpoints.save(replace(saved(3), averages=averages, best_averaged=best))
    found = checkpoints.newest()
    assert found is not None
    assert_same(found.averages, averages)
    assert_same(found.best_averaged, best)
    checkpoints.save(saved(4))
    found = checkpoints.newest()
    assert found is not None
    assert (found.averages, found.best_averaged) == ([], [])


def test_a_folder_that_is_not_there_has_no_checkpoint(folder: str) -> None:
    assert Checkpoints(store_of(folder), TRIAL).newest() is None
    assert Checkpoints(store_of(folder), TRIAL).weights("best") is None


@pytest.mark.slow
def test_the_newest_two_are_kept_and_the_newest_is_read(folder: str) -> None:
    for update in (9, 10, 100, 1000, 20000):
        Checkpoints(store_of(folder), TRIAL).save(saved(update))
        assert_is_of(Checkpoints(store_of(folder), TRIAL).newest(), update)
    assert files(folder) == [resume(update, ending) for update in (1000, 20000) for ending in ("json", "npz")]


def test_a_trial_that_ended_keeps_its_best_and_last_weights_and_nothing_else(folder: str) -> None:
    checkpoints = Checkpoints(store_of(folder), TRIAL)
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
    assert_is_of(Checkpoints(Folder(str(here)), TRIAL).newest(), 10)
    damage(here, f"resume-{10:012d}")
    assert Checkpoints(Folder(str(here)), TRIAL).newest() is None


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_the_weights_of_a_damaged_file_are_none(here: Path, damage: Any) -> None:
    checkpoints = Checkpoints(Folder(str(here)), TRIAL)
    checkpoints.finish(best=saved(1).weights, last=saved(2).weights)
    damage(here, "best")
    assert checkpoints.weights("best") is None
    assert_same(checkpoints.weights("last"), saved(2).weights)


def test_a_description_of_another_version_is_passed_over(here: Path) -> None:
    name = f"resume-{20:012d}"
    facts = {**asdict(saved(20).progress), "a_field_of_the_future": 1}
    publish(here, name, (here / f"{name}.npz").read_bytes(), facts=facts)
    assert_is_of(Checkpoints(Folder(str(here)), TRIAL).newest(), 10)


def test_damaged_checkpoints_further_on_do_not_push_out_the_one_just_saved(here: Path) -> None:
    checkpoints = Checkpoints(Folder(str(here)), TRIAL)
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
    assert Checkpoints(Folder(str(here)), TRIAL).weights("best") is None
    assert_is_of(Checkpoints(Folder(str(here)), TRIAL).newest(), 10)
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
from trainer.data.store import Folder
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
os.replace = die
Folder(sys.argv[1]).write("last.npz", b"new" * 1000)
"""


def test_a_killed_writer_leaves_the_old_file(here: Path) -> None:
    checkpoints = Checkpoints(Folder(str(here)), TRIAL)
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

    checkpoints = Checkpoints(Folder(str(here)), TRIAL)
    monkeypatch.setattr(os, "replace", replace_once)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(saved(30))
    monkeypatch.undo()
    assert [os.path.basename(path) for path in moved] == [resume(30, "npz")]
    assert_is_of(checkpoints.newest(), 20)
    checkpoints.finish(best=saved(1).weights, last=saved(2).weights)
    assert files(str(here)) == ["best.json", "best.npz", "last.json", "last.npz"]


class Memory:
    """A store in a dictionary."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def read(self, name: str) -> bytes:
        if name not in self.objects:
            raise FileNotFoundError(name)
        return self.objects[name]

    def sizes(self, prefix: str = "") -> dict[str, int]:
        return {name: len(content) for name, content in self.objects.items() if name.startswith(prefix)}


EVALUATION = {
    "update": 2,
    "examples": 34,
    "epoch": 2 / 3,
    "seconds": 0.1,
    "training_loss": None,
    "validation_loss": 1.4,
    "validation_accuracy": 0.5,
    "gradient_norm": 1e-3,
    "learning_rate": 0.01,
    "noise_scale": None,
}


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, bytes]:
    """The objects of a trial that resumes at 3, and of a trial that has ended."""
    progress = Progress(
        update=3,
        best_validation_loss=1.4,
        evaluations=[EVALUATION],
        noise=[[float("nan"), 2.0]],
        noise_told=1,
        real_tokens=12,
    )
    arrays = [np.arange(3, dtype="float32"), np.ones((2, 2))]
    found: dict[str, bytes] = {}
    for place in ("goes on", "ended"):
        store = Folder(str(tmp_path / place))
        if place == "ended":
            Checkpoints(store, TRIAL).finish(best=arrays, last=[2 * array for array in arrays])
        else:
            Checkpoints(store, TRIAL).save(
                Saved(progress=progress, weights=arrays, optimizer_state=arrays[:1], best_weights=arrays)
            )
        found |= {name: store.read(name) for name in store.names()}
    return found


def told(objects: dict[str, bytes], name: str, **limits: Any) -> tuple[str | None, list[str]]:
    """All values that are read under a name, as text, None if it does not count; and what was noted."""
    notes: list[str] = []
    checkpoints = Checkpoints(Memory(objects), TRIAL)  # type: ignore[arg-type]
    if not name.startswith("resume"):
        weights = checkpoints.weights(name, notes.append)
        return None if weights is None else repr([array.tobytes() for array in weights]), notes
    found = checkpoints.newest(note=notes.append, **limits)
    if found is None:
        return None, notes
    groups = (found.weights, found.optimizer_state, found.best_weights)
    arrays = [(array.dtype, array.shape, array.tobytes()) for group in groups for array in group]
    return repr((json.dumps(asdict(found.progress), sort_keys=True), arrays)), notes


RESUME = f"resume-{3:012d}"


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.parametrize("name", [RESUME, "best", "last"])
def test_no_bit_of_a_description_changes_a_value(kept: dict[str, bytes], name: str) -> None:
    whole, notes = told(kept, name)
    assert whole is not None
    assert notes == []
    content = kept[f"{name}.json"]
    for bit in range(8 * len(content)):
        found, notes = told(kept | {f"{name}.json": flipped(content, bit)}, name)
        assert found == whole or (found is None and len(notes) == 1 and "is damaged (" in notes[0]), (bit, notes)
        assert all(note.isprintable() and len(note) < 400 for note in notes)


@pytest.mark.parametrize("name", [RESUME, "best"])
def test_no_bit_of_an_archive_changes_a_value(kept: dict[str, bytes], name: str) -> None:
    content = kept[f"{name}.npz"]
    for bit in range(0, 8 * len(content), 13):
        found, notes = told(kept | {f"{name}.npz": flipped(content, bit)}, name)
        assert (found, notes) == (None, [f"{name} is damaged (its archive has another sha256)"])


def test_the_weights_of_another_moment_or_trial_do_not_count(kept: dict[str, bytes]) -> None:
    exchanged = kept | {f"best.{ending}": kept[f"last.{ending}"] for ending in ("json", "npz")}
    assert told(exchanged, "best") == (None, [f"best is damaged (it was kept as last of trial {TRIAL})"])
    moved = kept | {f"resume-{7:012d}.{ending}": kept[f"{RESUME}.{ending}"] for ending in ("json", "npz")}
    assert told(moved, RESUME) == (
        told(kept, RESUME)[0],
        [f"resume-{7:012d} is damaged (it was kept as {RESUME} of trial {TRIAL})"],
    )
    notes: list[str] = []
    assert Checkpoints(Memory(kept), "another").newest(note=notes.append) is None  # type: ignore[arg-type]
    assert notes == [f"{RESUME} is damaged (it was kept as {RESUME} of trial {TRIAL})"]


@pytest.mark.parametrize("total", [1, 2, 3])
def test_a_checkpoint_at_or_beyond_the_end_of_its_trial_does_not_count(kept: dict[str, bytes], total: int) -> None:
    found, [note] = told(kept, RESUME, total=total)
    assert found is None
    assert note == f"{RESUME} is damaged ('facts.update' is 3, not a whole number from 0 to {total - 1})"
    assert told(kept, RESUME, total=4) == told(kept, RESUME)


def of_the_first_format(kept: dict[str, bytes], **facts: Any) -> dict[str, bytes]:
    """As an older version kept it: the hash of the archive and the facts, nothing more."""
    known = json.loads(kept[f"{RESUME}.json"])
    description = {"sha256": known["archive"], "facts": known["facts"] | facts}
    return kept | {f"{RESUME}.json": json.dumps(description).encode()}


def test_a_checkpoint_of_an_older_version_is_read_and_called_unverified(kept: dict[str, bytes]) -> None:
    whole = told(kept, RESUME)[0]
    assert told(of_the_first_format(kept), RESUME) == (
        whole,
        [f"{RESUME} is unverified, since an older version kept it"],
    )


WRONG: list[Any] = [None, "3", [], {}, True, -1, 2.5, float("nan"), 10**30]


@pytest.mark.parametrize("key", list(Progress.__dataclass_fields__))
def test_a_fact_of_another_type_is_damage_in_the_older_format_too(kept: dict[str, bytes], key: str) -> None:
    right = json.loads(kept[f"{RESUME}.json"])["facts"][key]
    lists, nullable = isinstance(right, list), key.endswith(("loss", "accuracy"))
    fine = {"[]"} if lists else {"null", "-1", "2.5", "1" + "0" * 30} if nullable else set()
    if isinstance(right, float) or key == "real_tokens":
        fine |= {"-1", "2.5", "1" + "0" * 30}
    for value in (value for value in WRONG if json.dumps(value) not in fine):
        found, notes = told(of_the_first_format(kept, **{key: value}), RESUME)
        assert found is None, (key, value)
        assert key in notes[-1]


@pytest.mark.parametrize(
    "evaluation",
    [{}, {**EVALUATION, "update": 1.5}, {**EVALUATION, "validation_loss": "1"}, {**EVALUATION, "more": 1}, 7],
)
def test_an_evaluation_of_another_shape_is_damage(kept: dict[str, bytes], evaluation: Any) -> None:
    found, notes = told(of_the_first_format(kept, evaluations=[evaluation]), RESUME)
    assert found is None
    assert "evaluations[0]" in notes[-1]


def test_facts_that_are_no_object_and_deep_nesting_are_damage(kept: dict[str, bytes]) -> None:
    archive = json.loads(kept[f"{RESUME}.json"])["archive"]
    texts = [json.dumps({"sha256": archive, "facts": []}), json.dumps({"sha256": archive, "facts": None}), "[" * 10**5]
    for text in [*texts, '{"sha256": ' * 10**4, json.dumps({"sha256": 10**400, "facts": {}})]:
        found, [note] = told(kept | {f"{RESUME}.json": text.encode()}, RESUME)
        assert found is None
        assert note.startswith(f"{RESUME} is damaged (")


def with_archive(kept: dict[str, bytes], archive: bytes) -> dict[str, bytes]:
    """An archive with its right hash in the older format, as anybody could write it."""
    known = json.loads(of_the_first_format(kept)[f"{RESUME}.json"])
    description = known | {"sha256": hashlib.sha256(archive).hexdigest()}
    return kept | {f"{RESUME}.npz": archive, f"{RESUME}.json": json.dumps(description).encode()}


def zipped(method: int, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(shape: str) -> bytes:
    """An array's file whose header claims this shape, and no data."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


BOMBS = {
    "80 TB by its header": zipped(zipfile.ZIP_STORED, weights_0000=npy("(10000000000000,)")),
    "more than any machine": zipped(zipfile.ZIP_STORED, weights_0000=npy("(" + "9" * 300 + ",)")),
    "less than nothing": zipped(zipfile.ZIP_STORED, weights_0000=npy("(-1, 0)")),
    "a header nested deeply": zipped(zipfile.ZIP_STORED, weights_0000=npy("(" * 5000)),
    "300 MB in 300 kB": zipped(zipfile.ZIP_DEFLATED, weights_0000=npy("(40000000,)") + bytes(320_000_000)),
    "two of one name": zipped(zipfile.ZIP_STORED, weights_0000=npy("(0,)"), weights_00000=npy("(0,)")),
    "no first": zipped(zipfile.ZIP_STORED, weights_0001=npy("(0,)")),
}


@pytest.mark.slow
@pytest.mark.parametrize("archive", BOMBS.values(), ids=BOMBS.keys())
def test_what_an_archive_claims_is_not_allocated(kept: dict[str, bytes], archive: bytes) -> None:
    spoilt = with_archive(kept, archive)
    tracemalloc.start()
    found, [note] = told(spoilt, RESUME)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found is None
    assert "its archive cannot be read" in note
    assert peak < 10_000_000


def test_an_archive_longer_than_its_models_is_not_even_read(kept: dict[str, bytes]) -> None:
    size = len(kept[f"{RESUME}.npz"])
    found, [note] = told(kept, RESUME, most_bytes=size - 1)
    assert found is None
    assert note == f"{RESUME} is damaged (it has {size:,} bytes, its model's can have {size - 1:,})"
    assert told(kept, RESUME, most_bytes=size) == told(kept, RESUME)
