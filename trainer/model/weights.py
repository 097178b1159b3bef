"""Settings on the weights of a factory's model, and weights that cannot be trained as Keras would train them."""

import keras

from trainer.errors import InputError


def carry_over(plain: keras.Model, twin: keras.Model) -> None:
    """Copy what was set on the weights of `plain` to those of `twin`; the layers' configurations do not contain it."""
    for weight, original in zip(twin.weights, plain.weights, strict=True):
        weight.trainable, weight.constraint = original.trainable, original.constraint


def refuse_untrainable(model: keras.Model) -> None:
    """Refuse weights that a gradient summed in the dtype of Keras' policy could not change.

    Raises:
        InputError: there are such weights, or no weight is trainable.
    """
    if not model.trainable_variables:
        raise InputError("no weight of the model is trainable, so there is nothing to train: unfreeze a layer")
    dtype = keras.config.dtype_policy().variable_dtype
    for weight in model.trainable_variables:
        if weight.dtype != dtype:
            raise InputError(
                f"model weight {weight.path!r} is {weight.dtype}, but the study trains {dtype}: give its layer no "
                "dtype of its own"
            )
        if weight.overwrite_with_gradient:
            raise InputError(
                f"model weight {weight.path!r} has overwrite_with_gradient, which a gradient summed over micro-batches "
                "cannot give: do not quantize its layer"
            )
