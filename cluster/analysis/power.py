"""What a number of paired seeds can tell: the power of the t tests at a single look (`cluster.study.looks`). Pure."""

import bisect
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, gammaln, ndtr, ndtri, stdtrit, xlogy

from cluster.study.looks import ALPHA

Floats = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(100)
# The middles of so many equally likely parts of a distribution.
_MIDDLES = (np.arange(5) + 0.5) / 5


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
    critical = float(stdtrit(freedom, 1 - alpha))
    # Measured deviations above `widest` leave no room inside the margin.
    widest = margin / (critical * error) * math.sqrt(freedom)
    start, end = (min(widest, _chi_quantile(share, freedom)) for share in (1e-12, 1 - 1e-12))
    found = start + (end - start) * (_NODES + 1) / 2
    room = margin - critical * error * found / math.sqrt(freedom)
    inside = ndtr((room - true_difference) / error) - ndtr((-room - true_difference) / error)
    return float((end - start) / 2 * (_WEIGHTS @ (inside * _chi_density(found, freedom))))


def chance_to_decide(
    pairs: int, deviation: float, margin: float, true_difference: float, alpha: float = ALPHA
) -> float:
    """The chance that one comparison at a single look is decided: equivalent, or different by the margin or more."""
    return equivalence_power(pairs, deviation, margin, true_difference, alpha) + detection_power(
        pairs, deviation, true_difference, alpha, least=margin
    )


def assurance(pairs: int, margin: float, *, difference: float, deviation: float, measured_pairs: int) -> float:
    """The chance that so many fresh pairs decide, whatever the truth is that the measured pairs leave possible.

    `chance_to_decide` is averaged over the true differences and deviations, given the mean `difference` and `deviation`
    of `measured_pairs` pairs, where before any difference and any logarithm of a deviation was as likely as another
    (O'Hagan, Stevens and Campbell 2005, "Assurance in clinical trial design").
    """
    freedom = measured_pairs - 1
    chances = []
    for share in _MIDDLES:
        true_deviation = deviation * math.sqrt(freedom) / _chi_quantile(share, freedom)
        error = true_deviation / math.sqrt(measured_pairs)
        chances += [
            chance_to_decide(pairs, true_deviation, margin, difference + error * float(ndtri(part)))
            for part in _MIDDLES
        ]
    return sum(chances) / len(chances)


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
    return fewest_pairs(lambda pairs: equivalence_power(pairs, deviation, margin, true_difference, alpha), power, most)


def detection_power(pairs: int, deviation: float, difference: float, alpha: float = ALPHA, least: float = 0.0) -> float:
    """The chance that a two-sided paired t test detects a true `difference` and measures at least `least`.

    Both are in the unit of `deviation`, which is that of the differences.

    It is integrated like `equivalence_power`: scipy's noncentral t distribution is NaN at some of its arguments.
    """
    freedom, error = pairs - 1, deviation / math.sqrt(pairs)
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    start, end = (_chi_quantile(share, freedom) for share in (1e-12, 1 - 1e-12))
    found = start + (end - start) * (_NODES + 1) / 2
    needed = np.maximum(critical * error * found / math.sqrt(freedom), least)
    missed = ndtr((needed - difference) / error) - ndtr((-needed - difference) / error)
    return 1 - float((end - start) / 2 * (_WEIGHTS @ (missed * _chi_density(found, freedom))))


def detectable(pairs: int, deviation: float, power: float = 0.8) -> float:
    """The smallest true difference that so many pairs detect with this `power`; 0 without a deviation."""
    return _in_deviations(lambda size: detection_power(pairs, 1.0, size) - power) * deviation


def decidable(pairs: int, deviation: float, power: float = 0.8) -> float:
    """The smallest margin within which so many pairs show equal batch sizes equivalent with this `power`."""
    return _in_deviations(lambda size: equivalence_power(pairs, 1.0, size) - power) * deviation


def fewest_pairs(power_of: Callable[[int], float], power: float, most: int) -> int | None:
    """The fewest pairs, at least two, that have this power; power grows with the number of pairs."""
    pairs = 2 + bisect.bisect_left(range(2, most + 1), power, key=power_of)
    return pairs if pairs <= most else None


def _chi_quantile(share: float, freedom: int) -> float:
    """The quantile of the chi distribution: the square root of that of chi-squared."""
    return math.sqrt(2 * float(gammaincinv(freedom / 2, share)))


def _chi_density(values: Floats, freedom: int) -> Floats:
    """The density of the chi distribution."""
    scale = math.log(2) * (1 - freedom / 2) - float(gammaln(freedom / 2))
    found: Floats = np.exp(scale + xlogy(freedom - 1, values) - values**2 / 2)
    return found


def _in_deviations(excess: Callable[[float], float]) -> float:
    """The size at which a power that rises with it is the one wanted, in deviations."""
    # Importing it takes half a second, and only `noise` asks for it.
    from scipy.optimize import brentq

    found: float = brentq(excess, 1e-3, 100.0, xtol=1e-6)
    return found
