"""The set that holds the soonest: known answers, and how often it loses the true one."""

import numpy as np
import pytest

from cluster.analysis.paired import log_ratio
from cluster.analysis.soonest import p_slower, remaining

TIMES = {
    1: [10.0, 11.0, 9.0, 10.0, 12.0],
    2: [13.0, 15.0, 12.0, 14.0, 16.0],
    3: [11.0, 10.0, 12.0, 9.0, 13.0],
}


def by_seed(times: list[float]) -> dict[int, float]:
    return dict(enumerate(times))


def test_the_known_answers() -> None:
    one, two, three = (by_seed(times) for times in TIMES.values())
    assert p_slower(two, one) == pytest.approx(0.00001, abs=5e-6)
    assert p_slower(two, three) == pytest.approx(0.01980, abs=5e-6)
    assert p_slower(three, one) == pytest.approx(0.25420, abs=5e-6)
    assert remaining({1: one, 2: two, 3: three}) == (1, 3)


def test_times_at_the_cap_bound_the_ratio() -> None:
    slow = [40.0, 40.0, 25.0, 40.0, 40.0]
    ratio = log_ratio(TIMES[1], slow)
    assert (ratio.mean, ratio.high) == (pytest.approx(0.2843, abs=5e-5), pytest.approx(0.3434, abs=5e-5))
    assert p_slower(by_seed(slow), by_seed(TIMES[1])) == pytest.approx(2.53e-05, rel=0.01)


def test_few_pairs_and_equal_times_tell_nothing() -> None:
    assert p_slower({0: 9.0, 1: 9.1}, {0: 1.0, 1: 1.1}) == 1.0
    same = by_seed([5.0] * 4)
    assert remaining({1: same, 2: same}) == (1, 2)
    assert remaining({1: same, 2: by_seed([6.0] * 4)}) == (1,)
    assert remaining({1: same}) == (1,)


@pytest.mark.parametrize(
    ("cells", "faster"), [(6, 1.0), pytest.param(12, 1.0, marks=pytest.mark.slow), (6, 0.8), (2, 0.67)]
)
def test_the_truly_soonest_is_lost_in_no_more_than_5_percent(cells: int, faster: float) -> None:
    random, lost, studies = np.random.default_rng(0), 0, 500
    means = np.array([faster, *[1.0] * (cells - 1)])
    for _ in range(studies):
        times = np.exp(np.log(means)[:, None] + random.normal(0, 0.15, (cells, 5)))
        lost += 0 not in remaining({cell: by_seed(row.tolist()) for cell, row in enumerate(times)})
    assert lost / studies <= 0.05
