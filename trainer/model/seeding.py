"""Building model after model in one process, from the seed alone and without leaking memory.

TensorFlow caches a kernel for each eager operation under the operation's attributes, functions included. A worker lives
for hundreds of trials and builds a model for each, so two things matter (measured on the development machine, 2 cores,
TensorFlow 2.21, 2026-11-28):

- `tf.random.set_seed`, and so `keras.utils.set_random_seed`, empties that cache. Every function is then instantiated
  again at its next call, and what XLA compiled in it is never released (`CreateXlaKernel` instantiates the function's
  body and does not release it): 4.8 MiB and 0.9 s for each trial of the built-in model. Keras' own initializers draw
  from Python's random numbers, so TensorFlow's seed is set only for a model that needs it.
- A variable's name is among the attributes of its kernel, and Keras gives the layers of a model new names each time:
  36 KiB for each variable. So all variables are made under one name; Keras' own names for them stay.
"""

import random
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_needs_tensorflow: dict[Hashable, bool] = {}


def set_seed(seed: int) -> None:
    """Seed the random numbers of Python and NumPy; Keras' own initializers need no more."""
    random.seed(seed)
    np.random.seed(seed)


def seeded(make: Callable[[], keras.Model], seed: int, *, of: Hashable) -> keras.Model:
    """The model that `make` returns after all random numbers were seeded with `seed`.

    The first time for `of`, the model is made twice, to find out whether its weights need the seed of TensorFlow and
    `keras.random` at all. If they do, every call has the cost described above.
    """
    if _needs_tensorflow.get(of, True):
        keras.utils.set_random_seed(seed)
    else:
        set_seed(seed)
    made = make()
    if of not in _needs_tensorflow:
        set_seed(seed)
        _needs_tensorflow[of] = _weights(make()) != _weights(made)
    return made


def _weights(model: keras.Model) -> list[bytes]:
    return [array.tobytes() for array in model.get_weights()]


@contextmanager
def one_name() -> Iterator[None]:
    """Give all variables that are made inside the block the same name for TensorFlow."""

    def created(make: Any, **options: Any) -> Any:
        # The trailing slash leaves the scopes of Keras' layers, whose names would otherwise come first.
        return make(**{**options, "name": "weight/"})

    with tf.variable_creator_scope(created):
        yield
