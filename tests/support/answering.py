"""An HTTP answer that takes its time: character by character, until the server closes."""

import threading
from http.server import BaseHTTPRequestHandler


def drip(handler: BaseHTTPRequestHandler, body: str, *, pause_seconds: float, closing: threading.Event) -> None:
    """Write `body` with a pause before each character; a client that has gone ends it."""
    for character in body:
        closing.wait(pause_seconds)
        try:
            handler.wfile.write(character.encode())
        except OSError:
            return
