"""Whose code builds a model: a summary names a function, which whoever exports from it may not have written.

Importing a module runs it. A module in the current folder is the user's own, and batchscope's modules are trusted too;
any other module that happens to be installed here is imported only if the user also names it.
"""

import importlib.util
import os
import sys
from pathlib import Path

import cluster
from trainer.errors import InputError

OWN = "cluster.articles."


def file_of(factory: str, *, agreed: str | None) -> str:
    """The file or folder that `factory`, a "module:function" of a summary, would be imported from; imports nothing.

    Args:
        factory: The function's name in the summary.
        agreed: The name that the user gave.

    Raises:
        InputError: the module does not exist, or lies elsewhere and was not agreed to.
    """
    module = factory.partition(":")[0]
    top = module.partition(".")[0]
    if module.startswith(OWN):
        return os.path.dirname(str(cluster.__file__))
    place = _place(top)
    if place is None:
        raise InputError(
            f"the model is built by {factory}, but no module {top!r} is found from {os.getcwd()}: start batchscope "
            "where Python finds the module"
        )
    if factory != agreed and Path(place).parent != Path.cwd().resolve():
        raise InputError(
            f"the summary says that the model is built by {factory}, which would run {place}: if you trust it, add "
            f"--factory {factory}"
        )
    return place


def _place(top: str) -> str | None:
    """Where the top-level module lies; as for `python -m`, the current folder comes first."""
    sys.path.insert(0, os.getcwd())
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    finally:
        sys.path.pop(0)
    if spec is None:
        return None
    where = next(iter(spec.submodule_search_locations or []), spec.origin)
    return str(Path(where).resolve()) if where and os.path.exists(where) else f"{where or 'Python'} ({top})"
