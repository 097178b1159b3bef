"""The packages `trainer` and `cluster` must be batchscope's own: other distributions and folders have those names too.

Some distributions on PyPI install a top-level `trainer` or `cluster`, and pip overwrites existing files. A folder of
that name where Python is started is found before the installed package, and Ray's workers look there first.
"""

import importlib
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

NAMES = ("trainer", "cluster")
MARK = "batchscope"
_ROOT = Path(__file__).parents[2]


def refuse_foreign_trainer() -> None:
    """Make sure that this process finds the `trainer` that came with this `cluster`.

    Raises:
        ImportError: another `trainer` is found first, or was installed over this one.
    """
    own = _ROOT / "trainer"
    found = _found("trainer")
    if found is None:
        raise ImportError(f"batchscope's own package {own} is missing: install batchscope again")
    if found != own.resolve():
        raise ImportError(
            f"{found} hides batchscope's own package {own}: rename it, start Python in another folder, or install "
            "batchscope into an environment of its own"
        )
    if getattr(importlib.import_module("trainer"), "DISTRIBUTION", None) != MARK:
        raise ImportError(
            f"{own} is no longer batchscope's: another distribution was installed over it, next to {_ROOT / 'cluster'}."
            " Install batchscope into an environment of its own"
        )


def refuse_hiding_folder(folder: Path) -> None:
    """Make sure that a search which begins in `folder`, as that of Ray's workers does, finds batchscope's packages.

    Raises:
        InputError: something there hides one of the packages.
    """
    from trainer.errors import InputError

    for name in NAMES:
        spec = PathFinder.find_spec(name, [str(folder), *sys.path])
        found = _place(spec.origin, spec.submodule_search_locations) if spec else None
        if found is not None and found.is_relative_to(folder.resolve()) and found != (_ROOT / name).resolve():
            raise InputError(
                f"{found} hides batchscope's own package {_ROOT / name} from the workers, which search the current "
                "folder first: rename it, or start in another folder"
            )


def _found(name: str) -> Path | None:
    """The folder or file that `import` takes for this name, or has already taken."""
    if (module := sys.modules.get(name)) is not None:
        return _place(getattr(module, "__file__", None), getattr(module, "__path__", None))
    spec = find_spec(name)
    return _place(spec.origin, spec.submodule_search_locations) if spec else None


def _place(file: str | None, folders: object) -> Path | None:
    """A package's folder, or a module's file."""
    first = next(iter(folders), None) if isinstance(folders, Iterable) else None
    place = first or file
    return Path(place).resolve() if place else None
