"""What a number of pairs can tell, against a table, statsmodels and simulation."""

import numpy as np
import pytest

from cluster.analysis import power
from cluster.study.looks import ALPHA, p_values

REPEATS = 5000


@pytest.mark.parametrize(("margin", "pairs"), [(0.5, 36), (1, 11), (1.5, 6), (2, 4), (3, 3)])
def test_pairs_needed_are_the_standards_table(margin: float, pairs: int) -> None:
    assert power.pairs_needed(1, margin) == power.pairs_needed(0.02, 0.02 * margin) == pairs


def test_pairs_needed_at_the_ends() -> None:
    assert power.pairs_needed(1, 0.01) is None
    assert power.pairs_needed(1, 1, true_difference=1) is None
    assert power.pairs_needed(0, 1) == power.pairs_needed(1, 100) == 2
    assert power.pairs_needed(0, 1, true_difference=2) is None
    needed = [power.pairs_needed(1, 1, true_difference=away) or 1000 for away in (-0.5, 0, 0.5)]
    assert needed[0] == needed[2] > needed[1]


@pytest.mark.parametrize(("difference", "pairs"), [(0.5, 34), (1, 10), (1.5, 6), (2, 5)])
def test_statsmodels_agrees_on_the_power_to_detect(difference: float, pairs: int) -> None:
    # statsmodels 0.15.0: ceil(TTestPower().solve_power(difference, power=0.8, alpha=0.05)): 33.4, 9.94, 5.69, 4.22.
    assert power.detection_power(pairs, 1, difference) >= 0.8 > power.detection_power(pairs - 1, 1, difference)
    assert power.detection_power(pairs, 1, -difference) == pytest.approx(power.detection_power(pairs, 1, difference))


def test_the_smallest_sizes_are_those_of_the_powers_and_scale_with_the_deviation() -> None:
    for pairs in (5, 10, 20):
        assert power.detection_power(pairs, 1, power.detectable(pairs, 1)) == pytest.approx(0.8, abs=1e-4)
        assert power.equivalence_power(pairs, 1, power.decidable(pairs, 1)) == pytest.approx(0.8, abs=1e-4)
        assert power.detectable(pairs, 0.02) == pytest.approx(0.02 * power.detectable(pairs, 1))
    assert (power.detectable(5, 0), power.decidable(5, 0)) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("pairs", "margin", "share"), [(5, 1, 0.29), (10, 1, 0.79), (5, 2, 0.95), (10, 2, 1.0)])
def test_the_chance_to_conclude_equivalence(pairs: int, margin: float, share: float) -> None:
    draw = np.random.default_rng(15).standard_normal((REPEATS, pairs))
    concluded = np.mean([p_values(one.tolist(), margin)[1] <= ALPHA for one in draw])
    assert concluded == pytest.approx(share, abs=0.03)
    # Three deviations of a share of so many repeats, at most.
    assert power.equivalence_power(pairs, 1, margin) == pytest.approx(concluded, abs=0.0213)
    assert power.equivalence_power(pairs, 1, margin, true_difference=margin) <= 0.05
