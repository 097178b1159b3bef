"""The sum over workers: one all-reduce per update, on every worker, exactly once.

With several workers, a MultiWorkerMirroredStrategy starts TensorFlow's collective runtime from `TF_CONFIG` and is then
not used any further: Keras 3 models cannot be trained under it (keras#20585), so nothing else may reduce.
"""

from typing import Any

import tensorflow as tf

from trainer.order.world import World


class Collective:
    """Sums tensors over the workers of `world`; with one worker, the tensor is the sum.

    All workers must make their calls of `sum` in the same order. Each traced call has its own key. Calls outside a
    `tf.function` are traced once for each shape, because TensorFlow remembers every key, 1.5 KiB for each evaluation.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._keys = 0
        self._traced = tf.function(self._reduced, autograph=False)
        # Kept for its server, which must answer the other workers as long as this process lives.
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy() if world.workers > 1 else None

    def sum(self, tensor: Any) -> Any:
        """The sum of `tensor` (same shape and dtype everywhere) over all workers."""
        if self.world.workers == 1:
            return tensor
        return self._traced(tensor) if tf.executing_eagerly() else self._reduced(tensor)

    def _reduced(self, tensor: Any) -> Any:
        self._keys += 1
        return tf.raw_ops.CollectiveReduceV2(
            input=tensor,
            group_size=self.world.workers,
            group_key=1,
            instance_key=self._keys,
            ordering_token=[],
            merge_op="Add",
            final_op="Id",
            communication_hint="auto",
            timeout_seconds=0,
        )
