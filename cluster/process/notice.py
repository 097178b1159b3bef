"""A notice at the end of a command: JSON to a webhook, or on the stdin of a command. What fails here changes nothing.

A webhook's address is a secret: whoever has it can write there. It is never printed, and a redirection is not followed,
since it could lead to a place without encryption.
"""

import json
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from cluster.process.deadline import within
from trainer.errors import InputError, brief

SECONDS = 10.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Webhook:
    """The address to which a notice is sent; `shown` names it without what is secret."""

    url: str = field(repr=False)
    shown: str


@dataclass(frozen=True)
class Program:
    """The command that is called with a notice on its stdin."""

    words: Sequence[str]

    @property
    def shown(self) -> str:
        """The program's name; its arguments may be secret."""
        return brief(self.words[0])


Receiver = Webhook | Program


def receiver_of(target: str) -> Receiver:
    """The receiver that a person named: an address or a command.

    Raises:
        InputError: the address would send the notice in the clear or holds a password, or there is no such command.
    """
    if target.startswith(("http://", "https://")):
        return _webhook(target)
    if "://" in target.split(" ", 1)[0]:
        raise InputError("--notify has an address of another kind: give https://HOST/PATH, or a command")
    try:
        words = shlex.split(target)
    except ValueError as problem:
        raise InputError(f"--notify {brief(target)!r} is no command: {problem}") from None
    if not words or shutil.which(words[0]) is None:
        raise InputError(
            f"--notify {brief(words[0] if words else target)!r} is neither an https:// address nor a command that is "
            "found here"
        )
    return Program(tuple(words))


def _webhook(target: str) -> Webhook:
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not target.isprintable() or " " in target:
        raise InputError("--notify has an address that cannot be read: give https://HOST/PATH")
    place = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}/..."
    if parts.username is not None or parts.password is not None:
        raise InputError(f"--notify {place}: leave the name and password out of the address")
    if parts.scheme == "http" and host not in LOOPBACK:
        raise InputError(f"--notify {place} would send in the clear: give an https:// address, or one of this machine")
    return Webhook(target, place)


def give(receiver: Receiver, notice: Mapping[str, Any]) -> str:
    """Give the notice to its receiver, and return one line on how that went; it takes at most SECONDS."""
    body = json.dumps(notice).encode()
    try:
        if isinstance(receiver, Webhook):
            within(SECONDS, lambda: _post(receiver.url, body))
        else:
            _call(receiver.words, body)
    except (OSError, ValueError, HTTPException, subprocess.SubprocessError) as problem:
        return f"could not notify {receiver.shown}: {_reason(problem)}; the study is not affected"
    return f"notified {receiver.shown}"


def _post(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "batchscope"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=SECONDS):
        pass


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Makes a redirection an error."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """No request follows, so urllib raises an HTTPError."""


def _call(words: Sequence[str], body: bytes) -> None:
    # What it prints goes to stderr, because stdout is the command's own result.
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=2) as process:
        try:
            process.communicate(body, timeout=SECONDS)
        finally:
            process.kill()
    if process.returncode:
        raise subprocess.SubprocessError(f"it ended with {process.returncode}")


def _reason(problem: Exception) -> str:
    """Why it failed, in words of ours: what a server or a library says could hold the address."""
    if isinstance(problem, urllib.error.HTTPError):
        return f"it answered {problem.code}"
    if isinstance(problem, TimeoutError | subprocess.TimeoutExpired):
        return f"it took more than {SECONDS:g} s"
    if isinstance(problem, urllib.error.URLError):
        return f"no connection ({type(problem.reason).__name__})"
    return str(problem) if type(problem) is subprocess.SubprocessError else type(problem).__name__
