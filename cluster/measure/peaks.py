"""A line through measured peaks of memory: bytes = base + slope x places; and the distance of points from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cluster.study.memory import MemoryModel


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The most bytes that one worker held with micro-batches of `rows` rows of `length` tokens."""

    micro_batch: int
    length: int
    peak_bytes: int
    held_out: bool = False


def fit(peaks: Sequence[Peak]) -> MemoryModel | None:
    """The least-squares line through the points that are not held out; None with fewer than two different sizes.

    More rows never take less memory: if noise makes the slope negative, it is set to 0, with the largest peak as base.
    """
    points = [peak for peak in peaks if not peak.held_out]
    places = np.array([peak.micro_batch * peak.length for peak in points], float)
    if len(set(places.tolist())) < 2:
        return None
    measured = np.array([peak.peak_bytes for peak in points], float)
    slope, base = np.polyfit(places, measured, 1)
    if slope < 0:
        slope, base = 0.0, measured.max()
    return MemoryModel(base_bytes=float(base), bytes_per_place=float(slope), measured=True)


def error(model: MemoryModel, peak: Peak) -> float:
    """The relative distance of a measurement from the line: measured / fitted - 1."""
    return peak.peak_bytes / model.bytes_at(micro_batch=peak.micro_batch, length=peak.length) - 1
