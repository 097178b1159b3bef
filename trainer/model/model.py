"""The model of a trial: the built-in Keras LSTM or the user's own, and its twin for training.

The plain model is what a user exports and plain Keras loads. It maps token ids [rows, tokens] (0 is padding), or the
numbers described in `trainer.data.inputs`, to class probabilities [rows, classes], one number [rows, 1], or logits of
the next token [rows, tokens, vocabulary]. The training twin has the same weights in the same order, but keyed dropout,
the faster right-padded LSTM, and logits instead of a final softmax.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from trainer.data.inputs import PADDING_NUMBER, SEQUENCES, TEXT, TOKENS, VECTORS, Inputs
from trainer.errors import InputError
from trainer.model import seeding, weights
from trainer.model.cloning import cloned
from trainer.model.dropout import KeyedDropout
from trainer.model.factory import call
from trainer.model.lstm import RightPaddedLSTM, can_replace
from trainer.model.token_dense import TokenDense
from trainer.trial import ModelSpec

BIDIRECTIONAL = (
    "a language model that also reads backwards sees the tokens that it must predict: set model.bidirectional: false, "
    "or, in a factory, use only layers that look back"
)
# Factories whose models have been found to treat each row by itself; trials build them again and again.
_independent: set[tuple[str, str, int, int, Inputs]] = set()


@seeding.one_name()
def build(
    model: ModelSpec,
    *,
    vocabulary_size: int,
    outputs: int,
    task: str,
    dtype: str,
    seed: int,
    inputs: Inputs = TEXT,
) -> keras.Model:
    """The plain model with the initial weights of `seed`: the same seed gives the same weights in any process.

    `outputs` is `Manifest.outputs` of the task.

    Raises:
        InputError: the factory cannot be imported, or its model has the wrong output, mixes rows, or has no weights
            that can be trained; or a language model sees the tokens that it must predict.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        factory = model.factory
        if factory is None:
            seeding.set_seed(seed)
            return _lstm(model, vocabulary_size, outputs, task, inputs)
        size = {"vocabulary_size": vocabulary_size} if inputs.kind == TOKENS else {"features_width": inputs.width}
        key = (task, factory, vocabulary_size, outputs, inputs)

        def made() -> keras.Model:
            return _checked(call(factory, size | {"outputs": outputs}), factory, outputs, task, inputs)

        own = seeding.seeded(made, seed, of=key)
        weights.refuse_untrainable(own)
        if key not in _independent:
            _refuse_dependent(own, inputs)
            if task == "language_model":
                _refuse_foresight(own, vocabulary_size)
            _independent.add(key)
        return own
    finally:
        keras.config.set_dtype_policy(before)


def training_twin(plain: keras.Model) -> keras.Model:
    """The model that is trained: `plain` with its layers swapped as the module's docstring describes.

    Raises:
        InputError: a layer's randomness or statistics would make the gradient depend on how a batch is cut, or a layer
            cannot be made again from its configuration.
    """
    dropouts = [layer for layer in plain.layers if type(layer) is keras.layers.Dropout]
    final = _final(plain)

    def swap(layer: Any) -> Any:
        if type(layer) is keras.layers.Dropout and layer.noise_shape is None:
            return KeyedDropout(layer.rate, salt=dropouts.index(layer), name=layer.name, dtype=layer.dtype_policy)
        if type(layer) is keras.layers.Bidirectional and can_replace(layer.forward_layer):
            return _swap_bidirectional(layer)
        if can_replace(layer):
            return RightPaddedLSTM.from_config(layer.get_config())
        if isinstance(layer, (keras.layers.Dense, keras.layers.Activation)):
            return _swap_dense(layer, final=layer is final)
        if layer is final and isinstance(layer, keras.layers.Softmax):
            return Logits(name=layer.name, dtype=layer.dtype_policy)
        return layer.__class__.from_config(layer.get_config())

    twin = cloned(plain, swap)
    _refuse_inexact(twin)
    twin.set_weights(plain.get_weights())
    weights.carry_over(plain, twin)
    return twin


