"""The LSTM on CPUs, with its own backward pass and a loop over tokens compiled by XLA; the same numbers as Keras'.

TensorFlow runs Keras' loop operation by operation, some tens of them per token, which takes most of the time of a small
model. Here a whole pass over the tokens is one compiled loop over packed rows (`trainer.model.packing`), so hardly any
padding is computed. The loop of the backward pass computes only the gradient of the gate inputs; after it, one product
over all tokens gives the gradients of the weights.

A compiled loop keeps one thread busy. With several threads between operations, the rows are dealt to as many strands,
whose loops run at once; their gradients are added in the order of the strands, so timing changes no number.

Shapes: as in `trainer.model.packing`, with E inputs and H units; P places; G = 4H gates in Keras' order input, forget,
candidate, output. XLA compiles once for each number of rows and room, which takes about a second.
"""

from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_dynamic_slice, xla_dynamic_update_slice

from trainer.model.packing import Packing, pack
from trainer.order.shapes import widths


def strands() -> int:
    """The number of loops that run at once: one for each thread between operations."""
    return max(1, int(tf.config.threading.get_inter_op_parallelism_threads()))


def states(
    x_BTE: Any,
    lengths: Any,
    kernel: Any,
    bias: Any,
    u_HG: Any,
    *,
    every_token: bool,
    strands: int,
    training: bool = True,
) -> Any:
    """The state after a row's last token, [B, H], or with `every_token` after each token, [B, T, H], then zeros.

    `lengths` are the tokens of each row; the first state is zero. Without `training`, nothing is kept for a gradient,
    which then takes longer.
    """
    packing = pack(lengths, tf.shape(x_BTE)[1], strands)
    last = tf.maximum(lengths - 1, 0)
    place = packing.place_BT if every_token else tf.gather(packing.place_BT, last, axis=1, batch_dims=1)
    real = tf.sequence_mask(lengths, tf.shape(x_BTE)[1])
    found = _states(x_BTE, kernel, bias, u_HG, packing, place, real, training)
    return _where(real if every_token else lengths > 0, found)


