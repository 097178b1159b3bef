"""Seeds in looks: known answers, the bounds of each look, and the errors of whole studies."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cluster.analysis.paired import interval
from cluster.study.looks import ALPHA, Looks, decide, holm, looks_of, p_values
from tests.support.look_worlds import LookWorld, played

A = (0.010, -0.012, 0.006, -0.004, 0.008)
B = (0.16, 0.12, 0.15, 0.13, 0.17)
MARGIN = 0.1
SOME = st.lists(st.floats(-10, 10).map(lambda value: round(value, 3)), min_size=2, max_size=12)
# The known answers are for weights that sum to 1.15; the product's sum to 1.
TWENTY = Looks((5, 7, 10, 14, 20), (0.1725, 0.1725, 0.23, 0.2875, 0.2875))


def test_the_known_answers() -> None:
    assert p_values(A, MARGIN)[1] == pytest.approx(9.52943e-06, rel=1e-5)
    assert p_values(B, MARGIN)[0] == pytest.approx(9.50922e-05, rel=1e-5)
    found = decide({"a": A, "b": B}, MARGIN, TWENTY)
    assert (found["a"].claim, found["a"].seeds) == ("equivalent", 5)
    assert (found["b"].claim, found["b"].seeds) == ("different", 5)
    alone = decide({"a": A}, MARGIN, TWENTY)["a"].p_equivalent, decide({"b": B}, MARGIN, TWENTY)["b"].p_different
    assert alone == pytest.approx((5.52431e-05, 5.51259e-04), rel=1e-5)


@pytest.mark.parametrize(
    ("holm_factor", "bounds"),
    [
        (1, [(4.804, 3.920), (3.833, 3.260), (3.163, 2.736), (2.823, 2.458), (2.694, 2.366)]),
        (2, [(5.830, 4.804), (4.454, 3.833), (3.600, 3.163), (3.184, 2.823), (3.011, 2.694)]),
        (5, [(7.460, 6.196), (5.362, 4.665), (4.202, 3.744), (3.661, 3.300), (3.419, 3.111)]),
        (40, [(12.786, 10.706), (7.917, 6.977), (5.718, 5.186), (4.780, 4.399), (4.332, 4.028)]),
    ],
)
def test_the_bounds_of_twenty_seeds(holm_factor: int, bounds: list[tuple[float, float]]) -> None:
    for seeds, weight, (different, equivalent) in zip(TWENTY.seeds, TWENTY.weights, bounds, strict=True):
        assert stats.t.isf(ALPHA * weight / (2 * holm_factor), seeds - 1) == pytest.approx(different, abs=6e-4)
        assert stats.t.isf(ALPHA * weight / holm_factor, seeds - 1) == pytest.approx(equivalent, abs=6e-4)


def test_looks_follow_from_the_most_seeds() -> None:
    assert looks_of("auto", 20).seeds == (5, 7, 10, 14, 20)
    assert looks_of("auto", 14) == Looks((5, 7, 10, 14), (0.2, 0.2, 0.3, 0.3))
    assert looks_of("auto", 12).seeds == (5, 7, 10, 12)
    assert looks_of("auto", 5) == looks_of("none", 5) == Looks((5,), (1.0,))
    assert looks_of("auto", 3) == Looks((3,), (1.0,))
    assert looks_of((4, 8), 9).seeds == (4, 8, 9)


@given(st.integers(1, 30))
def test_every_look_has_a_weight_and_they_are_the_whole_error(most: int) -> None:
    looks = looks_of("auto", most)
    assert looks.seeds[-1] == most
    assert list(looks.seeds) == sorted(set(looks.seeds))
    assert sum(looks.weights) == pytest.approx(1)


def test_a_comparison_goes_on_until_it_is_decided_and_is_kept_then() -> None:
    wide = (0.1, -0.1, 0.09, -0.08, 0.05)
    assert decide({"a": wide}, MARGIN, TWENTY)["a"].claim is None
    longer = (*wide, 0.0, 0.001, -0.002, 0.001, 0.0)
    found = decide({"a": longer}, MARGIN, TWENTY)["a"]
    assert (found.claim, found.seeds) == ("equivalent", 10)
    # What came after the look that decided changes nothing.
    assert decide({"a": (*longer, *[9.0] * 10)}, MARGIN, TWENTY)["a"] == found


def test_a_look_that_is_not_reached_is_not_taken() -> None:
    found = decide({"a": A[:4]}, MARGIN, TWENTY)["a"]
    assert (found.claim, found.seeds) == (None, 0)


def test_pairs_without_a_difference_are_left_out_and_two_never_decide() -> None:
    assert decide({"a": (*A[:3], None, None)}, MARGIN, TWENTY)["a"].claim == "equivalent"
    found = decide({"a": (*A[:2], None, None, None)}, MARGIN, TWENTY)["a"]
    assert (found.claim, found.seeds) == (None, 5)


def test_a_difference_below_the_margin_is_shown_without_being_called_one() -> None:
    small = (0.051, 0.049, 0.050, 0.052, 0.048)
    assert decide({"a": small}, 0.0505, TWENTY)["a"].claim is None
    assert decide({"a": small}, 0.0505, TWENTY)["a"].differs


def test_all_comparisons_of_a_study_share_the_error() -> None:
    # Two-sided p = .0118 is under .05 alone, but not among eight.
    one = (0.2, 0.1, 0.3, 0.1, 0.25)
    noise = (0.1, -0.1, 0.2, -0.2, 0.01)
    assert decide({"a": one}, 0.05, looks_of("none", 5))["a"].claim == "different"
    many = {"a": one, **{str(number): noise for number in range(7)}}
    assert decide(many, 0.05, looks_of("none", 5))["a"].claim is None


def test_without_a_margin_nothing_is_equivalent() -> None:
    assert decide({"a": (0.0, 0.0, 0.0), "b": B}, None, looks_of("none", 3))["a"].claim is None
    assert decide({"b": B}, None, looks_of("none", 5))["b"].claim == "different"


def test_statsmodels_agrees_on_holm() -> None:
    # statsmodels 0.15.0: multipletests(p_values, method="holm")[1].
    assert holm([0.01, 0.04, 0.03, 0.005, 0.5]) == pytest.approx((0.04, 0.09, 0.09, 0.025, 0.5), rel=1e-12)
    assert holm([0.9, 0.8]) == (1, 1)
    assert holm([]) == ()


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lowers_no_p_value_and_keeps_their_order(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(one <= other <= 1 for one, other in zip(values, adjusted, strict=True))
    by_size = [adjusted[number] for number in np.argsort(values, kind="stable")]
    assert by_size == sorted(by_size)


@settings(deadline=None)
@given(SOME, st.floats(0.01, 20))
def test_equivalent_is_the_90_percent_interval_inside_the_margin(differences: list[float], margin: float) -> None:
    found, narrow = p_values(differences, margin)[1], interval(differences, 0.9)
    assert narrow.low is not None
    assert narrow.high is not None
    if abs(found - 0.05) > 1e-9:
        assert (found < 0.05) == (max(-narrow.low, narrow.high) < margin)
    assert p_values([-value for value in differences], margin)[1] == pytest.approx(found, abs=1e-12)


@settings(deadline=None)
@given(SOME)
def test_a_95_percent_interval_without_zero_is_a_p_below_5_percent(differences: list[float]) -> None:
    found, wide = p_values(differences, None)[0], interval(differences)
    assert wide.low is not None
    assert wide.high is not None
    if abs(found - 0.05) > 1e-9:
        assert (wide.low > 0 or wide.high < 0) == (found < 0.05)


@pytest.mark.parametrize(
    ("differences", "margin", "found"), [((0.2,) * 5, 0.1, (0.0, 1.0)), ((0.0,) * 5, 0.1, (1.0, 0.0))]
)
def test_equal_differences_decide_by_themselves(
    differences: Sequence[float], margin: float, found: tuple[float, float]
) -> None:
    assert p_values(differences, margin) == found


def test_p_values_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).normal(0.03, 0.05, 8)
    assert p_values(values.tolist(), None)[0] == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    below = stats.ttest_1samp(values, MARGIN, alternative="less").pvalue
    above = stats.ttest_1samp(values, -MARGIN, alternative="greater").pvalue
    assert p_values(values.tolist(), MARGIN)[1] == pytest.approx(max(below, above))
    assert math.isclose(p_values((-values).tolist(), MARGIN)[1], max(below, above))


@pytest.mark.parametrize("most", [5, pytest.param(14, marks=pytest.mark.slow)])
@pytest.mark.parametrize("groups", [1, 3])
def test_whole_studies_are_wrong_in_no_more_than_5_percent(most: int, groups: int) -> None:
    studies, margin = 400, 2**0.5
    looks, random = looks_of("auto", most), np.random.default_rng(0)
    equal = LookWorld(losses=[[0.0] * 6] * groups)
    at_margin = LookWorld(losses=[[0.0, *[margin] * 5]] * groups)
    # Where all are equal the margin is small, so that it forgives nothing.
    for world, claim, most_apart in ((equal, "different", 0.2 * margin), (at_margin, "equivalent", margin)):
        studied = (played(world, looks, most_apart, random)[0] for _ in range(studies))
        wrong = sum(any(one.claim == claim for one in found.values()) for found in studied)
        # Of a rate of 5 %, one sample in a hundred has more; `tests.benchmarks.looks` measures the rates themselves.
        assert wrong <= stats.binom.ppf(0.99, studies, 0.05)


def test_without_holm_over_all_groups_they_are_wrong_more_often() -> None:
    random, margin, wrong = np.random.default_rng(0), 0.2 * 2**0.5, 0
    world, looks = LookWorld(losses=[[0.0] * 6]), looks_of("auto", 5)
    for _ in range(200):
        several = [played(world, looks, margin, random)[0] for _ in range(8)]
        wrong += any(one.claim == "different" for found in several for one in found.values())
    assert wrong > stats.binom.ppf(0.99, 200, 0.05)
