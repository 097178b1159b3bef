"""Points: the trials at one place on the axes summed up, with means that never pool what differs. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.study.experiment import COLUMNS
from cluster.study.protocol import CONFIRM, GRID, SCREEN
from cluster.summary import experiments
from cluster.summary.attempts import first_of_each, latest
from cluster.summary.tables import AXES, COMPLETED, FINISHED, STATES
from cluster.summary.where import where as rows_where
from trainer.errors import InputError, nearest

Row = Mapping[str, Any]

POINT = ("global_batch", "learning_rate", "optimizer", "dtype")
# Reported as mean and sample standard deviation over seeds.
QUALITY = (
    "best_validation_loss",
    "best_validation_accuracy",
    "final_validation_loss",
    "test_loss",
    "test_accuracy",
)
# Reported as mean.
WORK = ("seconds_training", "examples_per_second", "updates", "examples", "epochs")
# The columns of trials that `points` needs: reading only these takes a third of the time.
NEEDED = tuple(
    dict.fromkeys(
        (
            *("study", "trial_id", "attempt", "state", "error", "micro_batch_next", "started_at"),
            *(*AXES, "settings", *QUALITY, *WORK, *experiments.NEEDED),
        )
    )
)
# Points at one place are never pooled across these.
APART = ("phase", *COLUMNS, "settings")
# The phases, the most conclusive first.
SAYING = (CONFIRM, GRID, SCREEN)


def points(trials: pa.Table, by: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
    """One row for each point of the axes `by`, from each trial's latest attempt that `where` is true for.

    Trials that differ in APART never belong to one point: those of a screen and those that confirm its best rate, for
    example, or those of two budgets. Points are sorted by phase, the confirmations first and the screen last, then by
    the axes, and equal ones with the newest first.

    Columns: `study` and the axes; `trials` and one count for each state, in lower case; `seeds`, the different seeds
    of the completed trials; for QUALITY `*_mean` and `*_sd`, for WORK `*_mean`; for QUALITY again `*_best` (the lowest
    loss, the highest accuracy), and `*_ci95_low` and `*_ci95_high`, the mean's 95 % interval by Student's t; APART.

    All of these are over the completed trials: the others are counted but never averaged in. They are null if a
    completed trial lacks the value; deviations (sample, ddof 1) and intervals of a single trial are null too. With
    fewer axes than a study varies, they cover trials that differ in more than the seed.

    Raises:
        InputError: an axis does not exist, or the condition cannot be evaluated.
    """
    axes = POINT if by is None else tuple(dict.fromkeys(by))
    for axis in axes:
        if axis not in AXES:
            raise InputError(f"there is no axis {axis!r}{nearest(axis, list(AXES))}: one of {', '.join(AXES)}")
    rows = latest(trials)
    if where is not None:
        rows = rows_where(rows, where)
    # Rows of the oldest versions have no phase, and all belonged to a grid.
    rows = rows.set_column(rows.schema.get_field_index("phase"), "phase", pc.fill_null(rows["phase"], GRID))
    keys = ["study", *axes, *APART]
    is_completed = pc.equal(rows["state"], COMPLETED)
    masked = {name: pc.if_else(is_completed, rows[name], None) for name in (*QUALITY, *WORK)}
    counts = {state.lower(): pc.cast(pc.equal(rows["state"], state), pa.int64()) for state in STATES}
    work = pa.table(
        {f"key_{key}": rows[key] for key in keys}
        | masked
        | counts
        | {"completed_seed": pc.if_else(is_completed, rows["seed"], None), "started_at": rows["started_at"]}
    )
    sample = pc.VarianceOptions(ddof=1)
    grouped = work.group_by([f"key_{key}" for key in keys]).aggregate(
        [([], "count_all"), ("started_at", "max")]
        + [(state, "sum") for state in counts]
        + [("completed_seed", "count_distinct", pc.CountOptions(mode="only_valid"))]
        + [(name, function) for name in masked for function in ("mean", "count")]
        + [(name, "stddev", sample) for name in QUALITY]
        + [(name, _best(name)) for name in QUALITY]
    )
    columns = _columns(grouped, axes)
    order = {"study": columns["study"], "phase": pa.array(map(_place, columns["phase"].to_pylist()), pa.int64())}
    order |= {axis: columns[axis] for axis in axes}
    sort_keys = [*((key, "ascending") for key in order), ("started_at", "descending")]
    order["started_at"] = grouped["started_at_max"]
    return pa.table(columns).take(pc.sort_indices(pa.table(order), sort_keys=sort_keys))


def _columns(grouped: pa.Table, axes: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """The columns of `points`, from the sums and means of each group."""
    completed = grouped["completed_sum"]
    columns = {key: grouped[f"key_{key}"] for key in ("study", *axes)}
    columns["seeds"] = grouped["completed_seed_count_distinct"]
    columns["trials"] = grouped["count_all"]
    columns |= {state.lower(): grouped[f"{state.lower()}_sum"] for state in STATES}
    for name in (*QUALITY, *WORK):
        whole = pc.equal(grouped[f"{name}_count"], completed)
        columns[f"{name}_mean"] = pc.if_else(whole, grouped[f"{name}_mean"], None)
        if name in QUALITY:
            columns[f"{name}_sd"] = pc.if_else(whole, grouped[f"{name}_stddev"], None)
    # These come after the others, for programs that read columns by their position.
    half = _half_interval(completed)
    for name in QUALITY:
        mean, reach = columns[f"{name}_mean"], pc.multiply(columns[f"{name}_sd"], half)
        whole = pc.equal(grouped[f"{name}_count"], completed)
        columns[f"{name}_best"] = pc.if_else(whole, grouped[f"{name}_{_best(name)}"], None)
        columns[f"{name}_ci95_low"] = pc.subtract(mean, reach)
        columns[f"{name}_ci95_high"] = pc.add(mean, reach)
    return columns | {key: grouped[f"key_{key}"] for key in APART}


def _place(phase: str) -> int:
    """The rank of a phase: confirmations on fresh seeds are the most conclusive, a screen the least."""
    return SAYING.index(phase) if phase in SAYING else len(SAYING)


def _best(name: str) -> str:
    return "max" if name.endswith("accuracy") else "min"


def _half_interval(counts: pa.ChunkedArray) -> pa.Array:
    """Half the width of Student's 95 % interval for a mean of `counts` values, in units of their sample deviation."""
    from scipy.special import stdtrit

    freedom = counts.to_numpy() - 1
    return pa.array(stdtrit(freedom.clip(1), 0.975) / (freedom.clip(0) + 1) ** 0.5, mask=freedom < 1)


