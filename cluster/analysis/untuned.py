"""What somebody loses who does not tune the rate of each batch size: from the screen that is paid for anyway. Pure.

Two figures for each batch size. The width: by how large a factor the rate may vary while the screen's loss stays within
the margin of its best. The loss untuned: how far above its best the batch size is at the one rate that the spec's rule
gives all of them (sqrt, linear or none), if that rate is the best for all together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.analysis.cells import Cell

_EXPONENTS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}


@dataclass(frozen=True, kw_only=True)
class Untuned:
    """The rate that is best for all batch sizes together by `rule`, and what each batch size then has.

    `at_rate` maps batch sizes to their rates by the rule, `losses_above_best` to how far above its own best the screen
    has each (inf: it has no loss there), and `widths` to the factor within which its rates are within the margin (None
    without a margin; it is a lower bound where the rates tried end).
    """

    rule: str
    at_rate: dict[int, float]
    losses_above_best: dict[int, float]
    widths: dict[int, float] | None


def untuned(cells: Sequence[Cell], axis: Any, margin: float | None) -> Untuned | None:
    """The figures of one optimizer and dtype, whose spec has this `axes.learning_rate`; None with fewer than two cells.

    Rates count as the same where the rule makes them so; only those that every batch size has tried are compared.
    """
    tuned = [cell for cell in cells if cell.tuned and len(cell.rates) > 1 and not cell.at_edge]
    if len(tuned) < 2:
        return None
    rule, at = _rule(axis)
    scaled = {cell.global_batch: _by_scaled_rate(cell, rule, at) for cell in tuned}
    common = set.intersection(*(set(rates) for rates in scaled.values()))
    if not common:
        return None

    def above(cell: Cell, rate: float) -> float:
        return cell.rates[scaled[cell.global_batch][rate]] - min(cell.rates.values())

    best = min(common, key=lambda rate: (sum(above(cell, rate) for cell in tuned), rate))
    return Untuned(
        rule=rule,
        at_rate={cell.global_batch: scaled[cell.global_batch][best] for cell in tuned},
        losses_above_best={cell.global_batch: above(cell, best) for cell in tuned},
        widths=None if margin is None else {cell.global_batch: _width(cell.rates, margin) for cell in tuned},
    )


def _rule(axis: Any) -> tuple[str, int]:
    """The rule by which rates follow the batch size, and the batch size at which it starts; a list has none."""
    if not isinstance(axis, Mapping):
        return "none", 1
    return str(axis.get("rule", "none")), int(axis.get("at") or 1)


def _by_scaled_rate(cell: Cell, rule: str, at: int) -> dict[float, float]:
    """The rates tried, by what they are at the batch size `at`."""
    scale = (cell.global_batch / at) ** _EXPONENTS[rule]
    return {float(f"{rate / scale:.6g}"): rate for rate in cell.rates}


def _width(rates: Mapping[float, float], margin: float) -> float:
    """The ratio of the highest to the lowest rate around the best whose loss is within the margin of it."""
    tried = sorted(rates)
    best = tried.index(min(tried, key=lambda rate: rates[rate]))
    low = high = best
    while low and rates[tried[low - 1]] <= rates[tried[best]] + margin:
        low -= 1
    while high + 1 < len(tried) and rates[tried[high + 1]] <= rates[tried[best]] + margin:
        high += 1
    return tried[high] / tried[low]
