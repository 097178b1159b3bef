"""The node's cache: fetched once for all processes, never over its bound, and none the worse for a kill."""

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import write_prepared
from trainer.data import cache as caches
from trainer.data.cache import Cache, parse_bytes
from trainer.data.manifest import Shard, read
from trainer.data.shards import open_shard
from trainer.data.store import Folder
from trainer.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BATCHSCOPE_CACHE_BYTES", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_prepared(tmp_path / "data", train=300, longest=40)
    return tmp_path / "data"


def shards_of(data: Path) -> tuple[Shard, ...]:
    return read(Folder(str(data))).splits["train"].shards


def opened(data: Path, number: int) -> Any:
    return open_shard(Folder(str(data)), shards_of(data)[number])


def is_right(data: Path, number: int, found: Any) -> bool:
    return bool(found.tokens.tolist() == np.concatenate(column(data, number)).tolist())


def column(data: Path, number: int) -> list[Any]:
    return pq.read_table(data / shards_of(data)[number].file)["tokens"].to_pylist()  # type: ignore[no-any-return]


def decoded_bytes(data: Path, cache: Path) -> list[int]:
    """The bytes of each shard in the cache, which is empty after."""
    for number in range(len(shards_of(data))):
        opened(data, number)
    sizes = [(cache / f"{shard.sha256}.arrow").stat().st_size for shard in shards_of(data)]
    for path in cache.iterdir():
        path.unlink()
    return sizes


def is_clean(cache: Path) -> bool:
    return all(path.suffix == ".arrow" or path.name == "cache.lock" for path in cache.iterdir())


