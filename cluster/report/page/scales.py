"""Scales: from values to positions in the drawing, with ticks at round numbers. Pure."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LOG_STEPS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0))


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` to positions from `start` to `end` (which may be less), in logs if `log`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value."""
        # Of two logs that are nearly equal, the difference would have few digits left.
        share = math.log(value / self.low) / math.log(self.high / self.low) if self.log else value - self.low
        length = 1.0 if self.log else self.high - self.low
        return self.start + (self.end - self.start) * share / length

    def many(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The positions of many values; values beyond an end get the position of that end."""
        held = np.clip(values, self.low, self.high)
        share = np.log(held / self.low) / np.log(self.high / self.low) if self.log else held - self.low
        length = 1.0 if self.log else self.high - self.low
        return self.start + (self.end - self.start) * share / length

    def ticks(self, most: int = 6) -> list[float]:
        """At most `most` round values inside the scale, and at least two if there are two."""
        return _log_ticks(self.low, self.high, most) if self.log else _linear_ticks(self.low, self.high, most)


def linear(values: Iterable[float], start: float, end: float, *, from_zero: bool = False) -> Scale:
    """A linear scale that contains the values with some margin, or begins at zero."""
    some = list(values)
    low, high = min(some), max(some)
    air = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(0.0 if from_zero else low - air, high + air, start, end)


def log(values: Iterable[float], start: float, end: float, *, air: float = 0.06) -> Scale:
    """A logarithmic scale that contains the values, all positive, with `air`, a part of its length, at both ends."""
    logs = [math.log(value) for value in values]
    more = air * (max(logs) - min(logs)) or math.log(1.5)
    return Scale(math.exp(min(logs) - more), math.exp(max(logs) + more), start, end, log=True)


def tick_text(value: float) -> str:
    """A tick's label of at most seven characters: 1.2e-4, 0.001, 0.5, 250, 4,000, 20k, 1.5M."""
    if 0 < abs(value) < 1e-3:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):
            return f"{value / size:.4g}{suffix}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def value_text(value: float | None) -> str:
    """A value in sentences and tables: four figures, with separators between thousands."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def apart(positions: Sequence[float], widths: Sequence[float], gap: float = 6.0) -> list[bool]:
    """Which of the labels centred at rising positions to keep so that none touch; the ends come first."""
    kept = [False] * len(positions)
    order = [0, len(positions) - 1, *range(1, len(positions) - 1)]
    for number in order[: len(positions)]:
        others = [other for other, there in enumerate(kept) if there and other != number]
        kept[number] = all(
            abs(positions[number] - positions[other]) >= (widths[number] + widths[other]) / 2 + gap for other in others
        )
    return kept


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    for exponent in range(math.floor(math.log10((high - low) / most)), 400):
        for step in (1, 2, 5):
            size = step * 10.0**exponent
            first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
            if last - first < most:
                return [round(number * size, 12) for number in range(first, last + 1)]
    return []


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**decade for decade in decades if low <= 10.0**decade <= high]
    if len(tens) > most:
        return tens[:: math.ceil(len(tens) / most)]
    inside: list[float] = []
    for steps in _LOG_STEPS:
        every = [step * 10.0**decade for decade, step in itertools.product(decades, steps)]
        found = [value for value in every if low <= value <= high]
        if len(found) > most:
            break
        inside = found
    return inside if len(inside) > 1 else _linear_ticks(low, high, most)
