"""Plays one input of one kind: refused in words, accepted, or flagged (a traceback, a hang, a wrong answer)."""

import contextlib
import hashlib
import os
import re
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import click

from cluster.text.plain import plain_lines
from trainer.errors import UserError

REFUSED, ACCEPTED, FLAGGED = "refused", "accepted", "flagged"
LONGEST_MESSAGE = 8_000
SECONDS = 60

# Tries one input, and returns whether it was accepted. Raises a UserError for a refusal, and anything else for a fault.
Try = Callable[[Random], bool]
# Prepares what its tries need, in a folder of its own.
Kind = Callable[[Path], contextlib.AbstractContextManager[Try]]


class WrongError(AssertionError):
    """An answer that is not the right one, or a refusal that cannot be read."""


@dataclass(frozen=True)
class Played:
    """What became of the input `number` of a kind."""

    kind: str
    number: int
    outcome: str
    detail: str = ""


def check(right: object, what: str) -> None:
    """Raise a WrongError if it is not `right`."""
    if not right:
        raise WrongError(what)


def play(name: str, attempt: Try, *, seed: int, number: int) -> Played:
    """Try the input `number`, which depends on nothing but its kind, the seed and its number."""
    digest = hashlib.sha256(f"{name} {seed} {number}".encode()).digest()
    try:
        with _within(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            accepted = attempt(Random(digest))
    except (UserError, click.ClickException) as problem:
        wrong = _unreadable(str(problem))
        return Played(name, number, FLAGGED if wrong else REFUSED, wrong or str(problem))
    except Exception:
        return Played(name, number, FLAGGED, traceback.format_exc())
    return Played(name, number, ACCEPTED if accepted else REFUSED)


def _unreadable(message: str) -> str:
    """Why a person could not read a refusal as it is printed; empty if nothing is wrong with it."""
    shown = plain_lines(message)
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown):
        return f"control characters: {message!r}"[:LONGEST_MESSAGE]
    if not shown.strip() or len(shown) > LONGEST_MESSAGE or "Traceback" in shown:
        return f"a message of {len(shown)} characters: {message!r}"[:LONGEST_MESSAGE]
    return ""


@contextlib.contextmanager
def _within(seconds: int) -> Iterator[None]:
    def late(*_: Any) -> None:
        raise WrongError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """These variables of the environment, for the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
