"""The optimizers by their names in a trial: those of Keras, with its defaults except for what the name implies."""

import re
from typing import Any

import keras
from keras import ops


class Muon(keras.optimizers.Muon):  # type: ignore[misc]
    """Keras' Muon, which in float64 would refuse to multiply an update by its own float32 factor (Keras 3.15.1)."""

    def lr_adjust(self, x: Any) -> Any:
        """The update of a matrix times `rms_rate * sqrt(larger side)`."""
        return x * ops.cast(ops.sqrt(max(x.shape)), x.dtype) * self.rms_rate


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda: keras.optimizers.SGD(),
    "momentum": lambda: keras.optimizers.SGD(momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(),
    "adamw": lambda: keras.optimizers.AdamW(),
    "rmsprop": lambda: keras.optimizers.RMSprop(),
    "adagrad": lambda: keras.optimizers.Adagrad(),
    "adadelta": lambda: keras.optimizers.Adadelta(),
    "lion": lambda: keras.optimizers.Lion(),
    "muon": lambda: Muon(),
}


def optimizer_of(name: str, model: keras.Model) -> Any:
    """The optimizer `name` for the weights of `model`, not yet built.

    Muon makes the updates of matrices orthogonal. By Keras' own rule it leaves embeddings, and whatever is not a
    matrix, to AdamW. Its documentation asks users to leave it the output layer too; here that is done. The kernels of
    an LSTM, in which the four gates stand side by side, are turned as one matrix each.
    """
    optimizer = OPTIMIZERS[name]()
    if isinstance(optimizer, Muon):
        optimizer.exclude_layers = [rf"(^|/){re.escape(layer)}/" for layer in _output_layers(model)]
    return optimizer


def _output_layers(model: keras.Model) -> set[str]:
    """The names of the last layers with weights on each way to the model's output, which may end in a softmax."""
    found, ahead = set(), list(model.outputs)
    while ahead:
        history = ahead.pop()._keras_history
        if getattr(history.operation, "weights", None):
            found.add(history.operation.name)
        else:
            ahead += history.operation._inbound_nodes[history.node_index].input_tensors
    return found
