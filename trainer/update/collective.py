"""The sum over workers: one all-reduce per update, on every worker, exactly once (`trainer.update.exchange`)."""

from typing import Any

import tensorflow as tf

from trainer.machine import peers
from trainer.order.world import World
from trainer.update.exchange import Exchange


class Collective:
    """Sums tensors over the workers of `world`; with one worker, the tensor is the sum.

    All workers must make their calls of `sum` in the same order, in a `tf.function` too, which runs them in the order
    in which it was traced.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._exchange = Exchange(peers.introduced()) if world.workers > 1 else None

    def sum(self, tensor: Any) -> Any:
        """The sum of `tensor` (same shape and dtype everywhere) over all workers."""
        if self._exchange is None:
            return tensor
        total = tf.numpy_function(self._exchange.sum, [tensor], tensor.dtype)
        total.set_shape(tensor.shape)
        return total
