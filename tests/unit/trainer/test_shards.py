"""Shards on a node: verified against the manifest, decoded once however many open them, never half visible."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import write_prepared
from trainer.data import shards
from trainer.data.manifest import Shard, sha256_of_file
from trainer.data.shards import OpenShard, cache_folder, open_shard, verify
from trainer.data.store import Folder
from trainer.errors import DataError, InputError, NotReadyError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of this test's own, which is not there yet."""
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path / "deep" / "cache"))
    return tmp_path / "deep" / "cache"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_prepared(tmp_path / "data")
    return tmp_path / "data"


def first_shard(data: Path) -> Shard:
    from trainer.data.manifest import read

    return read(Folder(str(data))).splits["train"].shards[0]


def verified(data: Path, shard: Shard) -> None:
    verify(data / shard.file, shard, where=str(data / shard.file))


def opened(data: Path, shard: Shard) -> OpenShard:
    return open_shard(Folder(str(data)), shard)


def visible(cache: Path) -> list[str]:
    """The decoded shards that anybody would open."""
    return sorted(path.name for path in cache.glob("*.arrow"))


def assert_right(data: Path, shard: Shard) -> None:
    found = opened(data, shard)
    table = pq.read_table(data / shard.file)
    bounds = zip(found.offsets[:-1], found.offsets[1:], strict=True)
    assert [found.tokens[first:last].tolist() for first, last in bounds] == table["tokens"].to_pylist()
    assert found.labels.tolist() == table["label"].to_pylist()


def test_a_shard_as_the_manifest_says_is_opened(data: Path) -> None:
    verify(data / first_shard(data).file, first_shard(data), where="")
    for _ in range(2):
        assert_right(data, first_shard(data))


