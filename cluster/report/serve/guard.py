"""Decides which requests are answered: an ASGI wrapper that checks each before routing, and adds the safe headers.

A page of another site that a reader has open can send requests to this machine too, under its own name, which it points
to 127.0.0.1 (DNS rebinding; Ray's dashboard was attacked like this, CVE-2025-62593). So the Host header must be one of
ours even on loopback, and the request's origin, according to the browser, must be our own page or the reader.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.report.serve.responses import refusal

METHODS = ("GET", "HEAD")
# The reader typed the address or opened a bookmark, or our own page sends the request.
FETCH_SITES = ("none", "same-origin")
FRAMES = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
STRICTEST = "default-src 'none'"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Who is answered: `hosts` are the accepted Host headers; `own_addresses` adds the address of the connection.

    `token` is required unless it is None; `cookie` is the name under which a browser keeps it.
    """

    hosts: frozenset[str]
    own_addresses: bool = False
    token: str | None = None
    cookie: str = "batchscope"


class Guard:
    """Refuses what `rules` do not allow, and passes the rest on to `app`."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await (self._answer(scope) or self._app)(scope, receive, _with_headers(send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _answer(self, scope: Scope) -> Response | None:
        """An answer that needs no routing: a refusal, or the response that gives a browser its cookie."""
        headers, rules = Headers(scope=scope), self._rules
        if not _is_ours(headers.getlist("host"), _hosts(rules, scope)):
            return refusal(
                scope["path"], 403, "this host name is not accepted: use the address that `batchscope serve` printed"
            )
        if scope["method"] not in METHODS:
            return refusal(scope["path"], 405, "results are only read here: GET and HEAD", allow=", ".join(METHODS))
        foreign = [site for site in headers.getlist("sec-fetch-site") if site not in FETCH_SITES]
        if foreign or not _own_origin(headers):
            return refusal(scope["path"], 403, "another site sent this request: type or paste the address")
        if rules.token is None:
            return None
        given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if any(name == "token" and _same(value, rules.token) for name, value in given):
            return _entrance(scope["path"], [pair for pair in given if pair[0] != "token"], rules)
        if any(_same(token, rules.token) for token in _tokens(headers, rules.cookie)):
            return None
        return refusal(
            scope["path"],
            401,
            "a token is needed: open the address that `batchscope serve` printed, or send Authorization: Bearer",
            **{"www-authenticate": 'Bearer realm="batchscope"'},
        )


def _hosts(rules: Rules, scope: Scope) -> frozenset[str]:
    if not rules.own_addresses:
        return rules.hosts
    address, port = scope["server"]
    return rules.hosts | host_headers([address], port)


def host_headers(names: Iterable[str], port: int) -> frozenset[str]:
    """The Host headers that browsers send for `port` at one of `names`."""
    written = [f"[{name}]" if ":" in name else name.lower() for name in names]
    return frozenset(f"{name}:{port}" for name in written) | frozenset(written if port == 80 else ())


def _is_ours(given: list[str], hosts: frozenset[str]) -> bool:
    return len(given) == 1 and given[0].lower() in hosts


def _own_origin(headers: Headers) -> bool:
    """Whether the Origin, if there is one, is the requested Host."""
    return all(origin == f"http://{headers['host']}" for origin in headers.getlist("origin"))


def _tokens(headers: Headers, cookie: str) -> Iterable[str]:
    """The tokens that a request carries."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield token.strip()
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return
    if cookie in cookies:
        yield cookies[cookie].value


def _same(given: str, token: str) -> bool:
    # In constant time, so that the duration does not reveal where they differ.
    return hmac.compare_digest(given.encode(), token.encode())


def _entrance(path: str, query: list[tuple[str, str]], rules: Rules) -> Response:
    """Gives a browser the token as a cookie that no script can read and no other site can send, and hides the token."""
    assert rules.token is not None
    # Only one slash, because `//name` would lead to another machine.
    target = "/" + quote(path.lstrip("/")) + (f"?{urlencode(query)}" if query else "")
    answer = RedirectResponse(target, status_code=303)
    answer.set_cookie(rules.cookie, rules.token, httponly=True, samesite="strict")
    return answer


def _with_headers(send: Send) -> Send:
    """A `send` that adds the safe headers to the start of an answer, whose own policy is kept besides ours."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            # A browser enforces all of several policies.
            headers["content-security-policy"] = f"{headers.get('content-security-policy', STRICTEST)}, {FRAMES}"
        await send(message)

    return sent
