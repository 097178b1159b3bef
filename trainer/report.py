"""What a trial reports: an evaluation now and then, and one outcome at its end."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How an attempt ended; the lanes add LOST, OUT_OF_MEMORY and FAILED, which no training can say of itself."""

    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"
    DIVERGED = "DIVERGED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    FAILED = "FAILED"
    LOST = "LOST"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A trial at one moment. `seconds` are of training, all attempts together, without evaluating and saving.

    `training_loss` is the mean over the rows used since the evaluation before, None at the start;
    `gradient_norm` is of the last update, before clipping; `learning_rate` the one it was made with (at the start, the
    one of the first update). `noise_scale` is that of the gradient, in rows, over the updates measured since the
    evaluation before; None when there was none, or too much noise to say (`trainer.update.noise`).
    """

    update: int
    examples: int
    epoch: float
    seconds: float
    training_loss: float | None
    validation_loss: float
    validation_accuracy: float | None
    gradient_norm: float | None
    learning_rate: float
    # What an older checkpoint's evaluations lack.
    noise_scale: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one attempt at a trial ended, and what it measured.

    `error` says why it ended so, or what was wrong with the checkpoints that it found; None where there is nothing.
    `seconds_training` are of all attempts together, of which `seconds_resumed` lay behind the checkpoint that this one
    began from; `seconds_evaluating` and `seconds_saving` are of this attempt. `first_update_at` is the Unix time at
    which its first update was made. `noise_scale` is as an evaluation's, over the later half of all measured updates:
    at the start it is far smaller than where most of a trial takes place.
    """

    state: State
    error: str | None
    updates: int
    examples: int
    epochs: float
    first_update_at: float | None
    seconds_training: float
    seconds_resumed: float
    seconds_evaluating: float
    seconds_saving: float
    examples_per_second: float | None
    tokens_per_second: float | None
    padding_fraction: float | None
    final_training_loss: float | None
    final_validation_loss: float | None
    best_validation_loss: float | None
    best_validation_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    noise_scale: float | None
