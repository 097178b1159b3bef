"""What a trial reports: evaluations along the way, and one outcome at its end."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How an attempt ended. The lanes set LOST, OUT_OF_MEMORY and FAILED, which a training cannot report itself."""

    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"
    DIVERGED = "DIVERGED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    FAILED = "FAILED"
    LOST = "LOST"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A trial at one moment. `seconds` are those of training, over all attempts, without evaluating and saving.

    `training_loss` is the mean over the rows used since the previous evaluation, None at the start. `gradient_norm` is
    that of the last update, before clipping, and `learning_rate` the rate of that update (at the start, of the first
    one). `noise_scale` is the gradient's, in rows, over the updates measured since the previous evaluation; None if
    there were none, or if the estimate is too noisy (`trainer.update.noise`). `validation_loss_averaged` is that of the
    averaged weights (`trainer.averaged`); None if the trial has none, or if it is not finite.
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
    # Evaluations in older checkpoints lack these fields.
    noise_scale: float | None = None
    validation_loss_averaged: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one attempt at a trial ended, and what it measured.

    `error` explains why it ended so, or what was wrong with the checkpoints that it found; None if there is nothing to
    explain. `seconds_training` are over all attempts; `seconds_resumed` of them lie before the checkpoint from which
    this attempt began. `seconds_evaluating` and `seconds_saving` belong to this attempt. `first_update_at` is the Unix
    time at which its first update began. `noise_scale` is like an evaluation's, but over the later half of all measured
    updates, because at the start of a trial it is far smaller than later on; `noise_squared_gradient` and `noise_trace`
    are the two moments of which it is the ratio (`trainer.update.noise`). `test_loss_averaged` is that of the averaged
    weights, taken where their own validation loss was lowest. `test_classes` is the test split by class
    (`trainer.classes`); None if it is not recorded.
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
    noise_squared_gradient: float | None = None
    noise_trace: float | None = None
    best_validation_loss_averaged: float | None = None
    test_loss_averaged: float | None = None
    test_classes: str | None = None
