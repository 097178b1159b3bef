"""The verdict's cells as a table: one row for each batch size, with the figures behind its comparison."""

import dataclasses
import json
from typing import Any

import pyarrow as pa

from cluster.analysis.cells import missing_text
from cluster.analysis.verdict import GroupVerdict, Verdict
from cluster.text.formats import json_value
from cluster.text.table import Column

COLUMNS = [
    Column("global_batch", ("global batch", "rows")),
    Column("optimizer", ("", "optimizer")),
    Column("dtype", ("", "dtype")),
    Column("settings", ("", "settings"), tells_apart=True),
    Column("learning_rate", ("learning", "rate")),
    Column("seeds", ("", "seeds")),
    Column("without_result", ("planned, but", "without result"), rare=True),
    Column("loss", ("best val.", "loss"), decimals=4),
    Column("loss_sd", ("", "sd"), decimals=4),
    Column("against_reference", ("against", "reference")),
    Column("difference", ("difference", "of loss"), decimals=4),
    # The 90 % interval, which decides equivalence.
    Column("low90", ("90 % CI", "from"), decimals=4),
    Column("high90", ("", "to"), decimals=4),
    Column("reached", ("reached", "target")),
    Column("updates_to_target", ("updates", "to target"), decimals=0),
    Column("examples_to_target", ("examples", "to target"), decimals=0),
    Column("seconds_to_target", ("seconds", "to target"), decimals=1),
    Column("usd_to_target", ("usd", "to target"), decimals=3),
    Column("test_accuracy", ("test", "accuracy"), decimals=4),
    Column("examples_per_second", ("speed", "rows/s"), decimals=0),
    Column("noise_scale", ("noise", "scale"), decimals=0),
]


_EDGE, _NOT_CONFIRMED = "rate at edge", "not confirmed"
_NOTHING_LEARNT = "nothing learnt"
_SILENT = (_EDGE, _NOT_CONFIRMED, _NOTHING_LEARNT)


def table(verdict: Verdict) -> pa.Table:
    """One row for each cell. `*_to_target` are expected running times, including restarts of runs that missed it.

    Cells that support no conclusion have the reason in `against_reference`, and no difference.
    """
    several = len(verdict.groups) > 1
    rows = [row for group in verdict.groups for row in _rows(group, several=several)]
    names = [column.name for column in COLUMNS]
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _rows(group: GroupVerdict, *, several: bool) -> list[dict[str, Any]]:
    qualities = {one.global_batch: one for one in group.qualities}
    rows = []
    for cell in group.cells:
        quality = qualities.get(cell.global_batch)
        row: dict[str, Any] = {
            "global_batch": cell.global_batch,
            "learning_rate": cell.learning_rate,
            "seeds": cell.completed,
            "without_result": missing_text(cell.missing) or None,
            "loss": cell.loss and cell.loss.mean,
            "loss_sd": cell.loss and cell.loss.deviation,
            "test_accuracy": cell.test_accuracy and cell.test_accuracy.mean,
            "examples_per_second": cell.examples_per_second,
            "noise_scale": cell.noise_scale,
        }
        if several:
            row |= {"optimizer": group.optimizer, "dtype": group.dtype, "settings": group.settings or None}
        if quality:
            row |= {"difference": quality.difference, "low90": quality.low90, "high90": quality.high90}
        row["against_reference"] = quality.outcome if quality else standing(group, cell.global_batch)
        if cell.reach and row["against_reference"] not in _SILENT:
            row["reached"] = f"{cell.reach.success.reached}/{cell.reach.success.runs}"
            measures = {name: one.expected for name, one in cell.reach.measures.items() if one}
            row |= {f"{name}_to_target": expected for name, expected in measures.items()}
        rows.append(row)
    return rows


def standing(group: GroupVerdict, batch: int) -> str:
    """The word for a cell that was not compared with the reference."""
    [cell] = [cell for cell in group.cells if cell.global_batch == batch]
    if group.nothing_learnt:
        return _NOTHING_LEARNT
    if group.reference == batch:
        return "reference"
    if cell.at_edge:
        return _EDGE
    if cell.tuned and not cell.reliable:
        return "unreliable"
    return "not compared" if cell.usable else _NOT_CONFIRMED


def to_json(verdict: Verdict, sentences: list[str]) -> str:
    """The whole verdict as JSON, with its sentences. JSON has no NaN and no infinity, so they become null."""
    fields = {**dataclasses.asdict(verdict), "sentences": sentences}
    return json.dumps(json_value(fields), indent=2) + "\n"
