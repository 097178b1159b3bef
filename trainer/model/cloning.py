"""A model made again layer by layer, and why a layer of a user's own may not be."""

from collections.abc import Callable
from typing import Any

import keras

from trainer.cause import cause
from trainer.errors import InputError


def cloned(plain: keras.Model, swap: Callable[[Any], Any]) -> keras.Model:
    """`plain` with each layer replaced by what `swap` makes of it.

    Raises:
        InputError: a layer cannot be made again from its configuration.
    """

    def swapped(layer: Any) -> Any:
        try:
            return swap(layer)
        except InputError:
            raise
        except Exception as problem:
            raise InputError(_not_again(layer, problem)) from problem

    return keras.models.clone_model(plain, clone_function=swapped)


def _not_again(layer: Any, problem: Exception) -> str:
    """Why a layer cannot be made again, as training does, and whoever loads an exported model."""
    again = f"layer {layer.name!r} ({type(layer).__name__}) cannot be made again from its configuration"
    if isinstance(layer, keras.layers.Lambda):
        # Keras' own words advise to load files that may do anything.
        return f"{again}: write what its function computes as a layer of your own, or with keras.ops"
    return (
        f"{again} ({cause(problem)}): let its `__init__` take **kwargs and pass them to super().__init__, and let "
        "`get_config` also return its own arguments, as numbers, texts and lists"
    )
