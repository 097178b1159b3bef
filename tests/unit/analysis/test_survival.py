"""Censored times to a target (V13 of the standard), and the oracle lifelines."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.analysis import survival

# Four runs reached the target, two were still short of it at the cap of 300.
TIMES, REACHED = [120, 150, 180, 210, 300, 300], [True, True, True, True, False, False]

RUNS = st.lists(st.tuples(st.floats(1, 1000), st.booleans()), min_size=1, max_size=30)


def test_kaplan_meier_of_known_times() -> None:
    curve = survival.kaplan_meier(TIMES, REACHED)
    assert curve.times == (120, 150, 180, 210)
    assert curve.survival == pytest.approx((5 / 6, 4 / 6, 3 / 6, 2 / 6), rel=1e-12)
    assert curve.median == 180


def test_means_of_known_times() -> None:
    assert survival.restricted_mean(TIMES, REACHED, 300) == pytest.approx(210, rel=1e-12)
    assert survival.expected_running_time(TIMES, REACHED) == 315


def test_the_mean_of_the_successes_is_not_offered() -> None:
    assert not hasattr(survival, "mean_of_successes")


def test_lifelines_agrees_with_ties_and_censoring_in_between() -> None:
    times = [5, 8, 8, 12, 13, 13, 20, 25, 25, 30]
    reached = [True, True, False, True, False, True, True, False, True, False]
    curve = survival.kaplan_meier(times, reached)
    # lifelines 0.30.3: KaplanMeierFitter().fit(times, reached).survival_function_ and .median_survival_time_.
    assert curve.times == (5, 8, 12, 13, 20, 25)
    assert curve.survival == pytest.approx((0.9, 0.8, 0.685714, 0.571429, 0.428571, 0.285714), abs=5e-7)
    assert curve.median == 20
    # lifelines.utils.restricted_mean_survival_time(fitted, 30) and (fitted, 22).
    assert survival.restricted_mean(times, reached, 30) == pytest.approx(19.15714285714285, rel=1e-12)
    assert survival.restricted_mean(times, reached, 22) == pytest.approx(16.44285714285714, rel=1e-12)


def test_no_run_reached_the_target() -> None:
    curve = survival.kaplan_meier([300, 300], [False, False])
    assert curve == survival.KaplanMeier((), (), None)
    assert survival.restricted_mean([300, 300], [False, False], 300) == 300
    assert survival.expected_running_time([300, 300], [False, False]) == math.inf


def test_a_median_is_told_only_when_half_the_runs_came_there() -> None:
    assert survival.kaplan_meier([10, 20, 30], [True, False, False]).median is None
    assert survival.kaplan_meier([10, 20, 30, 30], [True, True, False, False]).median == 20


def test_a_half_is_a_half_whatever_the_rounding() -> None:
    # 12 factors of 23 / 24, 22 / 23, ... multiply to 0.5000000000000001.
    times = list(range(1, 25))
    assert survival.kaplan_meier(times, [time <= 12 for time in times]).median == 12


@settings(deadline=None)
@given(RUNS)
def test_a_run_more_that_missed_never_looks_better(runs: list[tuple[float, bool]]) -> None:
    times, reached = [time for time, _ in runs], [came for _, came in runs]
    worse_times, worse_reached = [*times, 1000.0], [*reached, False]
    for mean in (
        lambda times, reached: survival.restricted_mean(times, reached, 1000),
        survival.expected_running_time,
    ):
        assert mean(worse_times, worse_reached) >= mean(times, reached) * (1 - 1e-12)


@settings(deadline=None)
@given(st.lists(st.floats(1, 1000), min_size=1, max_size=30))
def test_without_censoring_every_mean_is_the_mean(times: list[float]) -> None:
    reached, mean = [True] * len(times), sum(times) / len(times)
    assert survival.restricted_mean(times, reached, 1000) == pytest.approx(mean)
    assert survival.expected_running_time(times, reached) == pytest.approx(mean)


@pytest.mark.parametrize(
    ("came", "runs", "low", "high"),
    [
        # statsmodels 0.15.0: proportion_confint(came, runs, 0.05, "wilson").
        (0, 5, 0.0, 0.43448246478317487),
        (3, 5, 0.2307242812760129, 0.8823792257673522),
        (5, 5, 0.5655175352168252, 1.0),
        (7, 10, 0.39677814746114537, 0.8922087325936989),
    ],
)
def test_success_rates_with_their_wilson_interval(came: int, runs: int, low: float, high: float) -> None:
    found = survival.success([True] * came + [False] * (runs - came))
    assert (found.reached, found.runs, found.rate) == (came, runs, came / runs)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-12)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="no run"):
        survival.success([])
    for times, reached in (([], []), ([1.0], [True, False]), ([math.inf], [False])):
        with pytest.raises(ValueError, match="every run"):
            survival.kaplan_meier(times, reached)
