"""A table of results as text for a person, or as JSON, CSV or Parquet for a program."""

import csv
import io
import json
import math
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.study.protocol import CONFIRM, GRID, SCREEN
from cluster.summary.tables import CANCELLED, COMPLETED, STATES
from cluster.text.plain import plain
from trainer.errors import InputError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Column:
    """A column of the text table. `head` is two lines: what it is, and its unit or the end of its name.

    `decimals` None means as short as the value is. A `rare` column is shown only if it has a value that is not 0; one
    with a `usual` value only if it has another, one that `tells_apart` only if its rows differ in it; one that was
    `asked` for always.
    """

    name: str
    head: tuple[str, str]
    decimals: int | None = None
    rare: bool = False
    usual: str | None = None
    tells_apart: bool = False
    asked: bool = False

    def is_shown(self, values: Sequence[Any]) -> bool:
        """Whether these values are worth a column; a table without rows has all of them."""
        if self.asked or not values:
            return True
        if self.tells_apart:
            return len(set(values)) > 1
        return any(values) if self.rare else any(value not in (None, self.usual) for value in values)


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


# What tells apart points of one place on the axes.
_APART = [
    Column("phase", ("", "phase"), usual=GRID),
    Column("budget", ("", "budget"), tells_apart=True),
    Column("evaluate_every", ("evaluated", "every"), tells_apart=True),
    Column("clip_norm", ("clip", "norm"), tells_apart=True),
    Column("stop_at_loss", ("stopped", "at loss"), tells_apart=True),
]
_COUNTS = [Column(state.lower(), ("", state.lower()), rare=state != COMPLETED) for state in STATES]
# In the order of their importance: where a terminal is too narrow, the last ones give way.
POINTS = [
    Column("global_batch", ("global batch", "rows")),
    Column("learning_rate", ("learning", "rate")),
    Column("optimizer", ("", "optimizer")),
    Column("dtype", ("", "dtype")),
    Column("seed", ("", "seed")),
    *_APART,
    Column("seeds", ("", "seeds")),
    Column("updates_mean", ("", "updates"), decimals=0),
    *_loss("best_validation_loss", "best val.", "loss"),
    Column("perplexity", ("", "perplexity"), decimals=2),
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
    *_COUNTS,
    Column("lowest_validation_loss_mean", ("lowest mean", "val. loss"), decimals=4),
    Column("lowest_global_batch", ("at global", "batch, rows")),
    Column("lowest_seeds", ("", "seeds")),
    Column("task", ("", "task")),
    Column("started_at", ("started", "UTC")),
    Column("data", ("", "data")),
]


def asked_for(names: Iterable[str], columns: Sequence[Column]) -> list[Column]:
    """The columns of these names, as `columns` have them or with their name as head; all of them are shown."""
    known = {column.name: column for column in columns}
    return [replace(known.get(name, Column(name, ("", name))), asked=True) for name in names]


def to_text(table: pa.Table, columns: Sequence[Column], *, width: int | None = None) -> str:
    """The columns that have values, aligned; with `width`, as many of them as fit."""
    shown: list[list[str]] = []
    used = left_out = 0
    for column in columns:
        if column.name not in table.column_names:
            continue
        values = table[column.name].to_pylist()
        if not column.is_shown(values):
            continue
        cells = [*column.head, *(_cell(value, column.decimals) for value in values)]
        size = max(map(len, cells))
        if width is not None and shown and (left_out or used + 2 + size > width):
            left_out += 1
            continue
        number = not pa.types.is_string(table.schema.field(column.name).type)
        shown.append([cell.rjust(size) if number else cell.ljust(size) for cell in cells])
        used += size + (2 if len(shown) > 1 else 0)
    lines = ["  ".join(cells).rstrip() for cells in zip(*shown, strict=True)]
    if left_out:
        lines.append(f"({left_out} more columns in a wider terminal, or with --format csv)")
    return "\n".join(lines) + "\n"


def _cell(value: Any, decimals: int | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, float):
        return f"{value:.{decimals}f}" if decimals is not None else f"{value:.6g}"
    return plain(str(value))


def progress_line(counts: Mapping[str, int], asked: int | None, *, earlier: int = 0) -> str:
    """What became of a study's trials; `counts` by state, in lower case, and `trials`.

    `earlier` trials under its name are of another experiment, such as one with another budget.
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
        line += f"; {saved} saved, to go on when the study is run again"
    if earlier:
        line += f"; {earlier} trial{'s' * (earlier != 1)} of another experiment under this name are apart"
    return line


_IN = {SCREEN: " of the screen", CONFIRM: " of the confirmations"}


def lowest_line(lowest: Mapping[str, Any], axes: Iterable[str]) -> str:
    """Which point has the lowest mean, and what that does not say."""
    place = ", ".join(f"{axis.replace('_', ' ')} {_cell(lowest[axis], None)}" for axis in axes)
    seeds = lowest["seeds"]
    return (
        f"lowest mean validation loss{_IN.get(lowest['phase'], '')}: {place} (n={seeds} seed{'s' * (seeds != 1)}); "
        "differences smaller than the deviation over seeds say nothing"
    )


def to_json(table: pa.Table, *, name: str, more: Mapping[str, Any] | None = None) -> str:
    """One object with `schema_version`, `table`, what `more` has, and `rows`.

    JSON has no NaN and no infinity: they are null.
    """
    rows = [{key: json_value(value) for key, value in row.items()} for row in table.to_pylist()]
    fields = {"schema_version": SCHEMA_VERSION, "table": name, **(more or {}), "rows": rows}
    # An answer to SQL can hold what JSON has no word for: a date, a UUID, bytes.
    return json.dumps(fields, indent=2, default=str) + "\n"


def json_value(value: Any) -> Any:
    """A value of a table as JSON can hold it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [json_value(one) for one in value]
    if isinstance(value, dict):
        return {str(key): json_value(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(table: pa.Table) -> str:
    """Comma-separated values with a header, numbers in full, null as nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows([_csv_value(value) for value in row.values()] for row in table.to_pylist())
    return text.getvalue()


def _csv_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        value = plain(value)
        # A spreadsheet would take it for a formula.
        return "'" + value if value.startswith(("=", "+", "-", "@")) else value
    return value


def to_parquet(table: pa.Table) -> bytes:
    """The bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def save(content: bytes, path: str) -> None:
    """Write a file whole, or leave what was there. What is no file, such as /dev/null or a pipe, is written into.

    Raises:
        InputError: it cannot be written.
    """
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as there:
                there.write(content)
            return
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except OSError as problem:
        raise InputError(f"cannot write {path}: {problem.strerror}; choose another place with -o") from None
