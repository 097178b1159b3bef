"""Setting up a worker's TensorFlow before its first use: its threads, and how much of each GPU it takes."""

import tensorflow as tf


def set_up(*, threads: int, memory_bytes: int | None = None) -> None:
    """Compute with `threads`; take `memory_bytes` of each GPU at once, or with None as much as is needed.

    With None, lanes may share a GPU. On CPUs, `trainer.machine.memory` sets the limit.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # The number of loops over tokens that run at once (`trainer.model.recurrence`).
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        if memory_bytes is None:
            tf.config.experimental.set_memory_growth(gpu, True)
        else:
            part = tf.config.LogicalDeviceConfiguration(memory_limit=memory_bytes // 2**20)
            tf.config.set_logical_device_configuration(gpu, [part])
