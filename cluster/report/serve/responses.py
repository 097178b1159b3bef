"""Bodies and the answers that carry them: an ETag for each body, 304 for readers who have it, and one-line refusals."""

import hashlib
import html
import json
import re
from dataclasses import dataclass
from functools import cached_property

from starlette.requests import Request
from starlette.responses import Response

from cluster.text.formats import SCHEMA_VERSION

JSON, HTML, TEXT = "application/json", "text/html; charset=utf-8", "text/plain; charset=utf-8"
_POLICY = re.compile(r"""<meta\s[^>]*http-equiv=["']?content-security-policy["']?[^>]*>""", re.IGNORECASE)
_CONTENT = re.compile(r"""\scontent=("[^"]*"|'[^']*')""", re.IGNORECASE)


@dataclass(frozen=True)
class Body:
    """What is sent for a resource in its current state; a page brings its own content-security policy."""

    content: bytes
    media_type: str
    policy: str | None = None

    @cached_property
    def etag(self) -> str:
        """A tag that differs whenever the content does."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def page_body(page: str) -> Body:
    """A page, under the same policy that is in its head."""
    return Body(page.encode(), HTML, _policy(page))


def answer(request: Request, body: Body) -> Response:
    """A body, or 304 without a body for a request that names its ETag."""
    headers = {"etag": body.etag}
    if body.policy:
        headers["content-security-policy"] = body.policy
    if _has(request.headers.get("if-none-match", ""), body.etag):
        return Response(status_code=304, headers=headers)
    return Response(body.content, media_type=body.media_type, headers=headers)


def refusal(path: str, status: int, reason: str, **headers: str) -> Response:
    """One line with the reason, as JSON under /api and as text elsewhere."""
    if path.startswith("/api"):
        content = json.dumps({"schema_version": SCHEMA_VERSION, "error": reason}) + "\n"
        return Response(content, status_code=status, media_type=JSON, headers=headers)
    return Response(f"{reason}\n", status_code=status, media_type=TEXT, headers=headers)


def _has(if_none_match: str, etag: str) -> bool:
    """RFC 9110, 13.1.2: `*`, or one of a list of tags, compared weakly."""
    return any(tag.strip().removeprefix("W/") in ("*", etag) for tag in if_none_match.split(","))


def _policy(page: str) -> str | None:
    meta = _POLICY.search(page)
    content = _CONTENT.search(meta[0]) if meta else None
    return " ".join(html.unescape(content[1][1:-1]).split()) if content else None
