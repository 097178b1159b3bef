"""One update: the sum of the gradients over rows, micro-batches and workers, divided once by the global batch.

For language_model, the one division is by the target tokens of the global batch, counted on all workers.

`Learner` holds a model, its optimizer and the traced functions. Seed, learning rate, betas, weight decay, clipping
and global batch are values, not shapes: one learner serves all trials that agree on the rest, without tracing again.
"""

import math
from dataclasses import dataclass
from itertools import compress
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.data.share import MicroBatch
from trainer.errors import InputError
from trainer.model import model, seeding
from trainer.model.dropout import row_keys
from trainer.trial import TrialSpec
from trainer.update import adam, loss, noise
from trainer.update.average import WeightAverage
from trainer.update.collective import Collective
from trainer.update.optimizers import optimizer_of
from trainer.update.scaling import LossScale
from trainer.update.settings import OptimizerSettings
from trainer.update.shape import Shape

Arrays = list[npt.NDArray[Any]]
COUNT_PART = 2**12


@dataclass(frozen=True, kw_only=True)
class Updated:
    """What one update did. `loss` is the batch's mean and `gradient_norm` the norm of its gradient, before clipping.

    `targets` is the divisor of both: the global batch, or its target tokens for language_model. A batch without any
    target has a loss and a gradient of zero, and the optimizer treats it like any other gradient. `extras` are the sums
    over workers of the numbers passed in. If the loss or the gradient was not finite, nothing was changed and `finite`
    is False.
    """

    loss: float
    gradient_norm: float
    targets: float
    finite: bool
    extras: npt.NDArray[Any]


