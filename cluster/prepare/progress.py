"""The progress bar, on stderr: only on a terminal, and only for work of more than two seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with the name of the stage and the fraction of it that is done, 0 to 1.
Progress = Callable[[str, float], None]

PATIENCE_SECONDS = 2.0


def silent(stage: str, share: float) -> None:
    """The `Progress` of a caller who does not want to see any."""


@contextmanager
def bar() -> Iterator[Progress]:
    """A `Progress` that draws a bar if a person can see it."""
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    console = Console(stderr=True)
    if not console.is_terminal:
        yield silent
        return
    started = time.monotonic()
    bars = Bars(console=console, transient=True)
    tasks: dict[str, TaskID] = {}

    def show(stage: str, share: float) -> None:
        if time.monotonic() - started < PATIENCE_SECONDS:
            return
        if stage not in tasks:
            bars.start()
            tasks[stage] = bars.add_task(stage, total=1.0)
        bars.update(tasks[stage], completed=share)

    try:
        yield show
    finally:
        bars.stop()
