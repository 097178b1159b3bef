"""The line at the bottom of a terminal that names what a command is doing, and for how long: from its first second on.

It is redrawn by a thread of its own, so that it moves while libraries are imported, Ray starts or a store is silent.
"""

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cluster.report.duration import duration

REDRAWN_A_SECOND = 4


class StageLine:
    """Shows the stage on stderr while it is open; where stderr is no terminal, it shows nothing. It can open again."""

    def __init__(self, stage: str) -> None:
        self.began_at = time.monotonic()
        self._stage = stage
        self._live = self._new_live()

    def __enter__(self) -> "StageLine":
        """Begin to show it."""
        self._live = self._new_live()
        if self._live.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the line."""
        self._live.stop()

    def now(self, stage: str) -> None:
        """Name the next stage; the seconds are those since the line was made."""
        self._stage = stage

    def say(self, text: str) -> None:
        """Print a line that stays, above the stage; on a terminal it is wrapped at words."""
        console = self._live.console
        console.print(text, soft_wrap=not console.is_terminal, highlight=False, markup=False)

    def _new_live(self) -> Live:
        return Live(
            get_renderable=self._drawn,
            console=Console(stderr=True, emoji=False),
            refresh_per_second=REDRAWN_A_SECOND,
            transient=True,
            # What is printed on stdout meanwhile must not be redirected: Ray redirects it too.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def _drawn(self) -> Text:
        return Text(f"{self._stage}, {duration(time.monotonic() - self.began_at)} so far", style="dim")