class Learner:
    """A model in training on one worker; `collective` sums over all workers."""

    def __init__(self, shape: Shape, collective: Collective) -> None:
        self.shape = shape
        self.collective = collective
        # Micro-batches and chunks of evaluations so far, of whichever trial: from outside, a sign of life.
        self.steps = 0
        # Made for the first trial that averages its weights.
        self.average: WeightAverage | None = None
        with seeding.one_name():
            self._make_variables()
        self._optimizer_start = [variable.numpy() for variable in self.optimizer.variables]
        self._trace()

    def _make_variables(self) -> None:
        shape = self.shape
        self.model = model.training_twin(self._plain(seed=0))
        self.variables = [variable.value for variable in self.model.trainable_variables]
        self.optimizer = optimizer_of(shape.optimizer, self.model)
        self._settings = OptimizerSettings(self.optimizer, shape.optimizer, shape.weights_dtype)
        self.optimizer.build(self.model.trainable_variables)
        self._seed = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._clip_norm = tf.Variable(np.inf, dtype=shape.weights_dtype, trainable=False)
        self._sums = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in self.variables]
        self._scale = LossScale(shape.dtype)
        self._loss_sum = tf.Variable(0, dtype=tf.float64, trainable=False)
        self._targets = tf.Variable(0, dtype=tf.float64, trainable=False)

    def start(self, trial: TrialSpec) -> None:
        """Become the learner of `trial` before its first update."""
        self.model.set_weights(self._plain(seed=trial.seed).get_weights())
        for variable, value in zip(self.optimizer.variables, self._optimizer_start, strict=True):
            variable.assign(value)
        self.set_rate(trial.learning_rate)
        self._settings.assign(trial)
        if trial.average_examples:
            self.average = self.average or WeightAverage(self.variables)
            self.average.start()
        self._seed.assign(trial.seed)
        self._scale.start()
        self._clip_norm.assign(np.inf if trial.clip_norm is None else trial.clip_norm)
        self._clear()

    def set_rate(self, learning_rate: float) -> None:
        """Set the learning rate from the next update on; it is a value, so nothing is traced again."""
        self.optimizer.learning_rate = learning_rate

    def add(self, micro_batch: MicroBatch) -> None:
        """Add a micro-batch's gradients and losses, summed over its rows, to this worker's share."""
        added = False
        while not added:
            done = self._add(micro_batch.tokens, micro_batch.labels, micro_batch.positions)
            # Without a scale the result is always True, so do not wait for it.
            added = not self._scale.used or bool(done)
        self.steps += 1

    def add_measured(self, micro_batch: MicroBatch) -> float:
        """Like `add`, and return the squared norm of the micro-batch's own gradient sum (`trainer.update.noise`)."""
        while True:
            squared, added = self._add_measured(micro_batch.tokens, micro_batch.labels, micro_batch.positions)
            if not self._scale.used or added:
                self.steps += 1
                return float(squared)

    def update(self, *, global_batch: int, extras: tuple[float, ...] = ()) -> Updated:
        """Sum over the workers, divide by the global batch (or its targets), and change the weights once.

        `extras` are numbers that every worker passes and whose sums come back: they ride in the one all-reduce.
        """
        mean_loss, norm, finite, targets, summed = self._update(
            tf.constant(global_batch, tf.float64), tf.constant(extras, tf.float64, shape=[len(extras)])
        )
        return Updated(
            loss=float(mean_loss),
            gradient_norm=float(norm),
            targets=float(targets),
            finite=bool(finite),
            extras=summed.numpy(),
        )

    def gradient(self, *, global_batch: int) -> tuple[float, Arrays]:
        """The mean loss and gradient of what was added on all workers, without an update; clears the sums."""
        mean_loss, gradients, _, _ = self._reduced(tf.constant(global_batch, tf.float64), tf.zeros(0, tf.float64))
        arrays = [gradient.numpy() for gradient in gradients]
        self._clear()
        return float(mean_loss), arrays

    def evaluate(self, tokens: Any, labels: Any) -> tuple[Any, Any, Any]:
        """The sums of losses, right predictions and targets over some rows, float64."""
        self.steps += 1
        return self._evaluate(tokens, labels)  # type: ignore[no-any-return]

    def evaluate_by_class(self, tokens: Any, labels: Any) -> tuple[Any, Any, Any, Any]:
        """Like `evaluate`, and the predicted class of each row."""
        self.steps += 1
        return self._evaluate_by_class(tokens, labels)  # type: ignore[no-any-return]

    def weights(self) -> Arrays:
        """The weights, in the order of the plain model's `get_weights`."""
        return [np.asarray(array) for array in self.model.get_weights()]

    def optimizer_state(self) -> Arrays:
        """The optimizer's variables, including iterations and learning rate."""
        return [variable.numpy() for variable in self.optimizer.variables]

    @property
    def most_bytes(self) -> int:
        """The most bytes of a checkpoint: weights and averages twice, the optimizer's variables, a header for each."""
        twice = [*self.model.weights, *self.averages]
        variables = [*twice, *twice, *self.optimizer.variables]
        most: int = sum(8 * math.prod(variable.shape) + 1024 for variable in variables) + 2**16
        return most

    @property
    def averages(self) -> list[Any]:
        """The variables of the averaged weights, if a trial has asked for them."""
        return self.average.variables if self.average else []

    def restore(self, weights: Arrays, optimizer_state: Arrays | None = None) -> None:
        """Take over weights, and the optimizer's variables if given, that were saved before."""
        self.model.set_weights(weights)
        for variable, value in zip(self.optimizer.variables, optimizer_state or [], strict=optimizer_state is not None):
            variable.assign(value)

    def _plain(self, seed: int) -> keras.Model:
        shape = self.shape
        return model.build(
            shape.model,
            vocabulary_size=shape.vocabulary_size,
            outputs=shape.outputs,
            task=shape.task,
            dtype=shape.dtype,
            seed=seed,
            inputs=shape.inputs,
        )

    def _clear(self) -> None:
        for total in (*self._sums, self._loss_sum, self._targets):
            total.assign(tf.zeros_like(total))

    def _trace(self) -> None:
        tokens = tf.TensorSpec([None, *self.shape.inputs.shape], self.shape.inputs.dtype)
        labels = {
            "classification": tf.TensorSpec([None], tf.int32),
            "regression": tf.TensorSpec([None], tf.float32),
            "language_model": tokens,
        }[self.shape.task]
        rows = [tokens, labels, tf.TensorSpec([None], tf.int64)]
        numbers = [tf.TensorSpec([], tf.float64), tf.TensorSpec([None], tf.float64)]
        # AutoGraph would search all of this code, in which there is no branch or loop for it, and take 1.5 s of Python
        # in each worker; Keras keeps it away from the layers of models anyway.
        self._add = tf.function(self._add_rows, rows, autograph=False)
        self._add_measured = tf.function(self._add_measured_rows, rows, autograph=False)
        self._evaluate = tf.function(self._evaluate_rows, [tokens, labels], autograph=False)
        self._evaluate_by_class = tf.function(self._evaluate_rows_by_class, [tokens, labels], autograph=False)
        self._update = tf.function(self._update_once, numbers, autograph=False)
        # Traced before the update, even by a worker whose share is empty, which must know which weights to leave alone.
        self._add.get_concrete_function()

    def _add_rows(self, tokens: Any, labels: Any, positions: Any) -> Any:
        return self._added(tokens, labels, positions)[1]

    def _add_measured_rows(self, tokens: Any, labels: Any, positions: Any) -> tuple[Any, Any]:
        gradients, added = self._added(tokens, labels, positions)
        return noise.squared_norm(gradients), added

    def _added(self, tokens: Any, labels: Any, positions: Any) -> tuple[list[Any], Any]:
        """The gradients of some rows; whether they were added or must be computed again (`trainer.update.scaling`)."""
        with tf.GradientTape() as tape, row_keys(self._seed, positions):
            logits = tf.cast(self.model(tokens, training=True), self.shape.weights_dtype)
            total = tf.reduce_sum(loss.per_row(self.shape.task, labels, logits))
            scaled = self._scale.scaled(total)
        gradients = self._scale.unscaled(tape.gradient(scaled, self.variables))
        self._reached = [gradient is not None for gradient in gradients]
        if not any(self._reached):
            raise InputError("the loss depends on no trainable weight of the model, so there is nothing to train")
        return gradients, self._scale.use(gradients, lambda: self._take(gradients, total, labels))

    def _take(self, gradients: list[Any], total: Any, labels: Any) -> None:
        for sums, gradient in zip(self._sums, gradients, strict=True):
            if isinstance(gradient, tf.IndexedSlices):
                sums.scatter_add(gradient)
            elif gradient is not None:
                sums.assign_add(gradient)
        self._loss_sum.assign_add(tf.cast(total, tf.float64))
        self._targets.assign_add(tf.reduce_sum(loss.targets(self.shape.task, labels)))

    def _evaluate_rows(self, tokens: Any, labels: Any) -> tuple[Any, Any, Any]:
        return self._scored(labels, tf.cast(self.model(tokens, training=False), self.shape.weights_dtype))

    def _evaluate_rows_by_class(self, tokens: Any, labels: Any) -> tuple[Any, Any, Any, Any]:
        logits = tf.cast(self.model(tokens, training=False), self.shape.weights_dtype)
        return (*self._scored(labels, logits), tf.argmax(logits, axis=1, output_type=labels.dtype))

    def _scored(self, labels: Any, logits: Any) -> tuple[Any, Any, Any]:
        losses = tf.cast(loss.per_row(self.shape.task, labels, logits), tf.float64)
        right, targets = loss.right(self.shape.task, labels, logits), loss.targets(self.shape.task, labels)
        return tf.reduce_sum(losses), tf.reduce_sum(right), tf.reduce_sum(targets)

    def _reduced(self, global_batch: Any, extras: Any) -> tuple[Any, list[Any], Any, Any]:
        """The mean loss, the mean gradients, their divisor and the sums of the extras over all workers."""
        totals = [sums.read_value() for sums in self._sums]
        # The count is split in two, so that float32 holds the sums over workers exactly, up to 2**36 targets.
        high = self._targets // COUNT_PART
        counts = [high, self._targets - high * COUNT_PART]
        head = tf.concat([extras, [self._loss_sum.read_value(), *counts]], 0)
        if self.collective.world.workers > 1:
            head, totals = self._sum_over_workers(head, totals)
        extras, loss_sum, targets = head[:-3], head[-3], head[-2] * COUNT_PART + head[-1]
        if self.shape.task != "language_model":
            targets = global_batch
        divisor = tf.maximum(targets, 1)
        count = tf.cast(divisor, self.shape.weights_dtype)
        return loss_sum / divisor, [total / count for total in totals], targets, extras

    def _sum_over_workers(self, head: Any, totals: list[Any]) -> tuple[Any, list[Any]]:
        """One all-reduce of one vector: some numbers and every gradient."""
        head = tf.cast(head, self.shape.weights_dtype)
        flat = tf.concat([head, *(tf.reshape(total, [-1]) for total in totals)], 0)
        sizes = [tf.size(head), *(tf.size(total) for total in totals)]
        head, *parts = tf.split(self.collective.sum(flat), sizes)
        shaped = [tf.reshape(part, total.shape) for part, total in zip(parts, totals, strict=True)]
        return tf.cast(head, tf.float64), shaped

    def _update_once(self, global_batch: Any, extras: Any) -> tuple[Any, Any, Any, Any, Any]:
        mean_loss, gradients, targets, extras = self._reduced(global_batch, extras)
        norm = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(norm) & tf.math.is_finite(mean_loss)
        tf.cond(finite, lambda: self._change(gradients, norm), lambda: None)
        self._clear()
        return mean_loss, norm, finite, targets, extras

    def _change(self, gradients: list[Any], norm: Any) -> None:
        scale = tf.minimum(tf.ones_like(norm), self._clip_norm / norm)
        scale = tf.where(tf.math.is_inf(self._clip_norm) | tf.equal(norm, 0), tf.ones_like(norm), scale)
        # A weight on which the loss does not depend has no gradient: like Keras, neither decay nor constrain it.
        variables = list(compress(self.model.trainable_variables, self._reached))
        gradients = list(compress(gradients, self._reached))
        if adam.can_apply(self.optimizer, self.shape.dtype):
            adam.apply(self.optimizer, gradients, variables, scale)
        else:
            self.optimizer.apply([gradient * scale for gradient in gradients], variables)
