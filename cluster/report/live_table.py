"""The live view as rich tables: the running trials, and those that ended last."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.report.duration import duration
from cluster.report.live import LiveView, Recent, point_of
from trainer.report import State
from trainer.trial import TrialSpec

BAR_WIDTH = 60
# Terminals narrower than this have short names of points and losses.
WIDE = 100
# The columns that are left out where a line would not fit, the first one first.
_FIRST_TO_GO = ("rows/s", "of", "updates", "took", "left")
# Screen lines that are not trials: two heads, blank lines and the bar; below them comes a sentence.
OTHER_LINES = 5


def drawn(view: LiveView, *, now: float, height: int, width: int) -> Group:
    """The view on a terminal of `height` lines and `width` columns; `now` is on the clock of the view's reports."""
    below = Text(view.sentence(now))
    lines = len(below.wrap(Console(width=width), width))
    room = max(2, height - OTHER_LINES - max(3, lines))
    ended = list(view.recent)[-max(1, room - len(view.running)) :]
    running = list(view.running)[: room - len(ended)]
    parts: list[RenderableType] = []
    if running:
        parts.append(_table(running_rows(view, running, now, width), width))
    if len(running) < len(view.running):
        parts.append(Text(f"and {len(view.running) - len(running)} more"))
    if ended:
        parts += [Text(), _table(ended_rows(ended, width), width)]
    if parts:
        parts.append(Text())
    # The progress line has the best loss of all trials.
    bottom = Table.grid()
    bottom.add_row(ProgressBar(total=1.0, completed=view.fraction(), width=min(BAR_WIDTH, width)))
    bottom.add_row(below)
    return Group(*parts, bottom)


def running_rows(view: LiveView, trials: Sequence[TrialSpec], now: float, width: int) -> list[dict[str, str]]:
    """A row of cells for each running trial, by column; one that has not trained yet has its seconds so far."""
    rows = []
    for trial in trials:
        running, planned = view.running[trial], view.examples(trial)
        speed = running.pace.examples_per_second()
        left = running.pace.seconds_left(planned, now) if planned else None
        started = f"starting, {duration(now - running.pace.began_at)}" if running.pace.first is None else ""
        rows.append(
            {
                "running": _named(trial, width),
                "updates": f"{running.examples // trial.global_batch:,}",
                "of": f"{planned / trial.global_batch:,.0f}" if planned else "",
                "validation loss" if width >= WIDE else "val. loss": _loss(running.validation_loss),
                "rows/s": "" if speed is None else f"{speed:,.0f}",
                "left": started if left is None else duration(left),
            }
        )
    return rows


def ended_rows(ended: Sequence[Recent], width: int) -> list[dict[str, str]]:
    """A row of cells for each trial that ended, by column."""
    rows = []
    for one in ended:
        state = "saved" if one.event.state is State.CANCELLED else str(one.event.state).lower().replace("_", " ")
        rows.append(
            {
                "ended last": _named(one.event.trial, width),
                "updates": f"{one.event.examples // one.event.trial.global_batch:,}" if one.event.examples else "",
                "": "" if state == "completed" else state,
                "best loss" if width >= WIDE else "loss": _loss(one.event.validation_loss),
                "took": duration(one.seconds),
            }
        )
    return rows


def _named(trial: TrialSpec, width: int) -> str:
    """A trial's point and seed, as long as the terminal has room for."""
    if width >= WIDE:
        return point_of(trial)
    return f"B = {trial.global_batch}, rate {trial.learning_rate:.3g}, seed {trial.seed}"


def _table(rows: Sequence[dict[str, str]], width: int) -> Table:
    """Rows of cells by column, as many columns as fit; no cell is cut."""
    sizes = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    for gone in _FIRST_TO_GO:
        # There are two spaces between columns.
        if sum(sizes.values()) + 2 * (len(sizes) - 1) > width:
            sizes.pop(gone, None)
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(sizes):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(row[name] for name in sizes))
    return table


def _loss(loss: float | None) -> str:
    return "" if loss is None else f"{loss:.4f}"
