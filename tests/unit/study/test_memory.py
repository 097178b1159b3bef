"""The line of a worker's memory, and its inverse."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cluster.study.memory import MemoryModel, guess
from tests.support.trials import TINY

GIB = 2.0**30


@given(
    base=st.floats(0, 4 * GIB),
    slope=st.floats(100, 1e6),
    limit=st.floats(GIB, 64 * GIB),
    length=st.integers(1, 2000),
)
def test_the_most_rows_fit_and_one_more_does_not(base: float, slope: float, limit: float, length: int) -> None:
    model = MemoryModel(base_bytes=base, bytes_per_place=slope, measured=True)
    rows = model.most_rows(limit_bytes=limit, length=length, margin=0.1)
    if rows:
        assert model.bytes_at(micro_batch=rows, length=length) <= limit * 0.9 * (1 + 1e-9)
    assert model.bytes_at(micro_batch=rows + 1, length=length) > limit * 0.9 * (1 - 1e-9)


def test_averages_are_held_in_float64_twice_besides_the_weights_in_whose_place_they_stand() -> None:
    plain, averaging = (
        guess(replace(TINY, average_examples=examples), vocabulary_size=1000, outputs=3).base_bytes
        for examples in (None, 100)
    )
    embedding, recurrent, head = 1000 * 6, 4 * 5 * (6 + 5 + 1), (5 + 1) * 3
    assert averaging - plain == (8 + 8 + 4) * (embedding + recurrent + head)
