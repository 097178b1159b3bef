"""Problems with objects of a summary: each object is named, and everything else is read all the same."""

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

# At most this many problems are named; the others are counted.
NAMED = 10
LONGEST = 600
# Characters that must not reach a terminal: control characters, and those that change the direction of a line.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Problem:
    """Something to know about the object `name` of the summary at `uri`, most often that it is left out."""

    name: str
    what: str
    uri: str = ""

    def __str__(self) -> str:
        """The problem with its address, as a line that is safe to print."""
        return _plain(f"{self.uri}/{self.name}: {self.what}")

    @property
    def line(self) -> str:
        """The problem without its address, for readers who must not know where the summary is."""
        return _plain(f"{self.name}: {self.what}")


Note = Callable[[Problem], object]


class SummaryWarning(UserWarning):
    """A problem of a summary, as a warning of Python's `warnings`."""


def warn(problem: Problem) -> None:
    """Warn the person who runs this program about a problem."""
    warnings.warn(str(problem), SummaryWarning, stacklevel=2)


def tell(problems: Iterable[Problem], note: Note, *, uri: str, folder: str) -> None:
    """Report the first problems one by one, and the number of others in the `folder` of the summary at `uri`."""
    every = list(dict.fromkeys(problems))
    for problem in every[:NAMED]:
        note(replace(problem, uri=uri))
    if len(every) > NAMED:
        note(Problem(folder, f"{len(every) - NAMED} more files are left out or in doubt", uri))


def _plain(text: str) -> str:
    line = _CONTROLS.sub("?", text).encode(errors="replace").decode()
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