def with_perplexity(points: pa.Table) -> pa.Table:
    """The points of a language model with the column `perplexity`, e to the power of the mean best validation loss.

    It is the geometric mean of the trials' perplexities.
    """
    return points.append_column("perplexity", pc.exp(points["best_validation_loss_mean"]))


def judged(points: pa.Table) -> pa.Table:
    """The points that a study's verdict is about, given the points of one experiment of each study.

    They are the confirmations; if there are none, the points of a grid, and else those of a screen. If several rates
    were confirmed at a batch size, only the one that the screen chose counts.
    """
    rows = points.to_pylist()
    there = {(row["study"], row["phase"]) for row in rows if row["completed"]}
    phases = {study: min((phase for of, phase in there if of == study), key=_place) for study, _ in there}
    chosen = _chosen(rows) if {*POINT} <= set(points.column_names) else {}
    kept = [
        row["phase"] == phases.get(row["study"])
        and (row["phase"] != CONFIRM or chosen.get(_cell(row), row.get("learning_rate")) == row.get("learning_rate"))
        for row in rows
    ]
    return points.filter(pa.array(kept, pa.bool_()))


def _chosen(rows: Sequence[Row]) -> dict[tuple[Any, ...], float]:
    """The confirmed rate of each cell that had the lowest mean loss in the screen (`cluster.analysis.cells`)."""
    screened = {
        (*_cell(row), row["learning_rate"]): row["best_validation_loss_mean"]
        for row in rows
        if row["phase"] == SCREEN and row["completed"] == sum(row[state.lower()] for state in FINISHED)
    }
    rates: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for row in rows:
        if row["phase"] == CONFIRM:
            loss = screened.get((*_cell(row), row["learning_rate"]))
            rates.setdefault(_cell(row), []).append((math.inf if loss is None else loss, row["learning_rate"]))
    return {cell: min(tried)[1] for cell, tried in rates.items()}


def _cell(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("study", "global_batch", "optimizer", "dtype", "settings"))


def lowest(points: pa.Table) -> pa.Table:
    """The point of each study with the lowest mean of best_validation_loss; the first one if several are equal."""
    measured = points.filter(pc.is_finite(points["best_validation_loss_mean"]))
    order = pc.sort_indices(measured, sort_keys=[("study", "ascending"), ("best_validation_loss_mean", "ascending")])
    return first_of_each(measured.take(order), ("study",))


def mixes_trials(points: pa.Table) -> bool:
    """Whether a point has more completed trials than seeds, so that its deviations are not over seeds alone."""
    return bool(pc.any(pc.greater(points["completed"], points["seeds"])).as_py())
