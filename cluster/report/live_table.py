"""The live view as rich tables: the running trials, and those that ended last."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.report.live import LiveView, Recent, duration, point_of
from trainer.report import State
from trainer.trial import TrialSpec

BAR_WIDTH = 60
# Screen lines that are not trials: two heads, blank lines, the bar, and a line that may wrap to three.
OTHER_LINES = 8


def drawn(view: LiveView, *, now: float, height: int) -> Group:
    """The view on a terminal of `height` lines; `now` is in seconds on the clock of the view's reports."""
    room = max(2, height - OTHER_LINES)
    ended = list(view.recent)[-max(1, room - len(view.running)) :]
    running = list(view.running)[: room - len(ended)]
    parts: list[RenderableType] = [_running(view, running, now)]
    if len(running) < len(view.running):
        parts.append(Text(f"and {len(view.running) - len(running)} more"))
    if ended:
        parts += [Text(), _ended(ended)]
    parts.append(Text())
    starting = "" if view.first_progress else f"starting {view.lanes} lanes; "
    # The progress line has the best loss of all trials.
    below = Table.grid()
    below.add_row(ProgressBar(total=1.0, completed=view.fraction(), width=BAR_WIDTH))
    below.add_row(Text(starting + view.line()))
    return Group(*parts, below)


def _running(view: LiveView, trials: Sequence[TrialSpec], now: float) -> Table:
    table = _table("running", "updates", "of", "validation loss", "rows/s", "left")
    for trial in trials:
        running, planned = view.running[trial], view.examples(trial)
        speed = running.pace.examples_per_second()
        left = running.pace.seconds_left(planned, now) if planned else None
        table.add_row(
            point_of(trial),
            f"{running.examples // trial.global_batch:,}",
            f"{planned / trial.global_batch:,.0f}" if planned else "",
            _loss(running.validation_loss),
            "" if speed is None else f"{speed:,.0f}",
            "" if left is None else duration(left),
        )
    return table


def _ended(ended: Sequence[Recent]) -> Table:
    table = _table("ended last", "updates", "", "best loss", "", "took")
    for one in ended:
        state = "saved" if one.event.state is State.CANCELLED else str(one.event.state).lower().replace("_", " ")
        table.add_row(
            point_of(one.event.trial),
            f"{one.event.examples // one.event.trial.global_batch:,}" if one.event.examples else "",
            "" if state == "completed" else state,
            _loss(one.event.validation_loss),
            "",
            duration(one.seconds),
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    return table


def _loss(loss: float | None) -> str:
    return "" if loss is None else f"{loss:.4f}"
