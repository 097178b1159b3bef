"""What a calibration saw: timed updates and evaluations, and bytes, sent from the workers to the plan."""

from dataclasses import dataclass, field

from trainer.order.cuts import Cuts
from trainer.order.shapes import Ints
from trainer.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One update or one chunk of an evaluation: its micro-batches, and the number of new shapes among them."""

    cuts: Cuts
    new_shapes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TimedOnce:
    """Something done once in a process, and the numbers of its new shapes for training and for evaluating."""

    seconds: float
    new_shapes: int
    new_forward_shapes: int


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What was seen of one kind of trial, in the order of the fields; `..._bytes` are the process's peak so far.

    The kind was `traced` on a micro-batch of the `rows` longest rows, padded to `length` tokens. After evaluations and
    updates came a micro-batch of the `many_rows` longest rows without an update, and finally the proof
    (`trainer.check`), with the cuts `proof_training` and `proof_evaluation`.
    """

    trial: TrialSpec
    rows: int
    length: int
    many_rows: int
    traced: TimedOnce
    traced_bytes: int
    evaluations: list[Timed]
    evaluated_bytes: int
    updates: list[Timed]
    trained_bytes: int
    many_bytes: int
    proved: TimedOnce
    proof_training: Cuts
    proof_evaluation: Cuts


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one worker saw; `lengths` are the tokens of each row of (some of) each split.

    The kinds took `seconds`, during which cores worked for this worker for `seconds_of_cores`. This is less if other
    work had the cores, or if the worker waited for others of its lane.
    """

    seconds_importing: float
    seconds: float
    seconds_of_cores: float
    kinds: list[Kind]
    lengths: dict[str, Ints] = field(default_factory=dict)
