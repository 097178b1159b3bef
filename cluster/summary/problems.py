"""What is wrong with objects of a summary: each is named, and what can be read beside it is read all the same."""

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

# Of many, so many are named; the others are counted.
NAMED = 10
LONGEST = 600
# What must not command a terminal: control characters, and those that change the direction of a line.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Problem:
    """Something to know of the object `name` of the summary at `uri`, most often that it is left out."""

    name: str
    what: str
    uri: str = ""

    def __str__(self) -> str:
        """All of it in a line that is safe to print."""
        return _plain(f"{self.uri}/{self.name}: {self.what}")

    @property
    def line(self) -> str:
        """The same for readers who are not to know where the summary lies."""
        return _plain(f"{self.name}: {self.what}")


Note = Callable[[Problem], object]


class SummaryWarning(UserWarning):
    """A problem of a summary, as Python's `warnings` tells it."""


def warn(problem: Problem) -> None:
    """Tell a problem to whoever runs this program."""
    warnings.warn(str(problem), SummaryWarning, stacklevel=2)


def tell(problems: Iterable[Problem], note: Note, *, uri: str, folder: str) -> None:
    """Tell the first problems one by one, and how many others there are in the `folder` of the summary at `uri`."""
    every = list(dict.fromkeys(problems))
    for problem in every[:NAMED]:
        note(replace(problem, uri=uri))
    if len(every) > NAMED:
        note(Problem(folder, f"{len(every) - NAMED} more files are left out or in doubt", uri))


def _plain(text: str) -> str:
    line = _CONTROLS.sub("?", text).encode(errors="replace").decode()
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
