"""Paired differences: intervals, equivalence, superiority, ratios and power (V15), and the oracle statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.analysis import paired

DIFFERENCES = [0.31, -0.12, 0.05, 0.22, -0.4, 0.17, 0.08]
SOME = st.lists(st.floats(-10, 10).map(lambda value: round(value, 3)), min_size=2, max_size=12)
REPEATS = 5000


def test_statsmodels_agrees_on_intervals_and_superiority() -> None:
    # statsmodels 0.15.0: DescrStatsW(DIFFERENCES).tconfint_mean(0.05), and .ttest_mean(0) of DIFFERENCES + 0.2.
    found = paired.interval(DIFFERENCES)
    assert (found.low, found.high) == pytest.approx((-0.17683154890302366, 0.2654029774744522), rel=1e-9)
    assert (found.mean, found.pairs) == (pytest.approx(0.31 / 7), 7)
    assert found.deviation == pytest.approx(np.std(DIFFERENCES, ddof=1))
    moved = np.asarray(DIFFERENCES) + 0.2
    assert paired.superiority_p(moved) == paired.superiority_p(-moved) == pytest.approx(0.03542033546276241, rel=1e-9)


@pytest.mark.parametrize(
    ("margin", "p_value", "equivalent"),
    [(0.05, 0.4758166881129164, False), (0.2, 0.06781601549314817, False), (0.5, 0.0011749352842264527, True)],
)
def test_statsmodels_agrees_on_equivalence(margin: float, p_value: float, equivalent: bool) -> None:
    # statsmodels 0.15.0: ttost_paired(DIFFERENCES, zeros, -margin, margin)[0], DescrStatsW.tconfint_mean(0.1).
    found = paired.equivalence(DIFFERENCES, margin)
    assert found.p_value == pytest.approx(p_value, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((-0.13131141861010837, 0.2198828471815369), rel=1e-9)
    assert found.equivalent is equivalent


def test_statsmodels_agrees_on_holm() -> None:
    # statsmodels 0.15.0: multipletests(p_values, method="holm")[1].
    assert paired.holm([0.01, 0.04, 0.03, 0.005, 0.5]) == pytest.approx((0.04, 0.09, 0.09, 0.025, 0.5), rel=1e-12)
    assert paired.holm([0.9, 0.8]) == (1, 1)
    assert paired.holm([]) == ()


@settings(deadline=None)
@given(SOME, st.floats(0.01, 20))
def test_equivalent_is_the_interval_inside_the_margin_is_a_small_p(differences: list[float], margin: float) -> None:
    found = paired.equivalence(differences, margin)
    assert found.low is not None
    assert found.high is not None
    assert found.equivalent == (max(-found.low, found.high) < margin)
    if abs(found.p_value - 0.05) > 1e-9:
        assert found.equivalent == (found.p_value < 0.05)
    mirrored = paired.equivalence([-value for value in differences], margin)
    assert (mirrored.p_value, mirrored.equivalent) == (pytest.approx(found.p_value, abs=1e-12), found.equivalent)


@settings(deadline=None)
@given(SOME)
def test_a_95_percent_interval_without_zero_is_a_p_below_5_percent(differences: list[float]) -> None:
    found, p_value = paired.interval(differences), paired.superiority_p(differences)
    assert found.low is not None
    assert found.high is not None
    if abs(p_value - 0.05) > 1e-9:
        assert (found.low > 0 or found.high < 0) == (p_value < 0.05)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lowers_no_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = paired.holm(p_values)
    assert all(one <= other <= 1 for one, other in zip(p_values, adjusted, strict=True))
    by_size = [adjusted[number] for number in np.argsort(p_values, kind="stable")]
    assert by_size == sorted(by_size)


def test_differences_without_any_deviation_decide_by_their_mean() -> None:
    same = [0.1, 0.1, 0.1]
    assert paired.equivalence(same, 0.2) == paired.Equivalence(0, *paired_ends(same), True)
    assert paired.equivalence(same, 0.05) == paired.Equivalence(1, *paired_ends(same), False)
    assert paired.equivalence([1, 1, 1], 1).equivalent is False
    assert paired.superiority_p(same) == 0
    assert paired.superiority_p([0, 0, 0]) == 1


def paired_ends(values: list[float]) -> tuple[float | None, float | None]:
    found = paired.interval(values)
    assert found.low == found.high == pytest.approx(values[0])
    return found.low, found.high


def test_one_pair_proves_nothing() -> None:
    assert paired.interval([0.5]) == paired.Interval(0.5, None, None, None, 1)
    assert paired.equivalence([0], 10) == paired.Equivalence(1, None, None, False)
    assert paired.superiority_p([100]) == 1
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


@pytest.mark.parametrize(("margin", "pairs"), [(0.5, 36), (1, 11), (1.5, 6), (2, 4), (3, 3)])
def test_pairs_needed_are_the_standards_table(margin: float, pairs: int) -> None:
    assert paired.pairs_needed(1, margin) == paired.pairs_needed(0.02, 0.02 * margin) == pairs


def test_pairs_needed_at_the_ends() -> None:
    assert paired.pairs_needed(1, 0.01) is None
    assert paired.pairs_needed(1, 1, true_difference=1) is None
    assert paired.pairs_needed(0, 1) == paired.pairs_needed(1, 100) == 2
    assert paired.pairs_needed(0, 1, true_difference=2) is None
    needed = [paired.pairs_needed(1, 1, true_difference=away) or 1000 for away in (-0.5, 0, 0.5)]
    assert needed[0] == needed[2] > needed[1]


@pytest.mark.parametrize(("difference", "pairs"), [(0.5, 34), (1, 10), (1.5, 6), (2, 5)])
def test_statsmodels_agrees_on_pairs_to_detect(difference: float, pairs: int) -> None:
    # statsmodels 0.15.0: ceil(TTestPower().solve_power(difference, power=0.8, alpha=0.05)): 33.4, 9.94, 5.69, 4.22.
    assert paired.pairs_to_detect(1, difference) == paired.pairs_to_detect(1, -difference) == pairs


def test_pairs_to_detect_at_the_ends() -> None:
    assert paired.pairs_to_detect(1, 0) is None
    assert paired.pairs_to_detect(1, 0.001) is None
    assert paired.pairs_to_detect(0, 0) is None
    assert paired.pairs_to_detect(0, 1) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("pairs", "margin", "power"), [(5, 1, 0.29), (10, 1, 0.79), (5, 2, 0.95), (10, 2, 1.0)])
def test_the_chance_to_conclude_equivalence(pairs: int, margin: float, power: float) -> None:
    draw = np.random.default_rng(15).standard_normal((REPEATS, pairs))
    concluded = np.mean([paired.equivalence(one, margin).equivalent for one in draw])
    assert concluded == pytest.approx(power, abs=0.03)
    # Three deviations of a share of so many repeats, at most.
    assert paired.equivalence_power(pairs, 1, margin) == pytest.approx(concluded, abs=0.0213)


@pytest.mark.slow
@pytest.mark.parametrize(("pairs", "margin"), [(5, 1), (10, 1), (5, 2), (10, 2)])
def test_a_true_difference_of_the_margin_is_called_equivalent_in_5_percent(pairs: int, margin: float) -> None:
    draw = margin + np.random.default_rng(15).standard_normal((REPEATS, pairs))
    wrongly = np.mean([paired.equivalence(one, margin).equivalent for one in draw])
    assert wrongly <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / REPEATS)
    assert paired.equivalence_power(pairs, 1, margin, true_difference=margin) <= 0.05


def test_what_cannot_be_is_refused() -> None:
    for values in ([], [math.nan], [1, math.inf], [[1, 2], [3, 4]]):
        with pytest.raises(ValueError, match="finite"):
            paired.interval(values)
    with pytest.raises(ValueError, match="margin"):
        paired.equivalence([1, 2], 0)
    for above, below in (([1, 2], [1]), ([0, 1], [1, 1]), ([1, 1], [1, -1])):
        with pytest.raises(ValueError, match="positive"):
            paired.log_ratio(above, below)
