"""Writing a file that a person named, whole or not at all."""

import os
import uuid

from trainer.errors import InputError


def save(content: bytes, path: str) -> None:
    """Replace the whole file, or leave it as it was. Anything else at `path`, such as a pipe, is written into.

    Raises:
        InputError: it cannot be written.
    """
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as device:
                device.write(content)
            return
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except OSError as problem:
        raise InputError(f"cannot write {path}: {problem.strerror}; choose another place with -o") from None


def check_folder(path: str) -> None:
    """Check that a file's folder exists, before anything is computed for it.

    Raises:
        InputError: it does not exist.
    """
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise InputError(f"cannot write {path}: its folder does not exist; choose another place with -o")


def check_new(path: str) -> None:
    """Check that a file can be written and does not exist yet.

    Raises:
        InputError: it exists, or its folder does not.
    """
    if os.path.lexists(path):
        raise InputError(f"{path} exists and is not overwritten: name another file with -o, or move it away")
    check_folder(path)
