"""What XLA compiled is kept in a private folder, used only as it was written, and bounded."""

import os
from pathlib import Path

import pytest

from trainer.machine import compiled

FLAG = "--tf_xla_persistent_cache_directory"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of this test's own, and a process without flags."""
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path / "cache"))
    # Set first, so that what `use` sets is taken back too.
    monkeypatch.setenv("TF_XLA_FLAGS", "")
    return tmp_path / "cache"


def begun(threads: int = 1) -> Path | None:
    """The folder of a process that begins now, if it has one."""
    os.environ["TF_XLA_FLAGS"] = ""
    return compiled.use(threads)


def used(threads: int = 1) -> Path:
    """The folder of a process that begins now."""
    folder = begun(threads)
    assert folder is not None
    return folder


def write(folder: Path, name: str, content: bytes = b"code") -> Path:
    """A file as XLA writes it."""
    path = folder / f"{name}.pb"
    path.write_bytes(content)
    return path


def test_the_folder_is_this_users_alone_and_named_to_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=0")
    folder = compiled.use(1)
    assert folder is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.environ["TF_XLA_FLAGS"].split() == ["--tf_xla_auto_jit=0", f"{FLAG}={folder}"]


def test_what_was_sealed_is_there_for_the_next_process() -> None:
    code = write(used(), "loop")
    compiled.seal(code.parent)
    assert used() == code.parent
    assert code.read_bytes() == b"code"


@pytest.mark.parametrize("change", ["flipped", "cut", "not sealed", "sum lost", "sum damaged", "sum no text"])
def test_what_is_not_as_it_was_written_is_not_used(change: str) -> None:
    code = write(used(), "loop")
    sum_of = code.with_suffix(".sha256")
    if change != "not sealed":
        compiled.seal(code.parent)
    if change == "flipped":
        code.write_bytes(b"cofe")
    if change == "cut":
        code.write_bytes(b"cod")
    if change == "sum lost":
        sum_of.unlink()
    if change == "sum damaged":
        sum_of.write_text("0" * 64)
    if change == "sum no text":
        sum_of.write_bytes(b"\xff\xfe")
    used()
    assert not code.exists()
    assert not sum_of.exists()


def test_what_killed_writers_left_goes_after_a_while() -> None:
    folder = used()
    left, fresh = folder / "loop.pb.tmp1", folder / "loop.pb.tmp2"
    left.write_bytes(b"co")
    fresh.write_bytes(b"co")
    os.utime(left, (0, 0))
    used()
    assert (left.exists(), fresh.exists()) == (False, True)


def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BYTES_AT_MOST", 10)
    folder = used()
    for age, name in enumerate(("new", "middle", "old")):
        os.utime(write(folder, name), (1000 - age, 1000 - age))
    compiled.seal(folder)
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{kind}" for name in ("new", "middle") for kind in ("pb", "sha256")
    }


def test_a_folder_in_which_others_write_is_not_used(cache: Path) -> None:
    folder = used()
    for place in (folder, folder.parent, cache):
        place.chmod(0o770)
        assert begun() is None
        place.chmod(0o700)
    assert begun() == folder


def test_a_link_to_another_folder_is_not_used(tmp_path: Path) -> None:
    folder = used()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert begun() is None


@pytest.mark.parametrize("flags", ["", f"{FLAG}=/somewhere"])
def test_where_there_can_be_none_xla_compiles(flags: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not flags:
        monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path / "my cache"))
    monkeypatch.setenv("TF_XLA_FLAGS", flags)
    assert compiled.use(1) is None
    assert os.environ["TF_XLA_FLAGS"] == flags


def test_on_a_disk_that_is_nearly_full_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LEAST_FREE_BYTES", 2**60)
    assert begun() is None


@pytest.mark.parametrize("why", ["No space left on device", "Disk quota exceeded", "Read-only file system"])
def test_a_disk_that_filled_up_is_told_from_other_errors(why: str) -> None:
    folder = used()
    said = compiled.full(RuntimeError(f"{folder}/loop.pb; {why}\n [[node]]"))
    assert said is not None
    assert said.startswith(f"{why} at {folder.parent}: make room there, or set BATCHSCOPE_CACHE")
    assert compiled.full(RuntimeError("/tmp/other; No space left on device")) is None
    assert compiled.full(RuntimeError(f"{folder}: Input/output error")) is None


def test_a_place_that_cannot_be_made_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path / "file"))
    assert compiled.use(1) is None
    compiled.seal(tmp_path / "nothing there")


def test_code_of_another_kind_of_process_has_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [used(1), used(2)]
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    found.append(used(1))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "3.0")
    found.append(used(1))
    monkeypatch.setattr(compiled, "_processor", lambda: "another")
    found.append(used(1))
    assert len(set(found)) == len(found)