def _states(
    x_BTE: Any, kernel: Any, bias: Any, u_HG: Any, packing: Packing, place: Any, real_BT: Any, training: bool
) -> Any:
    """The state at each of `place`; undefined at places that are not a token's."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def computed(x_BTE: Any, kernel: Any, bias: Any, u_HG: Any) -> Any:
        places, none_NH = tf.size(packing.source_SP[0]), tf.zeros([packing.rows, u_HG.shape[0]], x_BTE.dtype)
        more = [[0, packing.room - places], [0, 0]]
        flat = tf.reshape(x_BTE, [-1, x_BTE.shape[-1]])
        x_SPE = [tf.gather(flat, source) for source in packing.source_SP]

        def passed(loop: Any) -> list[Any]:
            return [loop(tf.pad(x @ kernel + bias, more), u_HG, none_NH, packing.ends) for x in x_SPE]

        found = passed(_forward if training else _forward_states)
        h_SPH = [kept[0][:places] for kept in found]

        def gradient(d_states: Any) -> tuple[Any, ...]:
            flat = tf.reshape(d_states, [-1, u_HG.shape[0]])
            if len(place.shape) == 2:
                dh_SPH = [
                    _where(real, tf.gather(flat, source))
                    for source, real in zip(packing.source_SP, packing.real_SP, strict=True)
                ]
            else:
                dh_SPH = tf.split(tf.scatter_nd(place[:, None], flat, [places * len(found), u_HG.shape[0]]), len(found))
            dz_SPG = [
                _backward(tf.pad(dh, more), c_PH, gates_PG, u_HG, none_NH, packing.ends)[:places]
                for dh, (_, c_PH, gates_PG) in zip(dh_SPH, found if training else passed(_forward), strict=True)
            ]
            dx_PE = tf.concat([tf.matmul(dz, kernel, transpose_b=True) for dz in dz_SPG], 0)
            return (
                _where(real_BT, tf.gather(dx_PE, packing.place_BT)),
                _sum(tf.matmul(x, dz, transpose_a=True) for x, dz in zip(x_SPE, dz_SPG, strict=True)),
                _sum(tf.reduce_sum(dz, 0) for dz in dz_SPG),
                _sum(
                    tf.matmul(tf.gather(h, packing.before), dz[packing.first :], transpose_a=True)
                    for h, dz in zip(h_SPH, dz_SPG, strict=True)
                ),
            )

        return tf.gather(tf.concat(h_SPH, 0), place), gradient

    return computed(x_BTE, kernel, bias, u_HG)


def _where(real: Any, values: Any) -> Any:
    return tf.where(real[..., None], values, tf.zeros_like(values))


def _sum(parts: Any) -> Any:
    first, *others = parts
    for part in others:
        first += part
    return first


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _forward(z_PG: Any, u_HG: Any, none_NH: Any, ends: Any) -> tuple[Any, Any, Any]:
    """States, cells and gates of a strand's places from the gate inputs without the recurrent part."""
    room, units, dtype = tf.shape(z_PG)[0], u_HG.shape[0], z_PG.dtype
    # sigmoid(z) = tanh(z / 2) / 2 + 1 / 2: one function for all gates is quicker to compile and to compute.
    scale_G = tf.repeat(tf.constant([0.5, 0.5, 1, 0.5], dtype), units)

    def token(at: Any, t: Any, h: Any, c: Any, hs: Any, cs: Any, gates: Any) -> tuple[Any, ...]:
        z = _taken(z_PG, at, tf.shape(h)[0]) + h @ u_HG
        now = tf.tanh(z * scale_G) * scale_G + (1 - scale_G)
        i, f, g, o = tf.split(now, 4, axis=1)
        c = f * c + i * g
        h = o * tf.tanh(c)
        return at + tf.shape(h)[0], t + 1, h, c, _put(hs, h, at), _put(cs, c, at), _put(gates, now, at)

    buffers = [tf.zeros([room, width], dtype) for width in (units, units, 4 * units)]
    at, t, h, c = 0, 0, none_NH, none_NH
    for phase, rows in enumerate(widths(tf.shape(none_NH)[0])):
        end, start = ends[phase], (at, t, h[:rows], c[:rows], *buffers)
        at, t, h, c, *buffers = tf.while_loop(lambda at, t, *_, end=end: t < end, token, start, _free(start))
    return tuple(buffers)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _forward_states(z_PG: Any, u_HG: Any, none_NH: Any, ends: Any) -> tuple[Any]:
    """The states alone: XLA keeps no buffer that is not returned."""
    return (_forward(z_PG, u_HG, none_NH, ends)[0],)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _backward(dh_PH: Any, c_PH: Any, gates_PG: Any, u_HG: Any, none_NH: Any, ends: Any) -> Any:
    """The gradient of a strand's gate inputs, from that of its states."""
    room, units, u_GH = tf.shape(dh_PH)[0], u_HG.shape[0], tf.transpose(u_HG)
    rows_of = widths(tf.shape(none_NH)[0])

    def token(at: Any, t: Any, first: Any, dh: Any, dc: Any, dz_PG: Any) -> tuple[Any, ...]:
        rows = tf.shape(dh)[0]
        # The token before the first one of a phase is in the previous phase, which has further rows after these.
        before = at - tf.where(t == first, rows_before, rows)
        i, f, g, o = tf.split(_taken(gates_PG, at, rows), 4, axis=1)
        c_before = tf.where(t > 0, _taken(c_PH, tf.maximum(before, 0), rows), tf.zeros_like(dc))
        squashed = tf.tanh(_taken(c_PH, at, rows))
        dh += _taken(dh_PH, at, rows)
        dc += dh * o * (1 - squashed * squashed)
        dz = tf.concat(
            [
                dc * g * i * (1 - i),
                dc * c_before * f * (1 - f),
                dc * i * (1 - g * g),
                dh * squashed * o * (1 - o),
            ],
            1,
        )
        return before, t - 1, first, dz @ u_GH, dc * f, _put(dz_PG, dz, at)

    dz_PG = tf.zeros([room, 4 * units], dh_PH.dtype)
    firsts = [0, *tf.unstack(ends, len(rows_of))]
    sizes = [(firsts[phase + 1] - firsts[phase]) * rows for phase, rows in enumerate(rows_of)]
    rows_before_of = [0]
    for rows, size in zip(rows_of, sizes, strict=True):
        # A phase may be empty.
        rows_before_of.append(tf.where(size > 0, rows, rows_before_of[-1]))
    dh = dc = none_NH[:0]
    t = firsts[-1] - 1
    for phase in reversed(range(len(rows_of))):
        rows, first = rows_of[phase], firsts[phase]
        rows_before = rows_before_of[phase]
        joining = [[0, rows - tf.shape(dh)[0]], [0, 0]]
        at = tf.add_n(sizes[: phase + 1]) - rows
        start = (at, t, first, tf.pad(dh, joining), tf.pad(dc, joining), dz_PG)
        _, t, _, dh, dc, dz_PG = tf.while_loop(lambda at, t, first, *_: t >= first, token, start, _free(start))
    return dz_PG


def _taken(places: Any, at: Any, rows: Any) -> Any:
    # Not tf.slice: where XLA can, it takes the beginning of that for a constant, and compiles again for each value.
    return xla_dynamic_slice(places, tf.stack([at, 0]), tf.stack([rows, places.shape[1]]))


def _put(places: Any, values: Any, at: Any) -> Any:
    return xla_dynamic_update_slice(places, values, tf.stack([at, 0]))


def _free(start: tuple[Any, ...]) -> tuple[Any, ...]:
    """The shapes of a loop's values, whose first dimension is known only to XLA."""
    shapes = [tf.convert_to_tensor(value).shape for value in start]
    return tuple(tf.TensorShape([None, *shape[1:]]) if shape.rank else shape for shape in shapes)
