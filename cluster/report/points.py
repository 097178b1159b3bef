"""Points and studies as tables for a person: their columns, and the sentences below them."""

from collections.abc import Iterable, Mapping
from typing import Any

from cluster.study.protocol import CONFIRM, GRID, SCREEN
from cluster.summary.tables import CANCELLED, COMPLETED, STATES
from cluster.text.table import Column, cell_text


def _loss(name: str, first: str, second: str) -> list[Column]:
    return [
        Column(f"{name}_mean", (first, second), decimals=4),
        Column(f"{name}_sd", (second, "sd"), decimals=4),
    ]


def _interval(name: str, first: str, second: str) -> list[Column]:
    return [
        Column(f"{name}_ci95_low", (f"{second} 95 %", "CI from"), decimals=4),
        Column(f"{name}_ci95_high", (f"{second} 95 %", "CI to"), decimals=4),
        Column(f"{name}_best", (first, f"{second}, best"), decimals=4),
    ]


# What distinguishes points at the same place on the axes.
_APART = [
    Column("phase", ("", "phase"), usual=GRID),
    Column("budget", ("", "budget"), tells_apart=True),
    Column("evaluate_every", ("evaluated", "every"), tells_apart=True),
    Column("clip_norm", ("clip", "norm"), tells_apart=True),
    Column("stop_at_loss", ("stopped", "at loss"), tells_apart=True),
    Column("settings", ("", "settings"), tells_apart=True),
]
_COUNTS = [Column(state.lower(), ("", state.lower()), rare=state != COMPLETED) for state in STATES]
# In order of importance: where a terminal is too narrow, the last ones are left out.
POINTS = [
    Column("global_batch", ("global batch", "rows")),
    Column("learning_rate", ("learning", "rate")),
    Column("optimizer", ("", "optimizer")),
    Column("dtype", ("", "dtype")),
    Column("seed", ("", "seed")),
    *_APART,
    Column("seeds", ("", "seeds")),
    *_loss("best_validation_loss", "best val.", "loss"),
    Column("perplexity", ("", "perplexity"), decimals=2),
    Column("updates_mean", ("", "updates"), decimals=0),
    *_COUNTS,
    *_loss("test_accuracy", "test", "accuracy"),
    Column("seconds_training_mean", ("training", "s"), decimals=1),
    Column("examples_per_second_mean", ("speed", "rows/s"), decimals=1),
    *_loss("best_validation_accuracy", "best val.", "accuracy"),
    *_loss("test_loss", "test", "loss"),
    Column("examples_mean", ("", "examples"), decimals=0),
    Column("epochs_mean", ("", "epochs"), decimals=2),
    *_loss("final_validation_loss", "final val.", "loss"),
    *_interval("best_validation_loss", "best val.", "loss"),
]
STUDIES = [
    Column("study", ("", "study")),
    Column("asked", ("trials", "asked")),
    Column("trials", ("trials", "ended")),
    Column("lowest_validation_loss_mean", ("lowest mean", "val. loss"), decimals=4),
    Column("lowest_global_batch", ("at global", "batch, rows")),
    Column("lowest_seeds", ("", "seeds")),
    *_COUNTS,
    Column("task", ("", "task")),
    Column("started_at", ("started", "UTC")),
    Column("data", ("", "data")),
]


def progress_line(counts: Mapping[str, int], asked: int | None, *, earlier: int = 0) -> str:
    """How a study's trials ended; `counts` has the number of `trials` and the number in each lower-case state.

    `earlier` trials under the study's name belong to another experiment, such as one with another budget.
    """
    saved = counts[CANCELLED.lower()]
    ended = counts["trials"] - saved
    states = [
        f"{counts[state.lower()]} {state.lower()}" for state in STATES if counts[state.lower()] and state != CANCELLED
    ]
    of = f" of {asked}" if asked is not None and asked >= ended else ""
    line = f"{ended}{of} trials ended{': ' + ', '.join(states) if states else ''}".replace("_", " ")
    if asked is not None and asked > ended:
        line += f"; {asked - ended} without a result yet (waiting, running or lost)"
    if saved:
        line += f"; {saved} saved, which go on when the study is run again"
    if earlier:
        are = "is" if earlier == 1 else "are"
        line += f"; {earlier} trial{'s' * (earlier != 1)} of another experiment under this name {are} left out"
    return line


_IN = {SCREEN: " of the screen", CONFIRM: " of the confirmations"}


def lowest_line(lowest: Mapping[str, Any], axes: Iterable[str]) -> str:
    """The point with the lowest mean, and what that does not show."""
    place = ", ".join(f"{axis.replace('_', ' ')} {cell_text(lowest[axis], None)}" for axis in axes)
    seeds = lowest["seeds"]
    return (
        f"lowest mean validation loss{_IN.get(lowest['phase'], '')}: {place} (n={seeds} seed{'s' * (seeds != 1)}); "
        "differences smaller than the deviation over seeds mean nothing"
    )
