"""The LSTM's recurrence on CPUs with its own backward pass, compiled by XLA; the same numbers as Keras' loop.

TensorFlow runs Keras' loop operation by operation, some tens of them a token, which is most of the time of a small
model. Here a whole pass over the tokens is one compiled loop. The backward pass makes only the gradient of the gate
inputs; what it means for the weights is one product over all tokens after the loop.

Shapes: T tokens, B rows, H units; z_TBG are the gate inputs without the recurrent part, G = 4H in Keras' order
input, forget, candidate, output; u_HG is the recurrent kernel. XLA compiles once per shape, so rows are padded to a
multiple of ROWS_MULTIPLE and the buffers' tokens to a power of two; the number of tokens computed is a value.
"""

from typing import Any

import tensorflow as tf

ROWS_MULTIPLE = 8
TOKENS_AT_LEAST = 32


def states(z_TBG: Any, u_HG: Any) -> Any:
    """The state after each token, [T, B, H], from a zero state."""
    tokens, rows = tf.shape(z_TBG)[0], tf.shape(z_TBG)[1]
    room = tf.maximum(TOKENS_AT_LEAST, tf.bitwise.left_shift(1, _bits(tokens - 1)))
    more_rows = -rows % ROWS_MULTIPLE
    padded = tf.pad(z_TBG, [[0, room - tokens], [0, more_rows], [0, 0]])
    return _recurrence(padded, u_HG, tokens)[:tokens, :rows]


def _bits(number: Any) -> Any:
    """The bits that a non-negative int32 takes."""
    return tf.reduce_sum(tf.cast(tf.bitwise.right_shift(number, tf.range(31)) > 0, tf.int32))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _recurrence(z_TBG: Any, u_HG: Any, tokens: Any) -> Any:
    h_TBH, c_TBH, gates_TBG = _forward(z_TBG, u_HG, tokens)

    def gradient(dh_TBH: Any) -> tuple[Any, Any, None]:
        dz_TBG = _backward(dh_TBH, c_TBH, gates_TBG, u_HG, tokens)
        before_TBH = tf.pad(h_TBH[: tokens - 1], [[1, 0], [0, 0], [0, 0]])
        du_HG = tf.tensordot(before_TBH, dz_TBG[:tokens], [[0, 1], [0, 1]])
        return dz_TBG, du_HG, None

    return h_TBH, gradient


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _forward(z_TBG: Any, u_HG: Any, tokens: Any) -> tuple[Any, Any, Any]:
    """States, cells and gates of the first `tokens` tokens; zeros after."""
    room, rows, units = tf.shape(z_TBG)[0], tf.shape(z_TBG)[1], tf.shape(u_HG)[0]
    zeros_BH = tf.zeros([rows, units], z_TBG.dtype)
    buffers = [tf.TensorArray(z_TBG.dtype, size=room) for _ in range(3)]

    def step(t: Any, h_BH: Any, c_BH: Any, hs: Any, cs: Any, gates: Any) -> tuple[Any, ...]:
        i, f, g, o = tf.split(tf.gather(z_TBG, t) + h_BH @ u_HG, 4, axis=1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        c_BH = f * c_BH + i * g
        h_BH = o * tf.tanh(c_BH)
        return t + 1, h_BH, c_BH, hs.write(t, h_BH), cs.write(t, c_BH), gates.write(t, tf.concat([i, f, g, o], 1))

    found = tf.while_loop(lambda t, *_: t < tokens, step, (0, zeros_BH, zeros_BH, *buffers))[3:]
    return tuple(buffer.stack() for buffer in found)


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _backward(dh_TBH: Any, c_TBH: Any, gates_TBG: Any, u_HG: Any, tokens: Any) -> Any:
    """The gradient of the gate inputs, from that of the states."""
    zeros_BH = tf.zeros(tf.shape(dh_TBH)[1:], dh_TBH.dtype)
    u_GH = tf.transpose(u_HG)

    def step(t: Any, dh_BH: Any, dc_BH: Any, dz_TBG: Any) -> tuple[Any, ...]:
        i, f, g, o = tf.split(tf.gather(gates_TBG, t), 4, axis=1)
        before_BH = tf.where(t > 0, tf.gather(c_TBH, tf.maximum(t - 1, 0)), zeros_BH)
        squashed_BH = tf.tanh(tf.gather(c_TBH, t))
        dh_BH = dh_BH + tf.gather(dh_TBH, t)
        dc_BH = dc_BH + dh_BH * o * (1 - squashed_BH * squashed_BH)
        dz_BG = tf.concat(
            [
                dc_BH * g * i * (1 - i),
                dc_BH * before_BH * f * (1 - f),
                dc_BH * i * (1 - g * g),
                dh_BH * squashed_BH * o * (1 - o),
            ],
            1,
        )
        return t - 1, dz_BG @ u_GH, dc_BH * f, dz_TBG.write(t, dz_BG)

    start = (tokens - 1, zeros_BH, zeros_BH, tf.TensorArray(dh_TBH.dtype, size=tf.shape(dh_TBH)[0]))
    return tf.while_loop(lambda t, *_: t >= 0, step, start)[3].stack()
