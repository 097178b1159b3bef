"""A connection that ends if its reader sends no whole request in time: half a request would hold it for ever.

uvicorn itself closes only connections that have been idle since an answer (`timeout_keep_alive`).
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 15.0


class PatientProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with SECONDS for the head of each request."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; stop waiting if it was the last one."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_waiting(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        if not self._is_waiting():
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(SECONDS, self._end)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end(self) -> None:
        self._late = None
        if self._is_waiting():
            self.transport.close()
