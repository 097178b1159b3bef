"""Files into a folder: none is written if one is there already, and each is written whole or not at all."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cluster.prepare.progress import Progress, silent
from cluster.report import table
from trainer.errors import InputError


def write(
    folder: str, names: Sequence[str], contents: Iterable[bytes], *, force: bool, progress: Progress = silent
) -> list[str]:
    """Write `contents` under `names` into `folder`, which is made if it is not there; the paths.

    Raises:
        InputError: a file is there already and `force` is false, or one cannot be written.
    """
    paths = [str(Path(folder, name)) for name in names]
    for path in paths:
        if os.path.lexists(path) and not force:
            raise InputError(f"{path} is there already: choose another folder, or --force to replace it")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as problem:
        raise InputError(f"cannot make the folder {folder}: {problem.strerror}; choose another place") from None
    for done, (path, content) in enumerate(zip(paths, contents, strict=True), start=1):
        table.save(content, path)
        progress("writing files", done / len(paths))
    return paths
