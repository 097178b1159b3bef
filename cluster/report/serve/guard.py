"""What is answered at all: an ASGI wrapper that judges each request before any routing, and adds the safe headers.

A page of another site that a reader has open can send requests to this machine too, with a name of its own that it
points to 127.0.0.1 (DNS rebinding; so was Ray's dashboard attacked, CVE-2025-62593): so the Host header must be one of
ours even on loopback, and what a browser says of the request's origin must be ourselves or the person.
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
# The reader typed the address or opened a bookmark; or our own page asks.
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
    """Whom to answer: `hosts` are the values of Host; with `own_addresses` also the address that was connected to.

    `token` is asked for unless it is None; `cookie` is the name under which a browser keeps it.
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
        """The answer that needs no routing: a refusal, or what gives a browser its cookie."""
        headers, rules = Headers(scope=scope), self._rules
        if not _is_ours(headers.getlist("host"), _hosts(rules, scope)):
            return refusal(scope["path"], 403, "this name of the machine is not answered: use the address it printed")
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
    """The values of Host that mean `port` at one of `names`, as browsers send them."""
    written = [f"[{name}]" if ":" in name else name.lower() for name in names]
    return frozenset(f"{name}:{port}" for name in written) | frozenset(written if port == 80 else ())


def _is_ours(given: list[str], hosts: frozenset[str]) -> bool:
    return len(given) == 1 and given[0].lower() in hosts


def _own_origin(headers: Headers) -> bool:
    """Whether the Origin, where there is one, is the Host that is asked."""
    return all(origin == f"http://{headers['host']}" for origin in headers.getlist("origin"))


def _tokens(headers: Headers, cookie: str) -> Iterable[str]:
    """The tokens that a request brings."""
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
    # In constant time: how long it takes says nothing about where they differ.
    return hmac.compare_digest(given.encode(), token.encode())


def _entrance(path: str, query: list[tuple[str, str]], rules: Rules) -> Response:
    """Gives a browser the token as a cookie that no script reads and no other site sends, and hides it."""
    assert rules.token is not None
    # One slash: `//name` would lead to another machine.
    target = "/" + quote(path.lstrip("/")) + (f"?{urlencode(query)}" if query else "")
    answer = RedirectResponse(target, status_code=303)
    answer.set_cookie(rules.cookie, rules.token, httponly=True, samesite="strict")
    return answer


def _with_headers(send: Send) -> Send:
    """`send` that adds the safe headers to the start of an answer; a policy of its own is kept beside ours."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            # Of several policies a browser keeps all.
            headers["content-security-policy"] = f"{headers.get('content-security-policy', STRICTEST)}, {FRAMES}"
        await send(message)

    return sent