@keras.saving.register_keras_serializable(package="batchscope")
class Logits(keras.layers.Layer):  # type: ignore[misc]
    """Stands in for a final `keras.layers.Softmax`; like that, it can be called with a mask."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """The inputs."""
        return inputs


def _lstm(model: ModelSpec, vocabulary_size: int, outputs: int, task: str, inputs: Inputs) -> keras.Model:
    """Embedding (not for numbers), LSTM layers, and dropout between them and before the head.

    A language model applies the head at every token.
    """
    every_token = task == "language_model"
    if every_token and model.bidirectional:
        raise InputError(BIDIRECTIONAL)
    if inputs.kind == VECTORS:
        raise InputError(
            "the built-in LSTM reads sequences, but the data have one vector per row: give a model of your own, such "
            'as `model: {factory: "my_models:build"}`, or prepare lists of vectors'
        )
    tokens = keras.Input(inputs.shape, dtype=inputs.dtype, name=inputs.column)
    if inputs.kind == SEQUENCES:
        x = keras.layers.Masking(PADDING_NUMBER, name="masking")(tokens)
    else:
        x = keras.layers.Embedding(vocabulary_size, model.embedding_units, mask_zero=True, name="embedding")(tokens)
    for number in range(model.layers):
        layer: Any = keras.layers.LSTM(
            model.lstm_units, return_sequences=every_token or number < model.layers - 1, name=f"lstm_{number}"
        )
        if model.bidirectional:
            layer = keras.layers.Bidirectional(layer, name=f"bidirectional_{number}")
        x = layer(x)
        x = keras.layers.Dropout(model.dropout, name=f"dropout_{number}")(x)
    activation = "softmax" if task == "classification" else None
    return keras.Model(tokens, keras.layers.Dense(outputs, activation=activation, name="head")(x))


def _swap_bidirectional(layer: Any) -> Any:
    return keras.layers.Bidirectional(
        RightPaddedLSTM.from_config(layer.forward_layer.get_config()),
        merge_mode=layer.merge_mode,
        backward_layer=RightPaddedLSTM.from_config(layer.backward_layer.get_config()),
        name=layer.name,
        dtype=layer.dtype_policy,
    )


def _final(model: keras.Model) -> Any:
    """The operation that computes the model's output; it is not always the last of the layers."""
    return model.outputs[0]._keras_history.operation


def _gives_logits_or_softmax(layer: Any) -> bool:
    if isinstance(layer, (keras.layers.Dense, keras.layers.Activation)):
        return layer.get_config()["activation"] in ("softmax", "linear")
    return isinstance(layer, keras.layers.Softmax)


def _swap_dense(layer: Any, *, final: bool) -> Any:
    """A copy of `layer` that returns logits if it is the `final` one."""
    config = layer.get_config()
    if final and config["activation"] == "softmax":
        config["activation"] = "linear"
    return (TokenDense if type(layer) is keras.layers.Dense else layer.__class__).from_config(config)


def _refuse_dependent(plain: keras.Model, inputs: Inputs) -> None:
    """Refuse a model whose output for a row depends on other rows or on padding, which differ between layouts."""
    row, wider = inputs.empty(1, 8), inputs.empty(2, 16)
    # All numbers of a vector, or 8 and 11 tokens of a sequence.
    row[0] = wider[0, : row.shape[1]] = 1
    wider[1, :11] = 1 if inputs.kind == TOKENS else 2
    try:
        alone, beside = (np.asarray(plain(tokens, training=False))[0] for tokens in (row, wider))
        beside = beside[: len(alone)]
    except Exception as problem:
        any_length = {TOKENS: " of any number of tokens", SEQUENCES: " of any number of vectors", VECTORS: ""}
        raise InputError(
            f"the model cannot compute {_said(inputs)}{any_length[inputs.kind]} ({type(problem).__name__}: {problem}): "
            f"give it keras.Input({inputs.shape}, dtype={inputs.dtype!r})"
        ) from problem
    if not _agree(alone, beside):
        mask = {
            TOKENS: "use keras.layers.Embedding(..., mask_zero=True), and after it only layers that heed the mask",
            SEQUENCES: "begin with keras.layers.Masking(float(numpy.finfo('float32').min)), the value that fills a "
            "row after its end, and after it use only layers that heed the mask",
            VECTORS: "use only layers that treat each row by itself",
        }
        raise InputError(
            "the model's output for a row changes with the padding after it or with the rows next to it, so it would "
            f"depend on how a batch is cut: {mask[inputs.kind]}"
        )


