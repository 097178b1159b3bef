"""The cost of an update (V22 of the standard): a fixed part and one per row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.analysis.throughput import fit

FIXED, PER_ROW = 0.02, 0.0003
ROWS = [8, 16, 32, 64, 128, 256, 512]


def timed(compile_seconds: float, noise: float) -> list[np.ndarray]:
    draw = np.random.default_rng(22)
    seconds = [(FIXED + PER_ROW * rows) * np.exp(noise * draw.standard_normal(31)) for rows in ROWS]
    for repeats in seconds:
        repeats[0] = compile_seconds
    return seconds


def test_a_slow_first_update_does_not_count() -> None:
    found = fit(ROWS, timed(5, noise=0))
    assert (found.seconds_fixed, found.seconds_per_row) == pytest.approx((FIXED, PER_ROW), rel=1e-9)
    assert found.spread == pytest.approx(0, abs=1e-9)


def test_noise_and_stalls_are_borne_by_medians() -> None:
    seconds = timed(5, noise=0.02)
    for repeats in seconds:
        repeats[[7, 21]] *= 50
    found = fit(ROWS, seconds)
    assert (found.seconds_fixed, found.seconds_per_row) == pytest.approx((FIXED, PER_ROW), rel=0.02)
    assert 0.015 < found.spread < 0.05


def test_the_first_update_alone_is_left_out_unless_told_otherwise() -> None:
    assert fit([1, 2], [[9, 1], [9, 1]]).seconds_fixed == pytest.approx(1)
    assert fit([1, 2], [[9, 9, 1], [9, 9, 1]], compiling=2).seconds_fixed == pytest.approx(1)
    assert fit([1, 2], [[1, 9], [1, 9]], compiling=0).seconds_fixed == pytest.approx(5)


def test_the_spread_is_that_of_the_worst_batch_size() -> None:
    quiet, loud = [5.0, *[1.0] * 9], [5.0, *np.linspace(0.5, 1.5, 9)]
    # Quartiles 0.75 and 1.25 around 1, and 1.349 deviations between the quartiles of a normal distribution.
    assert fit([1, 2], [quiet, loud]).spread == pytest.approx(0.5 / 1.349)


@settings(deadline=None)
@given(st.floats(1e-4, 10), st.floats(1e-6, 1))
def test_any_costs_are_recovered(fixed: float, per_row: float) -> None:
    found = fit(ROWS, [[1.0, *[fixed + per_row * rows] * 3] for rows in ROWS])
    assert found.seconds_fixed + found.seconds_per_row * 8 == pytest.approx(fixed + per_row * 8, rel=1e-6)
    assert found.seconds_fixed + found.seconds_per_row * 512 == pytest.approx(fixed + per_row * 512, rel=1e-6)


def test_no_cost_is_negative() -> None:
    found = fit([1, 2, 4], [[0, 1], [0, 3], [0, 8]])
    assert found.seconds_fixed == 0
    assert found.seconds_per_row > 0


def test_what_cannot_be_is_refused() -> None:
    for rows, seconds in (([8], [[1, 1]]), ([8, 8], [[1, 1]] * 2), ([8, 16], [[1, 1]]), ([8, 16], [[1, 1], [1]])):
        with pytest.raises(ValueError, match="more than 1 repeats"):
            fit(rows, seconds)
