"""Rows by number: whatever is asked of uneven shards is what the Parquet says; and reading ahead."""

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import write_prepared
from trainer.data.manifest import SPLITS, read
from trainer.data.rows import FEW_ROWS, Rows, open_rows, read_ahead
from trainer.data.store import Folder
from trainer.order.shapes import LENGTH_MULTIPLE

ROWS = 67


@pytest.fixture(scope="module", params=[1, 2, 7])
def split(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, list, list]:
    """The training split in some uneven shards: (open, its tokens and its labels as the Parquet has them)."""
    folder = tmp_path_factory.mktemp("prepared")
    manifest = write_prepared(folder, train=ROWS, shards=request.param, longest=30, seed=request.param)
    table = pq.read_table([folder / shard.file for shard in manifest.splits["train"].shards])
    rows = open_rows(Folder(str(folder)), manifest.splits["train"])
    assert len(rows.first) == request.param + 1
    return rows, table["tokens"].to_pylist(), table["label"].to_pylist()


def assert_right(split: tuple[Rows, list, list], asked: list[int]) -> None:
    rows, tokens, labels = split
    numbers = np.array(asked, np.int64)
    expected = [tokens[row] for row in asked]
    longest = max(map(len, expected), default=1)
    found = rows.tokens(numbers)
    assert found.dtype == np.int32
    assert found.shape[0] == len(asked)
    assert found.shape[1] % LENGTH_MULTIPLE == 0
    assert longest <= found.shape[1] < longest + LENGTH_MULTIPLE
    for row, real in zip(found, expected, strict=True):
        assert row.tolist() == real + [0] * (len(row) - len(real))
    assert rows.lengths(numbers).tolist() == [len(real) for real in expected]
    assert rows.labels(numbers).dtype == np.int32
    assert rows.labels(numbers).tolist() == [labels[row] for row in asked]


def test_all_rows_are_what_the_parquet_says(split: tuple[Rows, list, list]) -> None:
    assert len(split[0]) == ROWS
    assert_right(split, list(range(ROWS)))


@settings(deadline=None)
@given(asked=st.lists(st.integers(0, ROWS - 1), max_size=150))
def test_any_rows_in_any_order_and_however_often_are_what_the_parquet_says(
    split: tuple[Rows, list, list], asked: list[int]
) -> None:
    assert_right(split, asked)


def test_a_batch_is_as_wide_as_its_longest_row_and_no_wider(split: tuple[Rows, list, list]) -> None:
    rows, tokens, _ = split
    widths = {rows.tokens(np.array([row])).shape[1] for row in range(ROWS)}
    assert widths == {-(-len(real) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE for real in tokens}
    assert len(widths) > 1


@pytest.mark.parametrize("count", [FEW_ROWS, FEW_ROWS + 1, 5 * FEW_ROWS])
@pytest.mark.parametrize("until_the_end", [False, True])
def test_few_rows_of_a_shard_and_many_and_its_last_ones_are_what_the_parquet_says(
    split: tuple[Rows, list, list], count: int, until_the_end: bool
) -> None:
    first, end = split[0].first[:2]
    longest = max(map(len, split[1]))
    # A row so far from the shard's end that as many tokens as the longest row has follow its first one.
    far = next(
        row for row in range(end, first - 1, -1) if sum(map(len, split[1][row:end])) >= longest + LENGTH_MULTIPLE
    )
    last = end - 1 if until_the_end else far
    assert_right(split, [int(last) - i % int(last - first + 1) for i in range(count)])


def test_opening_copies_no_tokens(split: tuple[Rows, list, list]) -> None:
    split[0].lengths(np.arange(ROWS))
    for shard in split[0]._open.values():
        mapped = mapped_ranges()
        for array in (shard.tokens, shard.offsets, shard.labels):
            assert not array.flags.owndata
            assert not array.flags.writeable
            assert any(first <= array.ctypes.data < last for first, last in mapped)


def mapped_ranges() -> list[tuple[int, int]]:
    """The addresses at which this process has decoded shards mapped."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(".arrow")]
    pairs = [line.split()[0].split("-") for line in lines]
    return [(int(first, 16), int(last, 16)) for first, last in pairs]


def test_every_split_opens_with_its_own_rows(prepared: Path) -> None:
    manifest = read(Folder(str(prepared)))
    for name in SPLITS:
        rows = open_rows(Folder(str(prepared)), manifest.splits[name])
        table = pq.read_table([prepared / shard.file for shard in manifest.splits[name].shards])
        assert rows.labels(np.arange(len(rows))).tolist() == table["label"].to_pylist()


def mapped_shards() -> int:
    """How many shards this process has mapped that lie in the cache of this test."""
    folder = os.environ["BATCHSCOPE_CACHE"]
    return len({line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if folder in line})


@pytest.fixture
def seven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """A split in seven shards, with a cache of its own."""
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path / "cache"))
    manifest = write_prepared(tmp_path / "data", train=ROWS, shards=7)
    return open_rows(Folder(str(tmp_path / "data")), manifest.splits["train"])


def test_only_what_is_asked_for_is_opened(seven: Rows) -> None:
    assert mapped_shards() == 0
    seven.tokens(np.array([seven.first[2], seven.first[5]]))
    assert mapped_shards() == 2
    seven.tokens(np.arange(ROWS))
    assert mapped_shards() == 7


def test_the_shards_used_last_stay_open_and_no_more(seven: Rows) -> None:
    everything = seven.tokens(np.arange(ROWS)), seven.labels(np.arange(ROWS))
    seven.keep_open(2)
    assert mapped_shards() == 2
    for found, expected in zip((seven.tokens(np.arange(ROWS)), seven.labels(np.arange(ROWS))), everything, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert mapped_shards() == 2
    seven.lengths(seven.first[:1])
    assert list(seven._open) == [6, 0]


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 50])
@pytest.mark.parametrize("depth", [1, 3])
def test_reading_ahead_gives_the_same_items_in_order(count: int, depth: int) -> None:
    assert list(read_ahead(iter([f"item {i}" for i in range(count)]), depth)) == [f"item {i}" for i in range(count)]
    assert not reading_threads()


def test_reading_ahead_reads_in_another_thread_and_only_so_far() -> None:
    made: list[int] = []

    def items() -> Iterator[str]:
        for number in itertools.count():
            made.append(number)
            yield threading.current_thread().name

    ahead = read_ahead(items(), depth=3)
    for taken in range(1, 10):
        assert next(ahead).startswith("read-ahead")
        assert len(made) <= taken + 3
    ahead.close()


def test_what_reading_raises_reaches_the_consumer_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(1, 6)
        raise ValueError("shard 7 is torn")

    taken = []
    with pytest.raises(ValueError, match="shard 7 is torn"):  # noqa: PT012
        for item in read_ahead(items()):
            taken.append(item)
    assert taken == [1, 2, 3, 4, 5]
    assert not reading_threads()


@pytest.mark.parametrize("how", ["closed", "an exception in the consumer", "left by a break"])
def test_an_abandoned_reader_stops_its_thread(how: str) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in itertools.count(1):
            made.append(number)
            yield number

    ahead = read_ahead(items())
    assert next(ahead) == 1
    assert reading_threads()
    if how == "closed":
        ahead.close()
    elif how == "left by a break":
        for _ in ahead:
            break
        del ahead
    else:
        with pytest.raises(RuntimeError):
            ahead.throw(RuntimeError("out of memory"))
    assert not reading_threads()
    assert len(made) <= 6
