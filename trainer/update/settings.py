"""The betas and the weight decay of an optimizer as values: trials that differ in them share a learner, traced once.

Keras keeps them as Python numbers, which become constants of the traced update. A plain `tf.Variable` in their place
would give other digits: Keras rounds `1 - beta_2` once, from Python's float64, but a variable of the weights' dtype is
rounded before the subtraction. A `Setting` is subtracted in float64, and only then rounded.
"""

from typing import Any

import tensorflow as tf

from trainer.trial import WITH_BETAS, WITH_DECAY, TrialSpec


class Setting:
    """A number that Keras' optimizers accept as `beta_1`, `beta_2` or `weight_decay`; `assign` changes it.

    `default` is the optimizer's own number, and `dtype` the dtype of the weights.
    """

    def __init__(self, default: float, dtype: str) -> None:
        self._value = tf.Variable(default, dtype=tf.float64, trainable=False)
        self._default, self._dtype = default, dtype

    def assign(self, number: float | None) -> None:
        """Set the value from the next update on; None for the optimizer's own."""
        self._value.assign(self._default if number is None else number)

    def __rsub__(self, one: float) -> Any:
        """`1 - value`, in the dtype of the weights."""
        return tf.cast(one - self._value, self._dtype)

    def __rmul__(self, factor: float) -> Any:
        """`factor * value`, in the dtype of the weights."""
        return tf.cast(factor * self._value, self._dtype)

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        """The value, for TensorFlow's conversions: like a Python number, it is float32 if no dtype is asked for.

        Keras computes the powers of a beta, and casts a weight decay, through such a conversion, in float64 too.
        """
        return tf.cast(self._value, dtype or tf.float32, name=name)


class OptimizerSettings:
    """The numbers of one optimizer that differ between trials; they take their places in `optimizer` before it builds.

    `name` is the optimizer's in a trial, and `dtype` the dtype of the weights.
    """

    def __init__(self, optimizer: Any, name: str, dtype: str) -> None:
        self._of: dict[str, Setting] = {}
        for attributes, having in ((("beta_1", "beta_2"), WITH_BETAS), (("weight_decay",), WITH_DECAY)):
            for attribute in attributes if name in having else ():
                # Keras' Lion has None where it does not decay.
                self._of[attribute] = Setting(getattr(optimizer, attribute) or 0.0, dtype)
                setattr(optimizer, attribute, self._of[attribute])
        if hasattr(optimizer, "adam_weight_decay"):
            # Muon decays the weights that it leaves to Adam by another number of its own, which has the same default.
            optimizer.adam_weight_decay = self._of["weight_decay"]

    def assign(self, trial: TrialSpec) -> None:
        """Take over the numbers of `trial`."""
        numbers = {"beta_1": trial.beta1, "beta_2": trial.beta2, "weight_decay": _weight_decay(trial)}
        for attribute, setting in self._of.items():
            setting.assign(numbers[attribute])


def _weight_decay(trial: TrialSpec) -> float | None:
    """The number that Keras multiplies by the learning rate of each update."""
    if trial.decay_per_update is None:
        return trial.weight_decay
    return trial.decay_per_update / trial.learning_rate
