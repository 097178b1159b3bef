"""The fleet's token, which every client of its Ray must show: made here, kept with mode 0600, never printed."""

import os
import secrets
from pathlib import Path

from cluster.fleet.spec import folder_of
from trainer.errors import NotReadyError


def ensure(fleet: str) -> Path:
    """The file with the fleet's token; a token is made if there is none."""
    file = folder_of(fleet) / "token"
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(32))
    except FileExistsError:
        if file.stat().st_mode & 0o077:
            raise NotReadyError(f"{file} can be read by others: run `chmod 600 {file}`") from None
    return file


def forget(fleet: str) -> None:
    """Delete the token: no machine is left that knows it."""
    (folder_of(fleet) / "token").unlink(missing_ok=True)
