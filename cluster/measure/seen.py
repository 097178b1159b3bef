"""What a calibration saw: updates, evaluations and bytes as they were timed, sent from the workers to the plan."""

from dataclasses import dataclass, field

from trainer.order.cuts import Cuts
from trainer.order.shapes import Ints
from trainer.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One update or one chunk of an evaluation: its micro-batches, and how many shapes were new among them."""

    cuts: Cuts
    new_shapes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TimedOnce:
    """Something done once in a process, and how many shapes were new in it, to train in and to evaluate in."""

    seconds: float
    new_shapes: int
    new_forward_shapes: int


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What was seen of one kind of trial, in the order of its fields; `..._bytes` are the process's peak so far.

    It was `traced` on a micro-batch of the `rows` longest rows, padded to `length` tokens. Then, after evaluations and
    updates, came a micro-batch of the `many_rows` longest rows without an update, and last the proof (`trainer.check`),
    of the cuts `proof_training` and `proof_evaluation`.
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
    """What one worker saw: `lengths` are the tokens of each row of (some of) each split.

    The kinds took `seconds`, in which cores worked for it for `seconds_of_cores`: fewer, where other work had them or
    where it waited for other workers of its lane.
    """

    seconds_importing: float
    seconds: float
    seconds_of_cores: float
    kinds: list[Kind]
    lengths: dict[str, Ints] = field(default_factory=dict)
