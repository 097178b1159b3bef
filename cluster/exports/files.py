"""Writes files into a folder: none if one of them exists already, and each whole or not at all."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cluster.prepare.progress import Progress, silent
from cluster.process.files import save
from trainer.errors import InputError

LONGEST_NAME = 255


def part_of_path(name: str) -> str:
    """`name` from a summary as one part of a path, so that whoever wrote the summary cannot choose the folder.

    Raises:
        InputError: the name leads elsewhere, or cannot be the name of a file.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise InputError(
            f"the summary names {name[:80]!r}, which cannot be the name of a file: it was not written by batchscope"
        )
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise InputError(f"the summary names {name[:80]!r}..., too long for the name of a file")
    return name


def write(
    folder: str, names: Sequence[str], contents: Iterable[bytes], *, force: bool, progress: Progress = silent
) -> list[str]:
    """Write `contents` under `names` into `folder`, which is made if necessary, and return the paths.

    Raises:
        InputError: a name is not valid, a file exists already and `force` is false, or a file cannot be written.
    """
    paths = [str(Path(folder, part_of_path(name))) for name in names]
    for path in paths:
        if os.path.lexists(path) and not force:
            raise InputError(f"{path} exists already: choose another folder, or --force to replace it")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as problem:
        raise InputError(f"cannot make the folder {folder}: {problem.strerror}; choose another place") from None
    for done, (path, content) in enumerate(zip(paths, contents, strict=True), start=1):
        save(content, path)
        progress("writing files", done / len(paths))
    return paths
