"""A user's own model: the function that `model.factory` names, imported and called."""

import importlib
from collections.abc import Callable
from typing import Any

from trainer.errors import InputError


def call(factory: str, sizes: dict[str, int]) -> Any:
    """The result of calling the factory with the sizes.

    Raises:
        InputError: the factory cannot be imported, or fails.
    """
    function = _load(factory)
    try:
        return function(**sizes)
    except Exception as problem:
        raise InputError(
            f"model.factory {factory!r} failed ({type(problem).__name__}: {problem}): it is called as "
            f"build({', '.join(f'{name}=...' for name in sizes)}) and must return a keras.Model"
        ) from problem


def _load(factory: str) -> Callable[..., Any]:
    """The function that "module:function" names.

    Raises:
        InputError: it cannot be imported.
    """
    module_name, _, name = factory.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except Exception as problem:
        raise InputError(
            f"model.factory {factory!r} cannot be imported ({type(problem).__name__}: {problem}): write it as "
            "module:function, and start batchscope where Python finds that module"
        ) from problem
    if not callable(function):
        raise InputError(f"model.factory {factory!r} is a {type(function).__name__}: it must be a function")
    return function  # type: ignore[no-any-return]
