"""A run's progress in a notebook's cell: a table that updates itself, drawn through IPython where a kernel runs it.

IPython is no dependency: a program that has imported it is asked for its display, and no other program is.
"""

import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.drive.events import Event
    from cluster.report.live import LiveView

SECONDS_BETWEEN_DRAWINGS = 1.0

Display = Callable[..., Any]


def display_of_kernel() -> Display | None:
    """IPython's `display` in a notebook's kernel; None in another program, and in IPython on a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    found: Display = display
    return found


@contextlib.contextmanager
def watched(display: Display | None) -> "Iterator[Callable[[Event], None]]":
    """A function that takes the events of a run, and shows them in the cell until the block ends."""
    if display is None:
        yield lambda event: None
        return
    cell = _Cell(display)
    # A front end finds the cell of an output by the context in which it was made.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(cell.keep_fresh,), daemon=True)
    thread.start()
    try:
        yield cell.hear
    finally:
        cell.over.set()
        thread.join()


class _Cell:
    """The output of a cell, and the view of the run that it shows."""

    def __init__(self, display: Display) -> None:
        self.over = threading.Event()
        self._display = display
        self._handle: Any = None
        self._lock, self._began_at = threading.Lock(), time.monotonic()
        self._view: LiveView | None = None
        self._next: LiveView | None = None
        self._stage, self._notice = "reading the data and building the model", ""

    def hear(self, event: "Event") -> None:
        """Take an event of the run."""
        from cluster.drive import events
        from cluster.report.live import LiveView

        with self._lock:
            match event:
                case events.Waiting(text=text):
                    self._stage = text
                case events.StudyOpened(study=study, asked=asked, finished=finished, finished_examples=examples):
                    self._view = None
                    self._stage = (
                        f"study {study.spec.study}: {finished} of {asked} trials finished before; starting Ray"
                    )
                    self._next = LiveView.of(study, asked=asked, finished=finished, finished_examples=examples)
                case events.RayConnected(bill_usd=bill_usd):
                    assert self._next is not None
                    self._view = self._next
                    self._view.bill_usd, self._view.began_at = bill_usd, self._began_at
                case events.Stopping(reason=reason):
                    self._notice = f"{reason}: saving and stopping"
                case events.NotCompacted(reason=reason):
                    self._notice = f"the study's rows were not compacted: {reason}"
                case _:
                    assert self._view is not None
                    self._view.note(event)

    def keep_fresh(self) -> None:
        """Draw now, then once a second, and a last time when the run is over."""
        over = False
        while not over:
            self._draw()
            over = self.over.wait(SECONDS_BETWEEN_DRAWINGS)
        self._draw()

    def _draw(self) -> None:
        with self._lock:
            content = self._content(time.monotonic())
        if self._handle is None:
            self._handle = self._display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def _content(self, now: float) -> dict[str, str]:
        from cluster.report.duration import duration
        from cluster.report.live_html import html
        from cluster.report.page.markup import join, tag

        if self._view is None:
            text = f"{self._stage}, {duration(now - self._began_at)} so far"
            return {"text/plain": text, "text/html": tag("p", text)}
        text = "\n".join(filter(None, [self._notice, self._view.sentence(now)]))
        notice = tag("p", tag("strong", self._notice)) if self._notice else ""
        return {"text/plain": text, "text/html": join([notice, html(self._view, now)])}