def _said(inputs: Inputs) -> str:
    return {
        TOKENS: "token ids [rows, tokens]",
        VECTORS: f"vectors [rows, {inputs.width}]",
        SEQUENCES: f"sequences of vectors [rows, vectors, {inputs.width}]",
    }[inputs.kind]


def _refuse_foresight(plain: keras.Model, vocabulary_size: int) -> None:
    """Refuse a model whose output at a token depends on later tokens, which it must predict."""
    tokens = np.ones((2, 8), "int32")
    tokens[1, 4:] = vocabulary_size - 1
    first, second = np.asarray(plain(tokens, training=False))
    if not _agree(first[:4], second[:4]):
        raise InputError(BIDIRECTIONAL)


def _agree(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Whether two outputs differ by no more than rounding, which in half precision is to 8 or 11 bits."""
    if one.dtype.itemsize == 2:
        return np.allclose(one.astype("float32"), other.astype("float32"), rtol=0.05, atol=0.05)
    return np.allclose(one, other, rtol=1e-4, atol=1e-5)


def _refuse_inexact(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            raise InputError(
                f"model layer {layer.name!r} is a BatchNormalization, whose statistics depend on how a batch is "
                "cut: use LayerNormalization"
            )
        regularizers = [name for name, value in vars(layer).items() if name.endswith("_regularizer") and value]
        if regularizers:
            raise InputError(
                f"model layer {layer.name!r} has a {regularizers[0]}, which would not be applied: remove it, and use "
                "optimizer adamw or keras.layers.Dropout"
            )
        if getattr(layer, "stateful", False):
            raise InputError(f"model layer {layer.name!r} is stateful, which couples one batch to the next: unset it")
        if isinstance(getattr(layer, "seed_generator", None), keras.random.SeedGenerator) and _draws(layer):
            raise InputError(
                f"model layer {layer.name!r} ({type(layer).__name__}) draws random numbers that depend on how a batch "
                "is cut: use keras.layers.Dropout layers, which batchscope keys by row"
            )


def _draws(layer: Any) -> bool:
    rates = [getattr(layer, name, None) for name in ("rate", "dropout", "recurrent_dropout", "stddev")]
    return any(rates) or all(rate is None for rate in rates)


def _checked(model: Any, factory: str, outputs: int, task: str, inputs: Inputs) -> keras.Model:
    every_token = task == "language_model"
    form = f"[rows, tokens, {outputs}]" if every_token else f"[rows, {outputs}]"
    wanted = f"a functional or sequential keras.Model from {_said(inputs)} to {form}"
    if not isinstance(model, keras.Model):
        raise InputError(f"model.factory {factory!r} returned a {type(model).__name__}: it must return {wanted}")
    shape = tuple(getattr(model, "output_shape", ()) or ())
    if not isinstance(model, (keras.Sequential, keras.src.models.Functional)) or shape != (
        (None, None, outputs) if every_token else (None, outputs)
    ):
        raise InputError(
            f"model.factory {factory!r} returned a {type(model).__name__} of output shape {shape}: "
            f"it must return {wanted}"
        )
    ranks = [len(tensor.shape) for tensor in model.inputs]
    if ranks != [1 + len(inputs.shape)]:
        raise InputError(
            f"model.factory {factory!r} returned a model of {len(ranks)} input(s) of rank {ranks}: it must return "
            f"{wanted}"
        )
    final = _final(model)
    if task != "regression" and not _gives_logits_or_softmax(final):
        raise InputError(
            f"model.factory {factory!r} returned a model whose last layer {final.name!r} ({type(final).__name__}) is "
            f"neither a softmax nor a linear Dense, so its loss would be wrong: end it with keras.layers.Dense("
            f"{outputs}, activation='softmax')"
        )
    return model
