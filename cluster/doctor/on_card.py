"""What is computed on a card, in a process of its own: `python -m cluster.doctor.on_card DEVICE` prints it as JSON.

A process that has used a card keeps it until it ends.
"""

import json
import os
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MAPS = Path("/proc/self/maps")
ROWS = (1, 5, 7, 64, 1024)


@dataclass(frozen=True)
class OnCard:
    """The product that TF32 would round, how far an LSTM is from the processor's, and the libraries that were loaded.

    `product` is 1.0001 x 1,024; `apart` the largest relative difference (L2) of outputs and gradients over ROWS rows.
    """

    product: float
    apart: float
    libraries: list[str]


def computed(device: str) -> OnCard:
    """All of it on a device of TensorFlow, such as `/GPU:0`."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    with tf.device(device):
        product = float(tf.linalg.matmul(tf.fill([16, 1024], 1.0001), tf.ones([1024, 16]))[0, 0])
    apart = max(_apart(device, rows) for rows in ROWS)
    mapped = re.findall(r"(/\S*/lib(?:cudnn|cublas)\.so\.\d\S*)", MAPS.read_text(errors="replace"))
    return OnCard(product, apart, sorted(set(mapped)))


def _apart(device: str, rows: int) -> float:
    import numpy as np

    pairs = zip(_lstm(device, rows), _lstm("/CPU:0", rows), strict=True)
    return max(float(np.linalg.norm(there - here) / np.linalg.norm(here)) for there, here in pairs)


def _lstm(device: str, rows: int) -> list[Any]:
    """The output of an LSTM and the gradients of its sum."""
    import keras
    import tensorflow as tf

    layer = keras.layers.LSTM(64, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    values = tf.random.stateless_normal([rows, 20, 32], seed=[1, 2])
    with tf.device(device), tf.GradientTape() as tape:
        layer.build(values.shape)
        layer.set_weights([0.1 * tf.random.stateless_normal(one.shape, seed=[3, 4]) for one in layer.weights])
        output = layer(values)
        total = tf.reduce_sum(output)
    gradients = tape.gradient(total, [variable.value for variable in layer.trainable_variables])
    return [output.numpy(), *(gradient.numpy() for gradient in gradients)]


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print(json.dumps(asdict(computed(sys.argv[1]))))  # noqa: T201 - this is what the process is for
