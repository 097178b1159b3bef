"""Dropout whose mask is a pure function of (seed, position): each row loses the same units however a batch is cut.

A position belongs to exactly one update of a trial, so (seed, position) determines (seed, update, position). The mask's
bits come from integer hashing ("lowbias32", Wellons, https://nullprogram.com/blog/2018/07/31/), because TensorFlow's
own random operations take one seed per call, not one per row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

_row_keys: ContextVar[Any] = ContextVar("row_keys", default=None)


@contextmanager
def row_keys(seed: Any, positions: Any) -> Iterator[None]:
    """Calls of `KeyedDropout` inside the block are for these rows: a seed (int64 scalar), positions (int64 [rows])."""
    token = _row_keys.set(_row_key(seed, positions))
    try:
        yield
    finally:
        _row_keys.reset(token)


@keras.saving.register_keras_serializable(package="batchscope")
class KeyedDropout(keras.layers.Layer):  # type: ignore[misc]
    """Stands in for `keras.layers.Dropout` while training; `salt` distinguishes the dropouts of one model.

    As in Keras, a kept value is divided by `1 - rate`. A sequence [rows, tokens, units] has its own mask per token.
    """

    def __init__(self, rate: float, salt: int, **options: Any) -> None:
        super().__init__(**options)
        self.rate = rate
        self.salt = salt
        self.supports_masking = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs, with units dropped while training; any shape [rows, ...]."""
        if not training or self.rate == 0:
            return inputs
        keys = _row_keys.get()
        if keys is None:
            raise RuntimeError("KeyedDropout was called in training outside `row_keys`")
        shape = tf.shape(inputs)
        return tf.where(
            _uniform(keys, self.salt, shape) >= tf.cast(self.rate, tf.float32),
            inputs * tf.cast(1 / (1 - self.rate), inputs.dtype),
            tf.zeros_like(inputs),
        )


def _row_key(seed: Any, positions: Any) -> Any:
    """One uint32 per row from all bits of the seed and the position."""
    seeded = _hash(_low(seed))
    return _hash(tf.bitwise.bitwise_xor(_low(positions), _hash(tf.bitwise.bitwise_xor(_high(positions), seeded))))


def _uniform(keys: Any, salt: int, shape: Any) -> Any:
    """Numbers in [0, 1) of the given shape [rows, ...]: a function of each row's key, the salt and the place."""
    inner = tf.reduce_prod(shape[1:])
    places = tf.cast(tf.range(inner), tf.uint32)[None, :]
    salted = _hash(tf.bitwise.bitwise_xor(keys, tf.constant(_salt(salt), tf.uint32)))[:, None]
    bits = _hash(salted + _hash(places))
    # A float32 holds 24 bits exactly.
    unit = tf.cast(tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.int32), tf.float32) / 2.0**24
    return tf.reshape(unit, shape)


def _salt(salt: int) -> int:
    return (salt * 0x9E3779B9 + 0x85EBCA6B) % 2**32


def _hash(x: Any) -> Any:
    """lowbias32 of uint32 values."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(shift, tf.uint32)))
        x = x * tf.constant(factor, tf.uint32)
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(16, tf.uint32)))


def _low(x: Any) -> Any:
    return tf.cast(tf.bitwise.bitwise_and(x, tf.constant(0xFFFFFFFF, tf.int64)), tf.uint32)


def _high(x: Any) -> Any:
    return _low(tf.bitwise.right_shift(x, tf.constant(32, tf.int64)))
