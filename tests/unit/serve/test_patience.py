"""A reader that never ends its request does not keep its connection; one that does is answered as often as it asks."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from cluster.report.serve import patience
from cluster.report.serve.patience import PatientProtocol

pytestmark = pytest.mark.slow
WHOLE = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    # Longer than the patience below: an answer may take its time.
    await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def told(*parts: bytes) -> bytes:
    """What a reader hears that sends these parts and then nothing, until the connection ends."""
    config = uvicorn.Config(app, log_config=None, http=PatientProtocol, lifespan="off", timeout_keep_alive=1)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: PatientProtocol(config, state, {}, _loop=loop), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        heard = b""
        for part in parts:
            writer.write(part)
            if part == WHOLE:
                heard += await reader.readuntil(b"ok")
        heard += await asyncio.wait_for(reader.read(), timeout=20)
        writer.close()
    return heard


@pytest.mark.parametrize(
    ("parts", "answers"),
    [((), 0), ((WHOLE[:20],), 0), ((WHOLE[:20], b"X: y\r\n"), 0), ((WHOLE, WHOLE), 2), ((WHOLE, WHOLE[:20]), 1)],
)
def test_half_a_request_ends_its_connection(
    parts: tuple[bytes, ...], answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.1)
    assert asyncio.run(told(*parts)).count(b"200 OK") == answers
