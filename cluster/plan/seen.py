"""What a calibration saw: updates, evaluations and bytes as they were timed, sent from the workers to the plan."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trainer.trial import TrialSpec

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One update or one chunk of an evaluation: its micro-batches (`cuts.Cuts`), and the new shapes among them."""

    count: int
    tokens: int
    places: int
    new_shapes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What was seen of one kind of trial. `peaks` are (rows, bytes) after micro-batches of the longest rows.

    `evaluated_bytes` is the peak after an evaluation of the longest rows, which came after the first of `peaks`.
    `seconds_tracing` includes the `shapes_traced` that were compiled meanwhile.
    """

    trial: TrialSpec
    seconds_tracing: float
    shapes_traced: int
    updates: list[Timed]
    evaluations: list[Timed]
    peaks: list[tuple[int, int]]
    evaluated_bytes: int
    longest: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one worker saw: `lengths` are the tokens of each row of (some of) each split."""

    seconds_importing: float
    kinds: list[Kind]
    lengths: dict[str, Ints] = field(default_factory=dict)
