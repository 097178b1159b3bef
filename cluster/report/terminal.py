"""The live view on stderr: tables that stay in place on a terminal, a line now and then elsewhere."""

import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from cluster.report.live import LiveView
from cluster.report.live_table import drawn

if TYPE_CHECKING:
    from cluster.lanes.schedule import Event


class Terminal:
    """Shows a view for as long as it is open."""

    SECONDS_BETWEEN_LINES = 15.0

    def __init__(self, view: LiveView) -> None:
        self._view = view
        self._heard: SimpleQueue[Event] = SimpleQueue()
        self._console = Console(stderr=True)
        # Ray prints on stdout, which leads nowhere while it runs: Live must not catch it.
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._said: tuple[float, str] = (0.0, "")

    def __enter__(self) -> "Terminal":
        """Take over the lower end of the terminal."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *problem: object) -> None:
        """Give the terminal back, with the last state in one line."""
        self._live.stop()
        self._note()
        self._console.print(self._view.line(), soft_wrap=True, highlight=False)

    def hear(self, event: "Event") -> None:
        """Take an event, from any thread; the view notes it at the next refresh, in the thread that reads it."""
        self._heard.put(event)

    def _note(self) -> None:
        while not self._heard.empty():
            self._view.note(self._heard.get())

    def say(self, text: str) -> None:
        """Print a line that stays, above the live part."""
        self._console.print(text, soft_wrap=True, highlight=False)

    def refresh(self) -> None:
        """Show the present state."""
        self._note()
        if self._console.is_terminal:
            self._live.update(drawn(self._view, now=time.monotonic(), height=self._console.height), refresh=True)
            return
        now, line = time.monotonic(), self._view.line()
        if now - self._said[0] >= self.SECONDS_BETWEEN_LINES and line != self._said[1]:
            self._said = (now, line)
            self._console.print(line, soft_wrap=True, highlight=False)
