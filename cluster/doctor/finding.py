"""A check of the doctor and what it found; what cannot be looked at here is counted as not run, never as passed."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.process import scratch
from trainer.errors import UserError

PASSED, FAILED, BEWARE, NOT_RUN = "passed", "FAILED", "beware", "not run"
NO_GPU = "no GPU here"


class WrongError(Exception):
    """What a check looked at is not as it must be; the text says what is there, and the remedy."""


class BewareError(Exception):
    """What a check looked at works, but a person should know something about it."""


class NotHereError(Exception):
    """What a check would look at is not on this machine, or was not named."""


@dataclass(frozen=True)
class Site:
    """What the doctor was pointed at: a scratch folder, and what the options name."""

    folder: Path
    summary: str | None = None
    address: str | None = None
    token_file: str | None = None
    fleet: str | None = None


@dataclass(frozen=True)
class Check:
    """A check by its number, as the runbook names it; `look` returns what it saw, or raises one of the errors above."""

    number: int
    name: str
    look: Callable[[Site], str]
    quick: bool = False


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    number: int
    name: str
    outcome: str
    text: str


def examined(checks: Sequence[Check], **named: str | None) -> Iterator[Finding]:
    """The findings, one after the other as they come; `named` are the other fields of a `Site`."""
    with scratch.folder("batchscope-doctor-", tempfile.gettempdir()) as folder:
        site = Site(Path(folder), **named)
        for check in checks:
            yield _found(check, site)


def _found(check: Check, site: Site) -> Finding:
    try:
        outcome, text = PASSED, check.look(site)
    except WrongError as problem:
        outcome, text = FAILED, str(problem)
    except BewareError as problem:
        outcome, text = BEWARE, str(problem)
    except NotHereError as problem:
        outcome, text = NOT_RUN, str(problem)
    except UserError as problem:
        outcome, text = FAILED, str(problem)
    except Exception as problem:  # noqa: BLE001 - whatever a machine does wrong is a finding, and the others follow
        outcome, text = FAILED, f"{type(problem).__name__}: {problem}".split("\n", 1)[0]
    return Finding(check.number, check.name, outcome, text)
