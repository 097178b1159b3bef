"""The endless order: every epoch each row once, a pure function of (seed, position)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.order.permutation import rows_at

SEEDS = st.integers(0, 2**32)


@given(rows=st.integers(1, 300), seed=SEEDS, epoch=st.integers(0, 5))
def test_an_epoch_is_a_permutation_of_all_rows(rows: int, seed: int, epoch: int) -> None:
    found = rows_at(range(epoch * rows, (epoch + 1) * rows), rows=rows, seed=seed)
    assert sorted(found) == list(range(rows))


@given(rows=st.integers(1, 50), seed=SEEDS, start=st.integers(0, 200), sizes=st.lists(st.integers(0, 70), max_size=5))
def test_the_order_does_not_depend_on_how_it_is_read(rows: int, seed: int, start: int, sizes: list[int]) -> None:
    whole = rows_at(range(start, start + sum(sizes)), rows=rows, seed=seed)
    parts, at = [], start
    for size in sizes:
        parts.extend(rows_at(range(at, at + size), rows=rows, seed=seed))
        at += size
    assert list(whole) == parts


def test_seeds_and_epochs_differ() -> None:
    def orders(seed: int) -> list[tuple[int, ...]]:
        return [tuple(rows_at(range(e * 20, e * 20 + 20), rows=20, seed=seed)) for e in range(20)]

    assert len(set(orders(0) + orders(1))) == 40


def test_every_place_is_equally_likely() -> None:
    rows, epochs = 8, 4000
    counts = np.zeros((rows, rows))
    for epoch in range(epochs):
        counts[np.arange(rows), rows_at(range(epoch * rows, (epoch + 1) * rows), rows=rows, seed=5)] += 1
    # Chi-square with 49 degrees of freedom: 99.99 % lie below 97.
    assert ((counts - epochs / rows) ** 2 / (epochs / rows)).sum() < 97


def test_the_order_of_old_trials_stays() -> None:
    assert rows_at(range(17, 29), rows=10, seed=42).tolist() == [0, 2, 6, 6, 7, 0, 1, 4, 2, 5, 9, 3]


def test_a_permutation_takes_four_bytes_a_row() -> None:
    from trainer.order.permutation import _permutation

    assert _permutation(1000, 0, 0).nbytes == 4000