def test_a_missing_shard_is_named_with_the_remedy(data: Path, cache: Path) -> None:
    shard = first_shard(data)
    (data / shard.file).unlink()
    for check in (verified, opened):
        with pytest.raises(InputError) as caught:
            check(data, shard)
        assert str(caught.value).startswith(f"{data / shard.file} is missing: copy the data set again")
        assert "batchscope prepare" in str(caught.value)
    assert not visible(cache)


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "another shard"])
def test_a_shard_with_another_hash_is_named_with_both_and_never_decoded(data: Path, cache: Path, damage: str) -> None:
    shard = first_shard(data)
    file = data / shard.file
    content = bytearray(file.read_bytes())
    if damage == "flipped bit":
        content[len(content) // 2] ^= 4
    elif damage == "truncated":
        del content[-1:]
    else:
        content = bytearray((data / "train-00001.parquet").read_bytes())
    file.write_bytes(content)
    for check in (verified, opened):
        with pytest.raises(InputError) as caught:
            check(data, shard)
        for part in (str(file), sha256_of_file(str(file)), f"the manifest says {shard.sha256}", "batchscope prepare"):
            assert part in str(caught.value)
    assert not visible(cache)


def test_a_shard_decoded_before_is_not_read_again(data: Path) -> None:
    shard = first_shard(data)
    before = opened(data, shard)
    (data / shard.file).unlink()
    np.testing.assert_array_equal(opened(data, shard).tokens, before.tokens)


def test_another_data_set_with_the_same_shard_shares_the_decoded_file(
    data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    decode = shards._decoded

    def noted(source: Path, *arguments: Any, **named: Any) -> Any:
        decoded.append(source)
        return decode(source, *arguments, **named)

    monkeypatch.setattr(shards, "_decoded", noted)
    shard = first_shard(data)
    open_shard(Folder(str(data)), shard)
    shutil.copytree(data, tmp_path / "copy")
    assert_right(tmp_path / "copy", shard)
    assert len(decoded) == 1
    assert visible(cache) == [f"{shard.sha256}.arrow"]


def test_shards_of_the_same_name_in_two_data_sets_are_told_apart(data: Path, cache: Path, tmp_path: Path) -> None:
    write_prepared(tmp_path / "other", seed=1)
    assert first_shard(data).file == first_shard(tmp_path / "other").file
    for folder in (data, tmp_path / "other"):
        assert_right(folder, first_shard(folder))
    assert len(visible(cache)) == 2


OPENER = """
import sys, time
from trainer.data import manifest
from trainer.data import shards
from trainer.data import store
check, decode = shards.verify, shards._decoded
def noted_verify(*arguments, where):
    print("verified")
    check(*arguments, where=where)
def slow_decode(*arguments, where):
    print("decoded")
    time.sleep(0.2)  # so that the others surely come meanwhile
    return decode(*arguments, where=where)
shards.verify, shards._decoded = noted_verify, slow_decode
data = store.Folder(sys.argv[1])
shard = manifest.read(data).splits["train"].shards[0]
print("ready", flush=True)
sys.stdin.readline()
print(shards.open_shard(data, shard).tokens.tolist())
"""


@pytest.mark.slow
def test_a_shard_is_decoded_once_though_several_processes_open_it_at_once(data: Path, cache: Path) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    openers = [subprocess.Popen([sys.executable, "-c", OPENER, str(data)], **pipes) for _ in range(3)]
    for opener in openers:
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        opener.stdin.write("go\n")
        opener.stdin.flush()
    printed = [opener.communicate(timeout=60)[0].splitlines() for opener in openers]
    assert sorted(line for lines in printed for line in lines[:-1]) == ["decoded", "verified"]
    tokens = opened(data, first_shard(data)).tokens.tolist()
    assert [lines[-1] for lines in printed] == [str(tokens)] * 3
    assert visible(cache) == [f"{first_shard(data).sha256}.arrow"]


@pytest.mark.parametrize("damage", ["truncated", "emptied", "garbage", "flipped bit", "another shard"])
def test_a_damaged_file_of_the_cache_is_made_anew(data: Path, cache: Path, damage: str) -> None:
    shard = first_shard(data)
    opened(data, shard)
    (entry,) = cache.glob("*.arrow")
    content = bytearray(entry.read_bytes())
    at = content.find(opened(data, shard).tokens.tobytes())
    if damage == "truncated":
        del content[at + 20 :]
    elif damage == "emptied":
        content.clear()
    elif damage == "garbage":
        content[:] = os.urandom(len(content))
    elif damage == "flipped bit":
        content[at + 1] ^= 1
    else:
        from trainer.data.manifest import read

        other = read(Folder(str(data))).splits["train"].shards[1]
        opened(data, other)
        content = bytearray((cache / f"{other.sha256}.arrow").read_bytes())
    # A new file, as a damaged disk gives on the next start: what is mapped now must not change under this test.
    entry.unlink()
    entry.write_bytes(content)
    assert_right(data, shard)
    assert entry.read_bytes() != content


@pytest.mark.parametrize("names", [[], ["label"]])
def test_a_file_of_the_cache_that_lacks_columns_is_made_anew(data: Path, cache: Path, names: list[str]) -> None:
    shard = first_shard(data)
    right = opened(data, shard).checksum()
    [file] = cache.rglob("*.arrow")
    batch = pa.record_batch([pa.array(range(shard.rows), pa.int32())] * len(names), names=names)
    file.unlink()
    with pa.ipc.new_file(str(file), batch.schema) as writer:
        writer.write_batch(batch)
    assert opened(data, shard).checksum() == right


def test_a_shard_that_is_not_what_the_manifest_counts_is_refused(data: Path, cache: Path) -> None:
    shard = replace(first_shard(data), rows=first_shard(data).rows + 1)
    with pytest.raises(InputError, match=f"rows of tokens, label, but the manifest says {shard.rows}"):
        opened(data, shard)
    assert [path.name for path in cache.iterdir()] == ["cache.lock"]


def test_a_file_of_the_cache_under_another_name_is_made_anew(data: Path, cache: Path, tmp_path: Path) -> None:
    """Its rows are as many and its checksum is right: only its name says that it is of another shard."""
    for seed, folder in enumerate((data, tmp_path / "other")):
        write_prepared(folder, shards=1, seed=seed)
        opened(folder, first_shard(folder))
    shard, other = first_shard(data), first_shard(tmp_path / "other")
    assert shard.rows == other.rows
    (cache / f"{other.sha256}.arrow").rename(cache / f"{shard.sha256}.arrow")
    assert_right(data, shard)


def doubled(file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.append_column("tokens", table["tokens"]), file)


def without_a_token(file: Path) -> None:
    table = pq.read_table(file)
    tokens = [row[:-1] for row in table["tokens"].to_pylist()]
    pq.write_table(table.set_column(1, "tokens", pa.array(tokens, table["tokens"].type)), file)


def with_nulls(file: Path) -> None:
    table = pq.read_table(file)
    labels = [None, *table["label"].to_pylist()[1:]]
    pq.write_table(table.set_column(2, "label", pa.array(labels, pa.int32())), file)


def of_texts(file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.set_column(1, "tokens", pa.array(["text"] * table.num_rows)), file)


def of_other_bytes(file: Path) -> None:
    file.write_bytes(b"PAR1" + bytes(100) + b"PAR1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (doubled, "two columns named 'tokens'"),
        (without_a_token, "tokens, but the manifest says"),
        (with_nulls, "cannot be read as a shard"),
        (of_texts, "cannot be read as a shard"),
        (of_other_bytes, "cannot be read as a shard"),
    ],
)
def test_a_file_of_the_right_hash_and_the_wrong_content_is_refused(
    data: Path, cache: Path, change: Callable[[Path], None], said: str
) -> None:
    shard = first_shard(data)
    change(data / shard.file)
    shard = replace(shard, sha256=sha256_of_file(str(data / shard.file)))
    with pytest.raises(DataError, match=f"{shard.file} .*{said}.*batchscope prepare"):
        opened(data, shard)
    assert not visible(cache)


KILLED_DECODER = """
import os, signal, sys
from trainer.data import manifest
from trainer.data import shards
from trainer.data import store
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
os.replace = die
data = store.Folder(sys.argv[1])
shards.open_shard(data, manifest.read(data).splits["train"].shards[0])
"""


@pytest.mark.slow
def test_a_killed_decoder_leaves_nothing_visible_and_nobody_waiting(data: Path, cache: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_DECODER, str(data)], check=False)
    assert killed.returncode == -9
    assert len(os.listdir(cache)) > 0
    assert not visible(cache)
    assert_right(data, first_shard(data))


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_decoder_that_fails_leaves_no_file(
    data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(NotReadyError, match=r"train-00000.* the cache .*no space left.* BATCHSCOPE_CACHE"):
        opened(data, first_shard(data))
    assert [path.name for path in cache.iterdir()] == ["cache.lock"]


@pytest.mark.slow
def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path) -> None:
    assert cache_folder() == cache
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BATCHSCOPE_CACHE", "~/shards")
    assert cache_folder() == tmp_path / "home" / "shards"
    for unset in (lambda: monkeypatch.setenv("BATCHSCOPE_CACHE", ""), lambda: monkeypatch.delenv("BATCHSCOPE_CACHE")):
        unset()
        assert cache_folder() == tmp_path / "home" / ".cache" / "batchscope"
