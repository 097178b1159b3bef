"""Paired differences: intervals and ratios (V15), and the oracle statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.analysis import paired

DIFFERENCES = [0.31, -0.12, 0.05, 0.22, -0.4, 0.17, 0.08]


def test_statsmodels_agrees_on_intervals() -> None:
    # statsmodels 0.15.0: DescrStatsW(DIFFERENCES).tconfint_mean(0.05), and .tconfint_mean(0.1).
    found = paired.interval(DIFFERENCES)
    assert (found.low, found.high) == pytest.approx((-0.17683154890302366, 0.2654029774744522), rel=1e-9)
    assert (found.mean, found.pairs) == (pytest.approx(0.31 / 7), 7)
    assert found.deviation == pytest.approx(np.std(DIFFERENCES, ddof=1))
    narrow = paired.interval(DIFFERENCES, 0.9)
    assert (narrow.low, narrow.high) == pytest.approx((-0.13131141861010837, 0.2198828471815369), rel=1e-9)


def test_equal_differences_and_single_ones() -> None:
    same = paired.interval([0.1, 0.1, 0.1])
    assert same.low == same.high == pytest.approx(0.1)
    assert paired.interval([0.5]) == paired.Interval(0.5, None, None, None, 1)
    ratio = paired.log_ratio([6], [3])
    assert (ratio.mean, ratio.low, ratio.high) == (pytest.approx(2), None, None)


def test_ratios_are_geometric_means() -> None:
    found = paired.log_ratio([2, 8], [1, 1])
    # Logs log 4 -+ log 2: deviation sqrt(2) log 2, half width t(0.975, 1) log 2 with t = 12.706.
    assert found.mean == pytest.approx(4)
    assert found.deviation == pytest.approx(math.sqrt(2) * math.log(2))
    assert (found.low, found.high) == pytest.approx((4 / 2**12.7062047, 4 * 2**12.7062047), rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=2, max_size=10), st.floats(0.1, 10))
def test_a_ratio_turned_round_is_its_inverse_in_any_unit(pairs: list[tuple[float, float]], unit: float) -> None:
    above, below = np.transpose(pairs)
    found, turned = paired.log_ratio(unit * above, unit * below), paired.log_ratio(below, above)
    assert found.mean * turned.mean == pytest.approx(1)
    assert found.low is not None
    assert turned.high is not None
    assert math.log(found.low) + math.log(turned.high) == pytest.approx(0, abs=1e-9)


def test_what_cannot_be_is_refused() -> None:
    for values in ([], [math.nan], [1, math.inf], [[1, 2], [3, 4]]):
        with pytest.raises(ValueError, match="finite"):
            paired.interval(values)
    for above, below in (([1, 2], [1]), ([0, 1], [1, 1]), ([1, 1], [1, -1])):
        with pytest.raises(ValueError, match="positive"):
            paired.log_ratio(above, below)
