"""Packed rows: every token has one place, hardly any place is padding, and XLA sees few shapes."""

import os
import subprocess
import sys

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from trainer.model import packing, recurrence
from trainer.order import shapes

pytestmark = pytest.mark.tf
TOKENS = 200


def lengths_of(rows: int, seed: int) -> np.ndarray:
    """Lengths as those of package descriptions: 67 tokens in the mean, a few long ones, cut at 200; some are equal."""
    drawn = np.random.default_rng(seed).lognormal(4.0, 0.65, rows)
    return np.clip(drawn, 1, TOKENS).astype("int32")


@pytest.mark.parametrize("strands", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 4, 5, 16, 33])
def test_every_token_has_one_place_and_knows_the_one_before(rows: int, strands: int) -> None:
    for seed in range(3):
        lengths = lengths_of(rows, seed)
        tokens = int(lengths.max()) + seed
        found = packing.pack(tf.constant(lengths), tokens, strands)
        source, real = np.concatenate(found.source_SP), np.concatenate(found.real_SP)
        row, token = source // tokens, source % tokens
        places = len(found.source_SP[0])
        # A row that fills up a strand says of no token that it is real.
        assert sorted(source[real]) == [r * tokens + t for r in range(rows) for t in range(lengths[r])]
        at = found.place_BT.numpy()[row[real], token[real]]
        np.testing.assert_array_equal(at, np.flatnonzero(real))
        assert found.place_BT.numpy().max() < len(source)
        assert int(found.first) + len(found.before) == places <= int(found.room)
        for strand in range(strands):
            here = slice(strand * places + int(found.first), (strand + 1) * places)
            before = strand * places + found.before.numpy()
            follows = real[here]
            np.testing.assert_array_equal(source[here][follows] - 1, source[before][follows])
            assert (token[strand * places : here.start] == 0).all()


@pytest.mark.parametrize(("rows", "strands", "least"), [(8, 1, 0.65), (16, 1, 0.75), (16, 2, 0.55), (32, 1, 0.65)])
def test_hardly_any_place_is_padding_and_shapes_are_few(rows: int, strands: int, least: float) -> None:
    real, places, shapes = 0, 0, set()
    for seed in range(60):
        lengths = lengths_of(rows, seed)
        found = packing.pack(tf.constant(lengths), TOKENS, strands)
        real, places = real + int(lengths.sum()), places + sum(map(len, found.source_SP))
        shapes.add((int(found.rows), int(found.room)))
    assert real / places >= least
    # XLA compiles once for each: no more than lengths up to 200, doubling from 32, can be.
    assert len(shapes) <= 4
    assert len({number for number, _ in shapes}) == 1


def test_micro_batches_of_about_the_same_rows_have_the_same_shape() -> None:
    found = {rows: int(packing.pack(tf.ones(rows, tf.int32), 1, 1).rows) for rows in (*range(1, 34), *range(225, 257))}
    assert all(rows <= number < rows * 1.5 for rows, number in found.items() if rows > 16)
    assert sorted({found[rows] for rows in range(1, 34)}) == [4, 8, 16, 24, 32, 40]
    assert {found[rows] for rows in range(225, 257)} == {256}


def test_tensors_are_packed_by_the_integers_of_the_order() -> None:
    rows = [*range(1, 5000), *(2**power + more for power in range(13, 30) for more in (-1, 0, 1))]

    @tf.function
    def computed(numbers):
        return tf.map_fn(packing._few, numbers), tf.map_fn(packing._power_of_two, numbers)

    few, powers = computed(tf.constant(rows, tf.int32))
    assert few.numpy().tolist() == [shapes.strand_rows(number) for number in rows]
    assert powers.numpy().tolist() == [shapes.power_of_two(number) for number in rows]


@pytest.mark.parametrize("every_token", [False, True])
def test_strands_change_nothing_beyond_rounding(every_token: bool) -> None:
    random = np.random.default_rng(7)
    rows, tokens, inputs, units = 23, 21, 3, 4
    # Ties, so that phases are over as soon as they begin, and a row of nothing.
    lengths = tf.constant(random.choice([1, 5, 5, 21, 0], rows), tf.int32)
    sizes = [(rows, tokens, inputs), (inputs, 4 * units), (4 * units,), (units, 4 * units)]
    x, kernel, bias, recurrent = (tf.constant(random.normal(size=size)) for size in sizes)
    weighed = random.normal(size=(rows, tokens, units) if every_token else (rows, units))

    @tf.function
    def computed(strands: int) -> list:
        with tf.GradientTape() as tape:
            tape.watch([x, kernel, bias, recurrent])
            found = recurrence.states(x, lengths, kernel, bias, recurrent, every_token=every_token, strands=strands)
            total = tf.reduce_sum(found * weighed)
        return [found, *tape.gradient(total, [x, kernel, bias, recurrent])]

    alone = computed(1)
    assert not alone[0].numpy()[lengths == 0].any()
    for strands in (2, 3):
        for one, other in zip(computed(strands), alone, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


_BATCHES_OF_ONE_SHAPE = """
import numpy as np
import tensorflow as tf
from trainer.model import recurrence

rng = np.random.default_rng(0)
kernel, recurrent = (tf.constant(rng.normal(size=(4, 16)), tf.float32) for _ in range(2))

@tf.function
def gradient(x, lengths):
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = recurrence.states(x, lengths, kernel, tf.zeros(16), recurrent, every_token=False, strands=1)
    return tape.gradient(found, x)

for _ in range(5):
    lengths = tf.constant(rng.integers(33, 64, 8), tf.int32)
    gradient(tf.constant(rng.normal(size=(8, 64, 4)), tf.float32), lengths)
"""


def test_xla_compiles_once_for_a_shape_whatever_the_lengths() -> None:
    """Of five batches of one shape the second to fifth must find forward and backward compiled."""
    told = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "device_compiler=2"}
    command = [sys.executable, "-c", _BATCHES_OF_ONE_SHAPE]
    said = subprocess.run(command, env=told, capture_output=True, text=True, check=True, timeout=300).stderr
    assert said.count("nstantly compiling") == 2
    assert said.count("Already Compiled") == 8
