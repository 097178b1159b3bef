"""The gradient noise scale of a cell, pooled over its runs, or a bound where the gradient may be none. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cluster.analysis.paired import interval

# One end of this interval is a bound with 95 % confidence.
_TWO_SIDED = 0.9


@dataclass(frozen=True)
class NoiseScale:
    """In rows: the `scale` tr(Sigma) / |G|^2, or that it is `at_least` so much, with 95 % confidence."""

    scale: float | None = None
    at_least: float | None = None


def pooled(rows: Sequence[Mapping[str, Any]]) -> NoiseScale:
    """The noise scale of the runs in `rows`, those with moments: the ratio of their averages (`trainer.update.noise`).

    Where the average of |G|^2 is not above zero, the scale is at least that of the upper end of its t interval. Rows of
    older versions have no moments; theirs is the mean of the runs' scales, if every run has one.
    """
    found = [
        (row["noise_squared_gradient"], row["noise_trace"]) for row in rows if row["noise_squared_gradient"] is not None
    ]
    if not found:
        scales = [row["noise_scale"] for row in rows]
        return NoiseScale(float(np.mean(scales)) if scales and None not in scales else None)
    squares, traces = np.array(found).T
    if squares.mean() > 0:
        return NoiseScale(float(traces.mean() / squares.mean()))
    most = interval(squares.tolist(), _TWO_SIDED).high
    return NoiseScale(at_least=float(traces.mean()) / most if most is not None and most > 0 else None)
