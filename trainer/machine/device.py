"""Setting up a process's TensorFlow before its first use: its GPUs, their arithmetic and memory, and its threads."""

import tensorflow as tf

from trainer.errors import NotReadyError


def set_up(*, threads: int, gpus: int, memory_bytes: int | None = None) -> None:
    """Compute with `threads` (0 for TensorFlow's own choice) on the `gpus` cards that this process was given.

    A process that was given none uses none: Ray does not hide the cards from it (ray#54928), and it would compute on
    one that belongs to another. Of each card it takes `memory_bytes` at once, or with None as much as it comes to need,
    so that lanes may share a card. On CPUs, `trainer.machine.memory` sets the limit.

    float32 is computed as float32. TensorFlow's default on cards since Ampere, TF32, keeps 10 bits of each operand of a
    matrix product: then two layouts of the same update differ by 1e-3 (`tf.config.experimental`,
    https://blogs.nvidia.com/blog/tensorfloat-32-precision-format).

    On cards, operations are asked to add in a fixed order (`enable_op_determinism`, and CUBLAS_WORKSPACE_CONFIG, which
    whoever imports TensorFlow sets before): `trainer.check` finds out whether they do.

    Raises:
        NotReadyError: TensorFlow sees another number of cards than this process was given.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # The number of loops over tokens that run at once (`trainer.model.recurrence`).
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    cards = tf.config.list_physical_devices("GPU")
    if not gpus:
        tf.config.set_visible_devices([], "GPU")
        return
    if len(cards) != gpus:
        raise NotReadyError(
            f"a worker was given {gpus} GPU, but TensorFlow {tf.__version__} sees {len(cards)} on its machine, so "
            "nothing was trained: there, `nvidia-smi -L` must list the cards, and `python -c 'import tensorflow as tf; "
            "print(tf.config.list_physical_devices())'` names the library that is missing"
        )
    tf.config.experimental.enable_op_determinism()
    for card in cards:
        if memory_bytes is None:
            tf.config.experimental.set_memory_growth(card, True)
        else:
            part = tf.config.LogicalDeviceConfiguration(memory_limit=memory_bytes // 2**20)
            tf.config.set_logical_device_configuration(card, [part])
