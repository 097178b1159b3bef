"""How many pairs of seeds a claim needs: the power of the tests of `cluster.analysis.paired`. Pure."""

import bisect
import math
from collections.abc import Callable

import numpy as np
from scipy import stats

ALPHA = 0.05
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(100)


def equivalence_power(
    pairs: int, deviation: float, margin: float, true_difference: float = 0.0, alpha: float = ALPHA
) -> float:
    """The chance that two one-sided tests conclude, for normal differences of this true mean and `deviation`.

    This is exact (as Owen's Q): given the measured deviation s, the mean has to fall within margin - t s / sqrt(pairs).
    That normal probability is integrated over the chi distribution of s.
    """
    if not deviation:
        return float(abs(true_difference) < margin)
    freedom, error = pairs - 1, deviation / math.sqrt(pairs)
    critical = float(stats.t.ppf(1 - alpha, freedom))
    chi = stats.chi(freedom)
    # Measured deviations above `widest` leave no room inside the margin.
    widest = margin / (critical * error) * math.sqrt(freedom)
    start, end = (min(widest, float(chi.ppf(share))) for share in (1e-12, 1 - 1e-12))
    found = start + (end - start) * (_NODES + 1) / 2
    room = margin - critical * error * found / math.sqrt(freedom)
    inside = stats.norm.cdf((room - true_difference) / error) - stats.norm.cdf((-room - true_difference) / error)
    return float((end - start) / 2 * (_WEIGHTS @ (inside * chi.pdf(found))))


def pairs_needed(
    deviation: float,
    margin: float,
    true_difference: float = 0.0,
    power: float = 0.8,
    alpha: float = ALPHA,
    most: int = 1000,
) -> int | None:
    """The fewest pairs that show equivalence with this `power`; None if that takes more than `most`.

    `deviation` is that of the paired differences, in the unit of `margin`.
    """
    return _fewest(lambda pairs: equivalence_power(pairs, deviation, margin, true_difference, alpha), power, most)


def pairs_to_detect(
    deviation: float, difference: float, power: float = 0.8, alpha: float = ALPHA, most: int = 1000
) -> int | None:
    """The fewest pairs at which a two-sided paired t test detects a true `difference`; None if more than `most`."""
    if not deviation:
        return 2 if difference else None

    def detects(pairs: int) -> float:
        critical = float(stats.t.ppf(1 - alpha / 2, pairs - 1))
        away = stats.nct(pairs - 1, abs(difference) / deviation * math.sqrt(pairs))
        return float(away.sf(critical) + away.cdf(-critical))

    return _fewest(detects, power, most)


def _fewest(power_of: Callable[[int], float], power: float, most: int) -> int | None:
    """The fewest pairs, at least two, that have this power; power grows with the number of pairs."""
    pairs = 2 + bisect.bisect_left(range(2, most + 1), power, key=power_of)
    return pairs if pairs <= most else None
