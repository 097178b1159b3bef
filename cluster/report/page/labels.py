"""Where labels go: beside the end of their line, on no other label and on no line; otherwise nowhere. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cluster.analysis.cells import Floats

Point = tuple[float, float]
# Lines are looked at this finely, and no label comes as near to one.
_STEP, _AIR = 2.0, 2.0
_HIGH, _LOW = 11.0, 3.0
# Further from its line, a label would seem to name another.
_SHIFTS = (0, -7, 7, -14, 14, -21, 21, -28, 28)
# As wide as a bold digit of DejaVu Sans, which has the widest of the usual fonts.
_DIGIT = 8.4


@dataclass(frozen=True)
class Box:
    """A rectangle in the drawing, which may not be left or may not be entered."""

    left: float
    top: float
    right: float
    bottom: float

    def touches(self, other: "Box") -> bool:
        """Whether the two have a point in common."""
        apart = self.left >= other.right or other.left >= self.right
        return not (apart or self.top >= other.bottom or other.top >= self.bottom)

    def holds(self, other: "Box") -> bool:
        """Whether the other lies inside."""
        inside = self.left <= other.left and other.right <= self.right
        return inside and self.top <= other.top and other.bottom <= self.bottom


def width(text: str) -> float:
    """The width of a label; never less than what it takes in the usual fonts."""
    return _DIGIT * len(text)


def placed(wishes: Sequence[tuple[str, Point]], lines: Sequence[Sequence[Point]], frame: Box) -> list[Point | None]:
    """For each text and the end of its line: where the text begins and its baseline, or None if no place is free."""
    ink = _sampled(lines)
    taken: list[Box] = []
    places: list[Point | None] = []
    for text, end in wishes:
        wide = width(text)
        found = None
        for left, base in _candidates(end, wide):
            box = Box(left, base - _HIGH, left + wide, base + _LOW)
            if frame.holds(box) and not any(box.touches(other) for other in taken) and not _inked(box, ink):
                taken.append(box)
                found = left, base
                break
        places.append(found)
    return places


def _candidates(end: Point, wide: float) -> list[Point]:
    """Right of the end, above and below it, and left of it, the nearest first on each side."""
    x, y = end
    right = [(x + 6, y + 4 + shift) for shift in _SHIFTS]
    over = [(x - wide / 2, y + shift) for shift in (-9, 18, -16, 25)]
    left = [(x - wide - 6, y + 4 + shift) for shift in _SHIFTS]
    return [*right, *over, *left]


def _sampled(lines: Sequence[Sequence[Point]]) -> Floats:
    """Points along all lines, closely enough that no label fits between two of them."""
    parts = [np.empty((0, 2))]
    for line in lines:
        points = np.array(line, np.float64).reshape(-1, 2)
        for one, other in pairwise(points):
            count = 1 + int(np.abs(other - one).max() / _STEP)
            parts.append(one + np.linspace(0, 1, count + 1)[:, None] * (other - one))
    return np.concatenate(parts)


def _inked(box: Box, ink: Floats) -> bool:
    x, y = ink[:, 0], ink[:, 1]
    across = (x > box.left - _AIR) & (x < box.right + _AIR)
    return bool((across & (y > box.top - _AIR) & (y < box.bottom + _AIR)).any())
