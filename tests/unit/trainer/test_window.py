"""The windowed shuffle: each row once an epoch, near its block, whatever is asked in whatever pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.order.permutation import rows_at
from trainer.order.window import BLOCKS, shards_needed

SEEDS = st.integers(0, 2**32)
unhurried = settings(deadline=None)


@unhurried
@given(rows=st.integers(1, 300), window=st.integers(1, 400), seed=SEEDS, epoch=st.integers(0, 5))
def test_an_epoch_is_a_permutation_of_all_rows(rows: int, window: int, seed: int, epoch: int) -> None:
    found = rows_at(range(epoch * rows, (epoch + 1) * rows), rows=rows, seed=seed, window_rows=window)
    assert sorted(found) == list(range(rows))


@unhurried
@given(
    rows=st.integers(1, 60),
    window=st.integers(1, 80),
    seed=SEEDS,
    start=st.integers(0, 200),
    sizes=st.lists(st.integers(0, 70), max_size=5),
    data=st.data(),
)
def test_the_order_does_not_depend_on_how_it_is_read(
    rows: int, window: int, seed: int, start: int, sizes: list[int], data: st.DataObject
) -> None:
    whole = rows_at(range(start, start + sum(sizes)), rows=rows, seed=seed, window_rows=window)
    firsts = start + np.cumsum([0, *sizes])
    for part in data.draw(st.permutations(range(len(sizes)))):
        asked = range(firsts[part], firsts[part + 1])
        found = rows_at(asked, rows=rows, seed=seed, window_rows=window)
        assert found.tolist() == whole[asked.start - start : asked.stop - start].tolist()


@unhurried
@given(rows=st.integers(1, 300), window=st.integers(1, 400), seed=SEEDS, epoch=st.integers(0, 3))
def test_a_window_is_eight_whole_blocks(rows: int, window: int, seed: int, epoch: int) -> None:
    size = -(-window // 8)
    left = rows_at(range(epoch * rows, (epoch + 1) * rows), rows=rows, seed=seed, window_rows=window).tolist()
    while left:
        # The blocks of the next window are those of its rows: take rows until eight blocks are whole.
        blocks = list(dict.fromkeys(row // size for row in left))[:BLOCKS]
        members = {row for block in blocks for row in range(block * size, min((block + 1) * size, rows))}
        assert set(left[: len(members)]) == members
        left = left[len(members) :]


@given(rows=st.integers(1, 100), extra=st.integers(0, 50), seed=SEEDS)
def test_a_window_of_all_rows_draws_any_order(rows: int, extra: int, seed: int) -> None:
    assert -(-rows // -(-(rows + extra) // 8)) <= BLOCKS


def test_a_window_of_all_rows_puts_every_row_everywhere() -> None:
    rows, epochs = 8, 4000
    counts = np.zeros((rows, rows))
    for epoch in range(epochs):
        found = rows_at(range(epoch * rows, (epoch + 1) * rows), rows=rows, seed=5, window_rows=rows)
        counts[np.arange(rows), found] += 1
    # Chi-square with 49 degrees of freedom: 99.99 % lie below 97.
    assert ((counts - epochs / rows) ** 2 / (epochs / rows)).sum() < 97


def test_seeds_epochs_and_windows_differ() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return rows_at(range(epoch * 64, epoch * 64 + 64), rows=64, seed=seed, window_rows=32).tolist()

    orders = [order(seed, epoch) for seed in range(3) for epoch in range(5)]
    assert len({tuple(one) for one in orders}) == 15
    # Places within their blocks: two windows of one epoch are not permuted alike.
    assert any([row % 4 for row in one[:32]] != [row % 4 for row in one[32:]] for one in orders)


def test_the_order_of_old_trials_stays() -> None:
    assert rows_at(range(17, 29), rows=10, seed=42).tolist() == [0, 2, 6, 6, 7, 0, 1, 4, 2, 5, 9, 3]
    assert rows_at(range(15, 40), rows=20, seed=42, window_rows=10).tolist() == (
        [4, 3, 2, 0, 1, 11, 4, 18, 10, 9, 19, 16, 8, 17, 7, 2, 13, 6, 3, 5, 12, 15, 0, 1, 14]
    )


@pytest.mark.parametrize(("window", "expected"), [(None, 5), (1000, 5), (8, 5), (1, 5)])
def test_few_blocks_may_need_all_shards(window: int | None, expected: int) -> None:
    assert shards_needed(np.array([0, 10, 20, 30, 40, 50]), window) == expected


def test_two_windows_need_the_shards_of_sixteen_blocks() -> None:
    shards_of_1000 = np.arange(0, 1_000_001, 1000)
    assert shards_needed(shards_of_1000, 8 * 1000) == 16
    assert shards_needed(shards_of_1000, 8 * 500) == 16
    assert shards_needed(shards_of_1000, 8 * 3000) == 48
    # Blocks of 1001 rows lie in two shards.
    assert shards_needed(shards_of_1000, 8 * 1001) == 32
    assert shards_needed(shards_of_1000, None) == 1000


@pytest.mark.slow
@unhurried
@given(st.data())
def test_what_is_needed_covers_any_two_windows(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=40))
    first = np.cumsum([0, *counts])
    rows, window = int(first[-1]), data.draw(st.integers(1, 100))
    size = 8 * -(-window // 8)
    order = rows_at(range(rows), rows=rows, seed=1, window_rows=window)
    shards = np.searchsorted(first, order, side="right") - 1
    # No stretch of one window's length touches more than two windows.
    for start in range(rows):
        assert len(set(shards[start : start + size // 2].tolist())) <= shards_needed(first, window)
