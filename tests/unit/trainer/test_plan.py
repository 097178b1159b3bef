"""The plan: shares and micro-batches take each position once, for any workers; budgets end at the first update."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.order.plan import dealt, is_due, micro_batches, positions_of, share, times_due, total_updates
from trainer.trial import Duration


@given(update=st.integers(0, 10**9), global_batch=st.integers(1, 10**6), workers=st.integers(1, 70))
def test_shares_take_each_position_once_and_differ_by_at_most_one(update: int, global_batch: int, workers: int) -> None:
    positions = positions_of(update, global_batch)
    shares = [share(positions, rank=rank, workers=workers) for rank in range(workers)]
    assert shares[0].start == update * global_batch
    assert shares[-1].stop == (update + 1) * global_batch
    assert all(one.stop == other.start for one, other in itertools.pairwise(shares))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(lengths=st.lists(st.integers(1, 300), max_size=200), workers=st.integers(1, 9))
def test_rows_are_dealt_once_and_no_worker_has_much_more_than_another(lengths: list[int], workers: int) -> None:
    parts = [dealt(np.array(lengths, np.int64), rank=rank, workers=workers) for rank in range(workers)]
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all((np.diff(part) > 0).all() for part in parts)
    tokens = [sum(lengths[i] for i in part) for part in parts]
    # In each round of dealing all get rows of about the same length: what they differ by adds up to one row.
    assert max(tokens) - min(tokens) <= max(lengths, default=0)


@given(lengths=st.lists(st.integers(1, 300), max_size=200), micro_batch=st.integers(1, 64))
def test_micro_batches_take_each_row_once_within_the_limit(lengths: list[int], micro_batch: int) -> None:
    chunks = micro_batches(np.array(lengths, np.int64), micro_batch=micro_batch)
    assert sorted(i for chunk in chunks for i in chunk) == list(range(len(lengths)))
    assert all(0 < len(chunk) <= micro_batch for chunk in chunks)
    assert len(chunks) == -(-len(lengths) // micro_batch)
    longest = [max(lengths[i] for i in chunk) for chunk in chunks]
    assert longest == sorted(longest)


@pytest.mark.parametrize(
    ("unit", "amount", "global_batch", "updates"),
    [
        ("updates", 7, 16, 7),
        ("examples", 100, 16, 7),
        ("examples", 96, 16, 6),
        ("epochs", 1, 17, 3),
        ("epochs", 1, 51, 1),
        ("epochs", 0.1, 1, 6),
        ("epochs", 10, 16, 32),
        ("seconds", 5, 16, None),
    ],
)
def test_a_budget_ends_at_the_first_update_that_reaches_it(
    unit: str, amount: float, global_batch: int, updates: int | None
) -> None:
    assert total_updates(Duration(unit=unit, amount=amount), global_batch=global_batch, rows=51) == updates


def test_rounding_costs_no_update() -> None:
    assert total_updates(Duration(unit="epochs", amount=0.1 + 0.2), global_batch=1, rows=10) == 3


@given(every=st.integers(1, 200), global_batch=st.integers(1, 90), last=st.integers(1, 100))
def test_evaluations_fall_due_at_the_first_update_that_reaches_each(every: int, global_batch: int, last: int) -> None:
    duration = Duration(unit="examples", amount=every)
    due = [u for u in range(1, last + 1) if is_due(duration, update=u, global_batch=global_batch, rows=51)]
    expected = sorted({-(-k * every // global_batch) for k in range(1, last * global_batch // every + 1)})
    assert due == [u for u in expected if u <= last]


def test_seconds_are_not_the_plans_business() -> None:
    assert not is_due(Duration(unit="seconds", amount=1), update=5, global_batch=1, rows=5)


def test_rows_are_dealt_there_and_back() -> None:
    falling = np.arange(12, 0, -1)
    assert [dealt(falling, rank=rank, workers=3).tolist() for rank in range(3)] == [
        [0, 5, 6, 11],
        [1, 4, 7, 10],
        [2, 3, 8, 9],
    ]


def test_rows_of_equal_length_stay_in_their_order() -> None:
    # More than numpy sorts by insertion, which would keep their order whatever it was asked for.
    lengths = np.tile([3, 5], 50)
    order = [*range(0, 100, 2), *range(1, 100, 2)]
    assert [i for chunk in micro_batches(lengths, micro_batch=7) for i in chunk] == order
    falling = [*range(1, 100, 2), *range(0, 100, 2)]
    assert dealt(lengths, rank=0, workers=2).tolist() == sorted(falling[i] for i in range(100) if i % 4 in (0, 3))


def test_a_budget_of_one_update_is_one_update() -> None:
    assert total_updates(Duration(unit="updates", amount=1), global_batch=8, rows=100) == 1
    assert total_updates(Duration(unit="updates", amount=1.5), global_batch=8, rows=100) == 2


@pytest.mark.parametrize(
    ("unit", "amount", "due"),
    [
        ("updates", 3, [3, 6, 9, 12]),
        ("updates", 2.5, [3, 5, 8, 10]),
        ("updates", 0.5, list(range(1, 13))),
        ("examples", 20, [3, 5, 8, 10]),
        ("epochs", 0.4, [5, 10]),
        ("seconds", 1, []),
    ],
)
def test_what_falls_due(unit: str, amount: float, due: list[int]) -> None:
    every = Duration(unit=unit, amount=amount)
    assert [n for n in range(13) if is_due(every, update=n, global_batch=8, rows=100)] == due


@given(
    unit=st.sampled_from(["updates", "examples", "epochs", "seconds"]),
    quarters=st.integers(1, 60),
    updates=st.integers(0, 60),
    global_batch=st.integers(1, 40),
    rows=st.integers(40, 90),
)
def test_how_often_something_falls_due(unit: str, quarters: int, updates: int, global_batch: int, rows: int) -> None:
    every = Duration(unit=unit, amount=quarters / 4)
    due = sum(is_due(every, update=n, global_batch=global_batch, rows=rows) for n in range(updates + 1))
    assert times_due(every, updates=updates, global_batch=global_batch, rows=rows) == due
