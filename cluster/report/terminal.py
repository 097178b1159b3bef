"""The live view on stderr: tables that stay in place on a terminal, or a line now and then elsewhere.

Elsewhere means a pipe or a job's log. A line there is a sentence or, for a cluster's job, JSON
(`cluster.report.progress_lines`).
"""

import threading
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from cluster.lanes.events import TrialEvent
from cluster.report.live import LiveView
from cluster.report.live_table import drawn
from cluster.report.progress_lines import StudyProgress, sentence

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_BETWEEN_LINES = 15.0


class Terminal:
    """Shows a view from its own thread for as long as it is open; `line_of` turns progress into a line."""

    def __init__(self, view: LiveView, line_of: Callable[[StudyProgress], str] = sentence) -> None:
        self._view, self._line_of = view, line_of
        self._console = Console(stderr=True, emoji=False)
        # Ray prints on stdout, which leads nowhere while Ray runs, so Live must not capture it.
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._lock, self._over = threading.Lock(), threading.Event()
        self._last_line = (float("-inf"), "")
        self._thread = threading.Thread(target=self._keep_fresh, daemon=True)

    def __enter__(self) -> "Terminal":
        """Take over the bottom of the terminal."""
        if self._console.is_terminal:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        """Give the terminal back, and print the last state in one line."""
        self._over.set()
        self._thread.join()
        self._live.stop()
        self.say(self._line())

    def note(self, event: TrialEvent) -> None:
        """Record an event, from any thread."""
        with self._lock:
            self._view.note(event)

    def say(self, text: str) -> None:
        """Print a line that stays, above the live part; on a terminal it is wrapped at words."""
        self._console.print(text, soft_wrap=not self._console.is_terminal, highlight=False, markup=False)

    def _keep_fresh(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            self._refresh()

    def _refresh(self) -> None:
        if self._console.is_terminal:
            with self._lock:
                tables = drawn(self._view, now=time.monotonic(), height=self._console.height, width=self._console.width)
            self._live.update(tables, refresh=True)
            return
        now, line = time.monotonic(), self._line()
        if now - self._last_line[0] >= SECONDS_BETWEEN_LINES and line != self._last_line[1]:
            self._last_line = (now, line)
            self.say(line)

    def _line(self) -> str:
        with self._lock:
            return self._line_of(StudyProgress(**self._view.progress(), text=self._view.line()))
