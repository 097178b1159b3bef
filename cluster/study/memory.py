"""A worker's memory as a line: bytes = base + slope x places, where places are the tokens of a micro-batch, padded.

Pure. A memory model is guessed from a study's numbers or fitted to a probe's measurements; both are used alike. An
evaluation takes its own number of rows (`trainer.evaluate`), so its bytes are a floor under the line.
"""

from dataclasses import dataclass, replace

from trainer.order.evaluation import rows_at_once
from trainer.trial import TrialSpec

MIB = 2**20
# A worker before its first row on Linux x86-64 (tensorflow 2.21): Python with TensorFlow and Ray holds 680 MiB, and the
# traced and compiled functions for an LSTM of 64 units hold 160 to 200 MiB more.
PROCESS_BYTES, TRACED_BYTES = 680 * MIB, 160 * MIB
BYTES_OF = {"float32": 4, "float64": 8, "mixed_bfloat16": 4, "mixed_float16": 4}
# The copies of every weight: the twin, the plain model, the sums, two generations of gradients, and the best so far.
COPIES = 6
SLOTS = {
    "sgd": 0,
    "momentum": 1,
    "nesterov": 1,
    "adam": 2,
    "adamw": 2,
    "rmsprop": 1,
    "adagrad": 1,
    "adadelta": 2,
    "lion": 1,
    # One for the matrices that it turns, two for the rest, of which the embedding is the largest.
    "muon": 2,
}
# Numbers kept for each place and unit, forward and back: gate inputs, padded gate inputs and gates (4 each), states and
# cells (2), and the gradients of the gates, padded and cut (8). Forward alone keeps the first 14.
TRAINING_UNITS, FORWARD_UNITS = 22, 14
# Numbers kept for each output of a language model: logits, their softmax, and the gradients of both. Forward alone
# keeps the first two.
TRAINING_OUTPUTS, FORWARD_OUTPUTS = 4, 2
# TensorFlow's allocator doubles the region that it asks for each time, so under a limit about half is used.
HELD_FOR_USED = 2


@dataclass(frozen=True, kw_only=True)
class MemoryModel:
    """What one worker's process needs: `base_bytes` before any row, `bytes_per_place` for each place of a micro-batch.

    A place is one token of one row, padding included. `least_bytes` is what evaluations take at any micro-batch where
    nothing limits them; under a limit they take as few rows as micro-batches do. `measured` is False for a guess.
    """

    base_bytes: float
    bytes_per_place: float
    measured: bool
    least_bytes: float = 0.0

    def bytes_at(self, *, micro_batch: int, length: int) -> float:
        """The most bytes held while `micro_batch` rows padded to `length` tokens go through the model."""
        return max(self.least_bytes, self.base_bytes + self.bytes_per_place * micro_batch * length)

    def most_rows(self, *, limit_bytes: float, length: int, margin: float = 0.1) -> int:
        """The most rows of `length` tokens within `limit_bytes` less the `margin` (a part of it); 0 if none fits."""
        room = limit_bytes * (1 - margin) - self.base_bytes
        return max(0, int(room // (self.bytes_per_place * length)))

    def first_rows(self, *, limit_bytes: float, length: int) -> int:
        """The rows with which a worker under a limit begins: `most_rows` divided by the bytes held per byte used."""
        return self.most_rows(limit_bytes=limit_bytes, length=length) // HELD_FOR_USED

    def above(self, more_bytes: float) -> "MemoryModel":
        """The same model for a process that holds `more_bytes` besides."""
        least = self.least_bytes + more_bytes if self.least_bytes else 0.0
        return replace(self, base_bytes=self.base_bytes + more_bytes, least_bytes=least)


def guess(
    trial: TrialSpec, *, vocabulary_size: int, outputs: int, features_width: int = 0, length: int = 1
) -> MemoryModel:
    """A worker's memory from the sizes of its model, before anything is measured; right to a third or so.

    `features_width` is that of rows of numbers, which have no embedding; `length` is the longest row's, padded. A
    factory's model is unknown, so it is estimated as the built-in model with its default sizes.
    """
    model, item = trial.model, BYTES_OF[trial.dtype]
    directions = 2 if model.bidirectional else 1
    width = features_width or model.embedding_units
    inputs = [width, *[directions * model.lstm_units] * (model.layers - 1)]
    recurrent = sum(directions * 4 * model.lstm_units * (size + model.lstm_units + 1) for size in inputs)
    embedding = 0 if features_width else vocabulary_size * model.embedding_units
    weights = embedding + recurrent + (directions * model.lstm_units + 1) * outputs
    cells = directions * model.layers * model.lstm_units
    logits = outputs if trial.task == "language_model" else 0
    copies = COPIES + 2 * SLOTS[trial.optimizer]
    # The average and the best of it so far in float64, and the weights while the average stands in their place.
    averages = (2 * BYTES_OF["float64"] + item) * weights if trial.average_examples else 0
    base = PROCESS_BYTES + TRACED_BYTES + copies * weights * item + averages
    place = (2 * width + TRAINING_UNITS * cells + TRAINING_OUTPUTS * logits) * item
    forward = (width + FORWARD_UNITS * cells + FORWARD_OUTPUTS * logits) * item
    evaluated = rows_at_once(trial.task)
    return MemoryModel(
        base_bytes=base, bytes_per_place=place, measured=False, least_bytes=base + forward * evaluated * length
    )
