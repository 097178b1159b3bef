"""Requests to `serve`: methods, paths, queries and headers, as browsers, other sites and attackers send them.

Each has an answer with the safe headers; without the token nothing is told, and no answer names the summary's place.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from cluster.report.page.page import page
from cluster.report.serve.app import application
from cluster.report.serve.guard import HEADERS, Rules, host_headers
from tests.fuzz.engine import Try, check
from tests.support.simulated import World, spec_of, study
from tests.support.stored import store

TOKEN = "a-token-of-32-characters-or-more"
HOST = "127.0.0.1:8700"
PARTS = (
    *(
        "",
        ".",
        "..",
        "%2e%2e",
        "%2f",
        "..%2f..",
        "studies",
        "api",
        "simulated",
        "verdict",
        "trials",
        "points",
        "evaluations",
    ),
    *(
        "openapi.json",
        "simulated%00",
        "SIMULATED",
        "nothing",
        "a b",
        "\x00",
        "\x1b[31m",
        "\u80a1",
        "~",
        "etc",
        "passwd",
        "study=simulated",
    ),
    *("x" * 3000, "*", "?", "#", "\\", "..\\..", ";", "favicon.ico", "robots.txt", "<script>"),
)
PATHS = (
    *("/", "/studies/simulated", "/api/studies", "/api/studies/simulated", "/api/studies/simulated/verdict"),
    *("/api/studies/simulated/trials", "/api/studies/simulated/points", "/api/openapi.json"),
)
NUMBERS = ("0", "1", "-1", "5", "1e3", "", " 1", "1_0", "\u0665", "9" * 12, "9" * 5000, "nan", "null", "%00", "'")
NAMES = ("token", "limit", "offset", "study", "sql", "", "x", "format")
HEADER_VALUES = (
    *(
        HOST,
        "localhost:8700",
        "evil.example",
        "127.0.0.1",
        "",
        "[::1]:8700",
        f"http://{HOST}",
        "null",
        "same-origin",
        "cross-site",
    ),
    *(
        f"Bearer {TOKEN}",
        "Bearer x",
        "Basic x",
        f"batchscope={TOKEN}",
        "=;=",
        "*",
        'W/"x"',
        "\xff\xfe",
        "a" * 5000,
        "gzip",
        "bytes=0-1",
    ),
)
HEADER_NAMES = (
    *(
        "host",
        "origin",
        "sec-fetch-site",
        "authorization",
        "cookie",
        "if-none-match",
        "accept",
        "range",
        "x-forwarded-host",
    ),
    *("content-length", "transfer-encoding", "upgrade", "x", "accept-encoding"),
)


@contextmanager
def requests(folder: Path) -> Iterator[Try]:
    """Requests to an application that asks for a token, and to one that does not."""
    axes = {"global_batch": [16, 64], "learning_rate": [0.01], "seeds": 2}
    summary = store(folder / "summary", study(spec_of(axes=axes, budget={"updates": 20}, protocol=None), World()))
    hosts = host_headers(["127.0.0.1", "localhost"], 8700)
    heard: list[Exception] = []
    apps = [
        application(summary, Rules(hosts=hosts, token=token, cookie="batchscope"), page=page, report=heard.append)
        for token in (None, TOKEN)
    ]
    with asyncio.Runner() as runner:

        def attempt(draw: Random) -> bool:
            guarded = draw.random() < 0.5
            scope = _scope(draw, guarded=guarded)
            heard.clear()
            status, headers, body = runner.run(_asked(apps[guarded], scope))
            check(not heard, f"{scope['path']!r}: {heard}")
            check(status in (200, 303, 304, 400, 401, 403, 404, 405), f"{scope['path']!r} is answered with {status}")
            check(HEADERS.items() <= headers.items() and "content-security-policy" in headers, f"{headers}")
            check(str(folder).encode() not in body and b"Traceback" not in body, "the answer names a place")
            check(TOKEN.encode() not in body, "the answer holds the token")
            allowed = not guarded or TOKEN in str(scope["headers"]) + scope["query_string"].decode("latin-1")
            check(allowed or status >= 400, f"{scope} is answered with {status}")
            return status < 400

        yield attempt


def _scope(draw: Random, *, guarded: bool) -> dict[str, Any]:
    path = (
        draw.choice(PATHS)
        if draw.random() < 0.6
        else "/" + "/".join(draw.choice(PARTS) for _ in range(draw.randint(0, 5)))
    )
    pairs = [f"{draw.choice(NAMES)}={draw.choice(NUMBERS)}" for _ in range(draw.choice((0, 0, 1, 2)))]
    if guarded and draw.random() < 0.2:
        pairs.append(f"token={TOKEN}")
    headers = [(b"host", HOST.encode())] if draw.random() < 0.9 else []
    if guarded and draw.random() < 0.5:
        headers.append((b"authorization", f"Bearer {TOKEN}".encode()))
    for _ in range(draw.choice((0, 0, 1, 2, 3))):
        headers.append((draw.choice(HEADER_NAMES).encode(), draw.choice(HEADER_VALUES).encode("latin-1")))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": draw.choice(("GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "get", "")),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": "&".join(pairs).encode("utf-8"),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8700),
    }


async def _asked(app: Any, scope: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent)
