"""The doors of the pretend AWS: what a request meets before moto sees it.

S3 can be closed, and credentials of machines carry the time at which they end.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

# A machine's key is this and the Unix second at which it ends (`tests.rehearsal.metadata`).
KEY = "ASIA"
_CREDENTIAL = re.compile(r"Credential=(\w+)/\d+/[\w-]+/(\w+)/aws4_request")
_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>pretend</Message></Error>'
EXPIRED, CLOSED = ("400 Bad Request", "ExpiredToken"), ("503 Slow Down", "SlowDown")
NOTHING = ("400 Bad Request", "None")


@dataclass
class Doors:
    """How the doors stand, and who went through them: keys of machines, and requests that were turned away."""

    s3_is_closed: bool = False
    keys: set[str] = field(default_factory=set)
    turned_away: int = 0

    def pass_through(
        self, original: Callable[..., Any], application: Any, environ: Any, respond: Any
    ) -> Iterable[bytes]:
        """Answer a request: refuse it, or let moto do it."""
        found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        key, service = found.groups() if found else ("", "")
        refusal = self._refusal(key, service)
        if refusal is None:
            answer: Iterable[bytes] = original(application, environ, respond)
            return answer
        self.turned_away += refusal is not NOTHING
        status, code = refusal
        # What is sent is read first, as S3 does: a client that still writes would see a broken connection.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        respond(status, [("Content-Type", "application/xml")])
        return [_ERROR.format(code=code).encode()]

    def _refusal(self, key: str, service: str) -> tuple[str, str] | None:
        if key.startswith(KEY):
            self.keys.add(key)
            if float(key.removeprefix(KEY)) < time.time():
                return EXPIRED
        if self.s3_is_closed and service == "s3":
            return CLOSED
        # Moto has no list of prices; batchscope takes its own then.
        return NOTHING if service == "pricing" else None
