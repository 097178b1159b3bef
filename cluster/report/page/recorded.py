"""Every trial's evaluations as the page draws them: those that count, those that chose a rate, those still running."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cluster.analysis.cells import Cell, Floats
from cluster.summary import query

# What a trial is to the curves: a run in the mean, another run of the same cell, one that only chose the learning rate,
# or one that has not ended. The page's script knows them by these numbers.
MEANT, COUNTED, TRIED, RUNNING = range(4)
# What the curves can show, by the column of the evaluations.
METRICS = {
    "validation": "validation_loss",
    "training": "training_loss",
    "accuracy": "validation_accuracy",
}
_CLOCKS = ("update", "examples", "epoch", "seconds")
# With more evaluations than this in a group, the script draws every trial at fewer, evenly spaced updates.
MOST_POINTS = 24_000
_FEWEST_POINTS = 24


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A trial's evaluations in order; `kind` is one of the four above, and what is not known is NaN.

    `curve` is the number of the curve to which it belongs: its global batch, unless several studies are compared.
    """

    kind: int
    batch: int
    curve: int
    evaluations: Mapping[str, Floats]

    def clock(self, name: str) -> Floats:
        """The positions of the evaluations on one of the page's clocks."""
        return self.evaluations[{"updates": "update", "epochs": "epoch"}.get(name, name)]


def of_trials(evaluations: pa.Table) -> dict[str, dict[str, Floats]]:
    """The columns that curves are drawn from, by trial."""
    ordered = query.curves(evaluations)
    trial_ids = np.asarray(ordered["trial_id"].to_pylist(), dtype=object)
    cuts = [0, *(np.flatnonzero(trial_ids[1:] != trial_ids[:-1]) + 1).tolist(), len(trial_ids)]
    names = (*_CLOCKS, *METRICS.values())
    columns = {name: ordered[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in names}
    return {
        trial_ids[start]: {name: column[start:stop] for name, column in columns.items()}
        for start, stop in itertools.pairwise(cuts)
        if stop > start
    }


def recorded(
    cells: Sequence[Cell], running: Sequence[Mapping[str, Any]], evaluations: Mapping[str, Mapping[str, Floats]]
) -> tuple[Recorded, ...]:
    """The trials of a group of cells that have evaluations; `running` are the markers of its attempts without a row."""
    found: dict[str, tuple[int, int]] = {}
    for cell in cells:
        found |= {run.trial_id: (TRIED, cell.global_batch) for run in cell.searched}
        found |= {run.trial_id: (MEANT if run.completed else COUNTED, cell.global_batch) for run in cell.runs}
    found |= {row["trial_id"]: (RUNNING, row["global_batch"]) for row in running if row["trial_id"] not in found}
    return tuple(
        Recorded(kind=kind, batch=batch, curve=batch, evaluations=evaluations[trial_id])
        for trial_id, (kind, batch) in found.items()
        if trial_id in evaluations
    )


def as_json(trials: Sequence[Recorded], colours: Mapping[int, int]) -> str:
    """The trials for the page's script, without a name or a quotation mark in it.

    For each a list of its kind, curve, batch, colour and epochs an example, then updates, seconds, validation and
    training losses, and accuracies.
    """
    points = sum(one.evaluations["update"].size for one in trials)
    most = max(_FEWEST_POINTS, MOST_POINTS // len(trials)) if points > MOST_POINTS else None
    return json.dumps([_row(one, colours[one.curve], most) for one in trials], separators=(",", ":"))


def _row(one: Recorded, colour: int, most: int | None) -> list[Any]:
    known = one.evaluations
    kept = evenly(known["update"], most)
    examples, epochs = known["examples"][-1], known["epoch"][-1]
    each = epochs / examples if examples > 0 and math.isfinite(epochs) else 0.0
    series = [known[name][kept] for name in ("update", "seconds", *METRICS.values())]
    return [one.kind, one.curve, one.batch, colour, float(f"{each:.5g}"), *(_numbers(values) for values in series)]


def evenly(updates: Floats, most: int | None) -> list[int]:
    """The indices of at most `most` evaluations, evenly spaced in the logarithm of the updates, and the last.

    They depend only on the updates, so runs that were evaluated at the same ones keep the same.
    """
    if most is None or updates.size <= most:
        return list(range(updates.size))
    wished = np.geomspace(max(updates[0], 1.0), max(updates[-1], 2.0), most - 1)
    return sorted({0, *np.searchsorted(updates, wished).clip(0, updates.size - 1).tolist(), updates.size - 1})


def _numbers(values: Floats) -> list[float | int | None]:
    """The values with five digits; empty if none is known."""
    if not np.isfinite(values).any():
        return []
    rounded = (float(f"{value:.5g}") if math.isfinite(value) else None for value in values.tolist())
    return [int(value) if value is not None and value == int(value) else value for value in rounded]