OPENER = """
import os, signal, sys, time
from pathlib import Path
from trainer.data import cache
from trainer.data import manifest
from trainer.data import shards
from trainer.data import store
class Noting(store.Folder):
    def fetch(self, name, target):
        with open(sys.argv[2], "a") as log:
            log.write(name + "\\n")
        time.sleep(0.05)  # so that the others surely come meanwhile
        super().fetch(name, target)
data = Noting(sys.argv[1])
train = manifest.read(data).splits["train"].shards
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_eight_processes_fetch_each_shard_once(data: Path, cache: Path, tmp_path: Path) -> None:
    code = OPENER + "\nprint('ready', flush=True); sys.stdin.readline()\n"
    code += "print(sum(int(shards.open_shard(data, shard).tokens.sum()) for shard in train))"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    log = tmp_path / "log"
    openers = [subprocess.Popen([sys.executable, "-c", code, str(data), str(log)], **pipes) for _ in range(8)]
    for opener in openers:
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        opener.stdin.write("go\n")
        opener.stdin.flush()
    found = {opener.communicate(timeout=120)[0] for opener in openers}
    assert found == {f"{sum(int(opened(data, number).tokens.sum()) for number in range(3))}\n"}
    assert sorted(log.read_text().split()) == [shard.file for shard in shards_of(data)]
    assert is_clean(cache)


KILLS = {
    "before anything is fetched": "Noting.fetch = die",
    "half-way through the fetch": "Noting.fetch = lambda self, name, target: (target.write_bytes(b'half'), die())",
    "after the fetch": "shards.verify = die",
    "half-way through writing": "shards.os.fsync = die",
    "before it is published": "cache.os.replace = die",
    "while it counts": "cache.Cache._reserved_by_others = die",
    "after it was published": "cache._mapped = die",
}


@pytest.mark.slow
@pytest.mark.parametrize("point", KILLS)
def test_a_killed_process_leaves_what_the_next_can_use(data: Path, cache: Path, tmp_path: Path, point: str) -> None:
    code = f"{OPENER}\n{KILLS[point]}\nshards.open_shard(data, train[0])"
    killed = subprocess.run([sys.executable, "-c", code, str(data), str(tmp_path / "log")], check=False, timeout=60)
    assert killed.returncode == -9
    # Another shard sweeps what was left of the first one.
    assert is_right(data, 1, opened(data, 1))
    assert is_clean(cache)
    assert is_right(data, 0, opened(data, 0))
    assert is_clean(cache)


def test_what_was_opened_last_stays(data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = decoded_bytes(data, cache)
    monkeypatch.setenv("BATCHSCOPE_CACHE_BYTES", str(sum(sizes) - 1))
    for number in (0, 1, 0):
        opened(data, number)
    opened(data, 2)
    left = {path.stem for path in cache.glob("*.arrow")}
    assert shards_of(data)[1].sha256 not in left
    assert shards_of(data)[2].sha256 in left


def test_an_open_shard_is_not_evicted_and_reads_right(data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = decoded_bytes(data, cache)
    monkeypatch.setenv("BATCHSCOPE_CACHE_BYTES", str(sizes[0] + max(sizes[1:]) + 1000))
    found = opened(data, 0)
    for number in (1, 2, 1, 2):
        assert is_right(data, number, opened(data, number))
        assert (cache / f"{shards_of(data)[0].sha256}.arrow").exists()
    assert is_right(data, 0, found)
    del found
    for path in cache.glob("*.arrow"):
        assert caches._evicted(path)


def test_no_room_names_the_numbers_and_the_remedies(data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = decoded_bytes(data, cache)
    bound = sizes[0] + 100
    monkeypatch.setenv("BATCHSCOPE_CACHE_BYTES", str(bound))
    kept = opened(data, 0)
    with pytest.raises(InputError) as caught:
        opened(data, 1)
    for part in (f"{sizes[0]:,}", f"{bound:,}", "raise BATCHSCOPE_CACHE_BYTES", "shuffle: {window_rows: 500000}"):
        assert part in str(caught.value)
    assert is_clean(cache)
    assert is_right(data, 0, kept)


def test_who_makes_a_file_waits_for_the_room_that_another_has_reserved(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    done: list[str] = []

    def second() -> None:
        with cache.making("b") as making:
            making.reserve(600)
            done.append("second")

    with cache.making("a") as making:
        making.reserve(600)
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.3)
        done.append("first")
    thread.join(timeout=30)
    assert done == ["first", "second"]


def watch(cache: str, over: Any, most: Any) -> None:
    """The most bytes ever seen in the cache."""
    while not over.is_set():
        total = 0
        for entry in os.scandir(cache):
            try:
                total += os.stat(entry.path).st_size
            except FileNotFoundError:
                continue
        most.value = max(most.value, total)


def churn(folders: list[str], seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(40):
        data, number = Path(random.choice(folders)), int(random.integers(3))
        assert is_right(data, number, opened(data, number))


@pytest.mark.slow
def test_the_bound_holds_under_churn(data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_prepared(tmp_path / "other", train=300, longest=40, seed=1)
    folders = [data, tmp_path / "other"]
    largest = max(size for folder in folders for size in decoded_bytes(folder, cache))
    raw = max(shard.bytes for folder in folders for shard in shards_of(folder))
    bound = 3 * max(largest, raw) + 200
    monkeypatch.setenv("BATCHSCOPE_CACHE_BYTES", str(bound))
    context = multiprocessing.get_context("spawn")
    over, most = context.Event(), context.Value("q", 0)
    watcher = context.Process(target=watch, args=(str(cache), over, most))
    workers = [context.Process(target=churn, args=([str(folder) for folder in folders], seed)) for seed in range(3)]
    for process in (watcher, *workers):
        process.start()
    for process in workers:
        process.join(timeout=120)
    over.set()
    watcher.join(timeout=30)
    assert [process.exitcode for process in (watcher, *workers)] == [0] * 4
    assert largest < most.value <= bound
    assert is_clean(cache)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1", 1), ("20GB", 20 * 10**9), ("18.5 GiB", int(18.5 * 2**30)), ("3kb", 3000), (" 7 B ", 7), ("2TB", 2 * 10**12)],
)
def test_bytes_are_read_as_people_write_them(text: str, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["0", "-1", "much", "20 G", "1e9", "GB", "0.1"])
def test_what_is_no_number_of_bytes_is_refused(text: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHSCOPE_CACHE_BYTES", text)
    with pytest.raises(InputError, match=r"BATCHSCOPE_CACHE_BYTES is .* such as 20GB"):
        opened(data, 0)


def test_without_a_bound_half_of_the_free_space_and_what_is_held(tmp_path: Path) -> None:
    space = os.statvfs(tmp_path)
    free = space.f_bavail * space.f_frsize
    assert 0.4 * free < Cache(tmp_path)._bound(0) < 0.6 * free
    assert Cache(tmp_path)._bound(free) > 0.9 * free
    assert Cache(tmp_path, 5)._bound(1) == 5
