"""Seeds confirmed in looks: the comparisons that are decided stop, the others go on to more seeds. Pure.

At each look a comparison has two p-values: of the two-sided paired t test for no difference, and of the two one-sided
tests (Schuirmann 1987) for a difference of at least the margin. Looking several times would be wrong more often than
promised, so each look has a part of the whole error, its weight w, and a comparison's sequential p-value is the least
p / w of its looks so far. The weights sum to 1, so this is Bonferroni's inequality, valid under any dependence. Larger
ones would do for one comparison, since looks at growing data depend on each other, but with sums of 1.1 and 1.12
studies of 40 comparisons were wrong in 5.5 % (`python -m tests.benchmarks.looks --sum 1.12`).

Holm's procedure (1979) over all comparisons of a study keeps each of the two errors at 5 % for the whole study: a
comparison called different although it is not, and one called equivalent although it differs by the margin or more.
The two are false in different worlds, so they do not share the 5 % (Tamhane and Gou 2021 on Holm for groups of looks).
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

ALPHA = 0.05
AUTO, NONE = "auto", "none"
# Two pairs have a t interval thirteen deviations wide.
FEWEST_PAIRS = 3
_STANDARD = (5, 7, 10, 14, 20)
_WEIGHTS = {
    10: (0.3, 0.3, 0.4),
    14: (0.2, 0.2, 0.3, 0.3),
    20: (0.15, 0.15, 0.2, 0.25, 0.25),
}
Claim = Literal["equivalent", "different"]
Key = TypeVar("Key", bound=Hashable)
Rule = str | tuple[int, ...]


@dataclass(frozen=True)
class Looks:
    """After how many seeds a study looks, rising, and the part of the error that each look has."""

    seeds: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Decision:
    """What is decided about one comparison: its claim (None: not decided) at the look after `seeds` seeds.

    `seeds` is 0 before the first look. The p-values are those for a difference and for equivalence, adjusted for looks
    and for all comparisons. `differs` is true if a difference from zero is shown, also where it is not shown to matter.
    """

    claim: Claim | None = None
    seeds: int = 0
    p_different: float = 1.0
    p_equivalent: float = 1.0

    @property
    def differs(self) -> bool:
        """Whether the true difference is shown not to be zero."""
        return self.p_different <= ALPHA


def looks_of(rule: Rule, most: int) -> Looks:
    """The looks of a study with at most so many seeds, by the `looks` of its protocol."""
    if rule == NONE:
        return Looks((most,), (1.0,))
    listed = _STANDARD if isinstance(rule, str) else rule
    seeds = (*(look for look in listed if look < most), most)
    if isinstance(rule, str) and seeds == tuple(look for look in _STANDARD if look <= most) and most in _WEIGHTS:
        return Looks(seeds, _WEIGHTS[most])
    return Looks(seeds, (1 / len(seeds),) * len(seeds))


@dataclass(frozen=True)
class _Comparison:
    """A comparison on its way: its differences, its least p / w so far, and its mean at the last look."""

    differences: Sequence[float | None]
    least_different: float = 1.0
    least_equivalent: float = 1.0
    mean: float = 0.0
    decision: Decision = field(default_factory=Decision)

    @property
    def open(self) -> bool:
        return self.decision.claim is None


def decide(
    differences: Mapping[Key, Sequence[float | None]], margin: float | None, looks: Looks
) -> dict[Key, Decision]:
    """The decision on each comparison of a study, all optimizers and dtypes together.

    A comparison is given as the differences of loss from its reference by seed, in the order of the seeds and as far as
    both runs have ended; None stands for a pair without a difference. A look that is not yet reached is left out.
    Without a margin nothing is equivalent, and any difference matters.
    """
    compared = {key: _Comparison(tuple(values)) for key, values in differences.items()}
    for seeds, weight in zip(looks.seeds, looks.weights, strict=True):
        looked_at = {
            key: _looked(one, seeds, weight, margin) if one.open and len(one.differences) >= seeds else one
            for key, one in compared.items()
        }
        compared = _claimed(looked_at, margin)
    return {key: one.decision for key, one in compared.items()}


def holm(p_values: ArrayLike) -> tuple[float, ...]:
    """Holm's adjusted p-values, in the order given; one below alpha is significant among all of them (Holm 1979)."""
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1)))
    return tuple(adjusted.tolist())


def p_values(differences: Sequence[float], margin: float | None) -> tuple[float, float]:
    """The p-values for a difference (two-sided) and for equivalence within the margin (1 without a margin).

    If all differences are equal, they decide by themselves.
    """
    number, mean = len(differences), math.fsum(differences) / len(differences)
    error = math.sqrt(math.fsum((one - mean) ** 2 for one in differences) / (number - 1) / number)
    if max(differences) == min(differences):
        error = 0.0

    def upper_tail(distance: float) -> float:
        if not error:
            return 0.0 if distance > 0 else 1.0
        return float(stdtr(number - 1, -distance / error))

    return min(1.0, 2 * upper_tail(abs(mean))), 1.0 if margin is None else upper_tail(margin - abs(mean))


def _looked(one: _Comparison, seeds: int, weight: float, margin: float | None) -> _Comparison:
    known = [value for value in one.differences[:seeds] if value is not None]
    if len(known) < FEWEST_PAIRS:
        return replace(one, decision=replace(one.decision, seeds=seeds))
    different, equivalent = p_values(known, margin)
    return replace(
        one,
        least_different=min(one.least_different, different / weight),
        least_equivalent=min(one.least_equivalent, equivalent / weight),
        mean=math.fsum(known) / len(known),
        decision=replace(one.decision, seeds=seeds),
    )


def _claimed(compared: Mapping[Key, _Comparison], margin: float | None) -> dict[Key, _Comparison]:
    different = holm([one.least_different for one in compared.values()])
    equivalent = holm([one.least_equivalent for one in compared.values()])
    found = {}
    for (key, one), p_different, p_equivalent in zip(compared.items(), different, equivalent, strict=True):
        if one.open and one.decision.seeds:
            decision = replace(one.decision, p_different=p_different, p_equivalent=p_equivalent)
            found[key] = replace(one, decision=replace(decision, claim=_claim(decision, one.mean, margin)))
        else:
            found[key] = one
    return found


def _claim(decision: Decision, mean: float, margin: float | None) -> Claim | None:
    if margin is not None and abs(mean) < margin:
        return "equivalent" if decision.p_equivalent <= ALPHA else None
    return "different" if decision.differs and mean else None
