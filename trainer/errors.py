"""The errors that a person can do something about: each message names the thing, the value and the remedy.

`cluster.cli` prints the message on stderr without a traceback and exits with `exit_code`.
"""

from difflib import get_close_matches
from typing import ClassVar


class UserError(Exception):
    """An error whose message is written for the person who ran the command."""

    exit_code: ClassVar[int] = 2


class InputError(UserError, ValueError):
    """The input is wrong: spec, data, or something that cannot fit."""

    exit_code = 2


class DataError(InputError):
    """The prepared data are damaged, or are not those that the study was begun with: nothing may be trained on them."""


class NotReadyError(UserError, RuntimeError):
    """The surroundings are not ready: permission, quota, unreachable store or cluster."""

    exit_code = 3


class DivergedError(Exception):
    """A training that leads nowhere; `update` is the first that was not applied, or that of the failed evaluation."""

    def __init__(self, update: int, what: str, how: str = "is not finite") -> None:
        super().__init__(f"{what} {how} at update {update}: a lower learning rate may help")
        self.update = update


def brief(text: str, characters: int = 80) -> str:
    """The text on one line, cut short, so that a message quotes at most a line of what a person or a file named."""
    line = " ".join(text[: 2 * characters].split())
    return line if len(line) <= characters and len(text) <= 2 * characters else line[:characters] + "..."


def nearest(value: str, known: list[str]) -> str:
    """The hint at the end of an error about an unknown name: ` (did you mean 'x'?)`, or nothing."""
    close = get_close_matches(value, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
