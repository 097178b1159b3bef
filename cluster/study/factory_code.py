"""The code of a user's model: its factory's module and all that this imports from the same folder, and their hash."""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster.study.spec import StudySpec
from trainer.errors import InputError
from trainer.report import State
from trainer.trial import ModelSpec

# These packages are ours, and go with every job.
OURS = ("batchscope", "cluster", "trainer")


def factory_of(spec: StudySpec) -> str | None:
    """The `module:function` that builds the study's model, if its code is the user's own."""
    factory = spec.model.model_spec().factory
    if factory == ModelSpec.factory or factory is None or factory.partition(".")[0] in OURS:
        return None
    return factory


def files_of(factory: str, folder: Path) -> dict[str, Path]:
    """The files in `folder` that importing the factory's module reads, by their paths in it; empty if it is elsewhere.

    Imports are read from the source, and nothing is run: a name that is only computed is not found.
    """
    files: dict[str, Path] = {}
    waiting, seen = [factory.partition(":")[0]], set[str]()
    while waiting:
        module = waiting.pop()
        if module in seen or module.partition(".")[0] in OURS:
            continue
        seen.add(module)
        for file in _files_of_module(module, folder):
            name = file.relative_to(folder).as_posix()
            if name not in files:
                files[name] = file
                waiting += _imported(file, folder)
    return files


def to_ship(spec: StudySpec, folder: Path) -> dict[str, Path]:
    """The files that a job of the study needs beside batchscope itself; empty if the machines must have the module.

    Raises:
        InputError: the factory's module is neither in `folder` nor installed.
    """
    factory = factory_of(spec)
    files = {} if factory is None else files_of(factory, folder)
    if factory is not None and not files:
        top = factory.partition(":")[0].partition(".")[0]
        if importlib.util.find_spec(top) is None:
            raise InputError(
                f"model.factory {factory}: there is no module {top!r} in {folder}, so it cannot go with the job: "
                "submit from the folder that has it"
            )
    return files


def sha256_of(files: Mapping[str, Path]) -> str | None:
    """The hash of the files' names and bytes; None where there are no files.

    Of the bytes, since what Python parses of them (`ast.dump`) changes from one version of Python to the next.
    """
    if not files:
        return None
    code = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in sorted(files.items())}
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def refuse_other_code(
    factory: str | None, sha256: str | None, rows: Iterable[Mapping[str, Any]], trials: Iterable[Mapping[str, Any]]
) -> None:
    """Refuse to train with other code than that with which trials of the study were trained.

    Code that failed before any update may be corrected.

    Args:
        factory: The factory of the study's spec.
        sha256: The hash of its code now; None if it is not known.
        rows: The rows of the study in the summary's `studies`.
        trials: Its rows in `trials`.

    Raises:
        InputError: trials of another model would stand beside them.
    """
    # A lost attempt may have left a checkpoint, whatever its row knows of updates.
    trained = {trial["spec_hash"] for trial in trials if trial["state"] != State.FAILED or trial["updates"]}
    for row in rows:
        before = row["factory_sha256"]
        if sha256 is None or before in (None, sha256) or row["spec_hash"] not in trained:
            continue
        if _factory_in(row["spec_json"]) != factory:
            continue
        raise InputError(
            f"the code of model.factory {factory} changed: this study was trained with {before[:8]}, there "
            f"is {sha256[:8]} now, and trials of two models would stand side by side; put the code back, or give the "
            "study another name"
        )


def _factory_in(spec_json: str) -> str | None:
    model = json.loads(spec_json).get("model") or {}
    factory: str | None = model.get("factory")
    return factory


def _files_of_module(module: str, folder: Path) -> Iterator[Path]:
    """The file of a module and those of the packages around it, as far as they lie in `folder`."""
    place = folder
    for part in module.split("."):
        place = place / part
        for file in (place / "__init__.py", place.with_name(f"{part}.py")):
            if file.is_file():
                yield file
                break


def _imported(file: Path, folder: Path) -> list[str]:
    """The modules that a file imports, by their full names."""
    package = file.relative_to(folder).parent.parts
    names: list[str] = []
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            # What is imported from a package may be a module in it.
            names += [module, *(f"{module}.{alias.name}" if module else alias.name for alias in node.names)]
    return [name for name in names if name]


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError) as problem:
        raise InputError(f"{file} is no Python: {problem}; correct it") from None
