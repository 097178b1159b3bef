"""The address of a cluster's Jobs API, and the token that it asks for."""

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cluster.text.masked import masked
from trainer.errors import InputError

EXAMPLE = "http://127.0.0.1:8265"


@dataclass(frozen=True)
class Address:
    """The address of a Jobs API, such as http://127.0.0.1:8265, without a trailing slash."""

    url: str
    loopback: bool

    @property
    def host(self) -> str:
        """The host alone."""
        return urlsplit(self.url).hostname or ""


def parse_address(text: str) -> Address:
    """The address that a person gave; without a scheme, http is assumed.

    Raises:
        InputError: it is not the http or https address of a host.
    """
    wrong = InputError(
        f"address {masked(text)!r} is not one of a Jobs API: give that of the head's dashboard, such as {EXAMPLE}"
    )
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if text == "auto" or not host or parts.scheme not in ("http", "https") or "@" in parts.netloc:
        raise wrong
    return Address(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def find_token(token_file: str | None) -> str | None:
    """The token in `token_file`, or else where Ray looks for one; None if there is none.

    Ray looks at RAY_AUTH_TOKEN, at the file RAY_AUTH_TOKEN_PATH, and at ~/.ray/auth_token
    (https://docs.ray.io/en/latest/ray-security/token-auth.html).

    Raises:
        InputError: the file cannot be read, or what was found is not a token.
    """
    named = token_file
    if named is None:
        if token := os.environ.get("RAY_AUTH_TOKEN"):
            return _checked(token, "RAY_AUTH_TOKEN")
        named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    default = Path.home() / ".ray" / "auth_token"
    if named is None and not default.is_file():
        return None
    path = Path(named).expanduser() if named else default
    try:
        return _checked(path.read_text(encoding="utf-8"), f"token file {path}")
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is not text"
        raise InputError(
            f"token file {path} cannot be read ({reason}): give the file that holds the cluster's token"
        ) from None


def _checked(text: str, where: str) -> str:
    """The token without surrounding white space; the error never shows it."""
    token = text.strip()
    if not token or not token.isascii() or any(character <= " " for character in token):
        raise InputError(f"{where} holds no token: a token is one line of letters, digits and signs")
    return token
