"""Reading the central summary: its four tables as pyarrow Tables, and what follows from them without a judgement.

Columns that a file lacks are null. What is written while it is read may or may not be there, but never half of it, and
what is compacted meanwhile is there once.
"""

import functools
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from cluster.summary import box
from cluster.summary.scan import names_of_studies, scan
from cluster.summary.sql import answer as sql_answer
from cluster.summary.store import Summary
from cluster.summary.tables import AXES, COMPLETED, FINISHED, OUT_OF_MEMORY, STATES, TEXT, is_study_name
from cluster.summary.where import where as rows_where
from trainer.errors import InputError, nearest

POINT = ("global_batch", "learning_rate", "optimizer", "dtype")
# Given with mean and sample standard deviation over seeds.
QUALITY = (
    "best_validation_loss",
    "best_validation_accuracy",
    "final_validation_loss",
    "test_loss",
    "test_accuracy",
)
# Given with the mean.
WORK = ("seconds_training", "examples_per_second", "updates", "examples", "epochs")
# What `points` needs of trials: reading these takes a third of the time.
NEEDED = ("study", "trial_id", "attempt", "state", *AXES, *QUALITY, *WORK)


def studies(summary: Summary, study: str | None = None) -> pa.Table:
    """What was asked for: one row for each spec that was run under a study's name, the newest last."""
    return _read(summary, "studies", study).sort_by([("study", "ascending"), ("started_at", "ascending")])


def trials(summary: Summary, study: str | None = None, *, columns: Sequence[str] | None = None) -> pa.Table:
    """One row for each attempt that ended, of one study or of all, with all columns or these."""
    return _read(summary, "trials", study, columns)


def evaluations(summary: Summary, study: str | None = None) -> pa.Table:
    """Every evaluation, of one study or of all; see `curves` for trials that were resumed."""
    return _read(summary, "evaluations", study)


def probes(summary: Summary, study: str | None = None) -> pa.Table:
    """Every measurement of every probe, of one study or of all; the newest probe last."""
    return _read(summary, "probes", study).sort_by([("study", "ascending"), ("probed_at", "ascending")])


def names(summary: Summary) -> list[str]:
    """The studies of which there is anything, sorted."""
    found = (one for table in ("studies", "trials") for one in names_of_studies(summary.store, table))
    return sorted(set(found))


def latest(trials: pa.Table) -> pa.Table:
    """The row of each trial's highest attempt, sorted by study and trial."""
    return _highest_attempt(trials, ("study", "trial_id"))


def finished(trials: pa.Table) -> pa.Table:
    """The row of the highest attempt that is an answer (FINISHED), for each trial that has one.

    A trial that ran out of memory and goes on in smaller micro-batches has none yet.
    """
    goes_on = (pc.field("state") == OUT_OF_MEMORY) & pc.field("micro_batch_next").is_valid()
    return latest(trials.filter(pc.field("state").isin(FINISHED) & ~goes_on))


def curves(evaluations: pa.Table) -> pa.Table:
    """One row for each update of a trial, that of the highest attempt, sorted by study, trial and update.

    A resumed attempt evaluates again what lies behind its checkpoint.
    """
    return _highest_attempt(evaluations, ("study", "trial_id", "update"))


def points(trials: pa.Table, by: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
    """One row for each point of the axes `by`, from each trial's latest attempt that `where` is true for.

    Columns: `study` and the axes; `trials` and one count for each state, in lower case; `seeds`, the different seeds
    of the completed trials; for QUALITY `*_mean` and `*_sd`, for WORK `*_mean`; for QUALITY again `*_best` (the lowest
    loss, the highest accuracy), and `*_ci95_low` and `*_ci95_high`, the mean's 95 % interval by Student's t.

    All of these are over the completed trials: the others are counted and never averaged in. They are null where a
    completed trial lacks the value, and deviations (sample, ddof 1) and intervals of one trial are null too. With
    fewer axes than a study varies, they are over trials that differ in more than the seed.

    Raises:
        InputError: an axis that does not exist, or a condition that cannot be evaluated.
    """
    axes = POINT if by is None else tuple(dict.fromkeys(by))
    for axis in axes:
        if axis not in AXES:
            raise InputError(f"there is no axis {axis!r}{nearest(axis, list(AXES))}: one of {', '.join(AXES)}")
    rows = latest(trials)
    if where is not None:
        rows = rows_where(rows, where)
    keys = ["study", *axes]
    is_completed = pc.equal(rows["state"], COMPLETED)
    masked = {name: pc.if_else(is_completed, rows[name], None) for name in (*QUALITY, *WORK)}
    counts = {state.lower(): pc.cast(pc.equal(rows["state"], state), pa.int64()) for state in STATES}
    work = pa.table(
        {f"key_{key}": rows[key] for key in keys}
        | masked
        | counts
        | {"completed_seed": pc.if_else(is_completed, rows["seed"], None)}
    )
    sample = pc.VarianceOptions(ddof=1)
    grouped = work.group_by([f"key_{key}" for key in keys]).aggregate(
        [([], "count_all")]
        + [(state, "sum") for state in counts]
        + [("completed_seed", "count_distinct", pc.CountOptions(mode="only_valid"))]
        + [(name, function) for name in masked for function in ("mean", "count")]
        + [(name, "stddev", sample) for name in QUALITY]
        + [(name, _best(name)) for name in QUALITY]
    )
    completed = grouped["completed_sum"]
    columns = {key: grouped[f"key_{key}"] for key in keys}
    columns["seeds"] = grouped["completed_seed_count_distinct"]
    columns["trials"] = grouped["count_all"]
    columns |= {state: grouped[f"{state}_sum"] for state in counts}
    for name in masked:
        whole = pc.equal(grouped[f"{name}_count"], completed)
        columns[f"{name}_mean"] = pc.if_else(whole, grouped[f"{name}_mean"], None)
        if name in QUALITY:
            columns[f"{name}_sd"] = pc.if_else(whole, grouped[f"{name}_stddev"], None)
    # After the others: who reads them by their place finds them there.
    half = _half_interval(completed)
    for name in QUALITY:
        mean, reach = columns[f"{name}_mean"], pc.multiply(columns[f"{name}_sd"], half)
        whole = pc.equal(grouped[f"{name}_count"], completed)
        columns[f"{name}_best"] = pc.if_else(whole, grouped[f"{name}_{_best(name)}"], None)
        columns[f"{name}_ci95_low"] = pc.subtract(mean, reach)
        columns[f"{name}_ci95_high"] = pc.add(mean, reach)
    return pa.table(columns).sort_by([(key, "ascending") for key in keys])


def _best(name: str) -> str:
    return "max" if name.endswith("accuracy") else "min"


def _half_interval(counts: pa.ChunkedArray) -> pa.Array:
    """Half the width of Student's 95 % interval of a mean of `counts` values, in their sample deviations."""
    from scipy.special import stdtrit

    freedom = counts.to_numpy() - 1
    return pa.array(stdtrit(freedom.clip(1), 0.975) / (freedom.clip(0) + 1) ** 0.5, mask=freedom < 1)


def with_perplexity(points: pa.Table) -> pa.Table:
    """The points of a language model with one more column: `perplexity`, e to the mean best validation loss.

    It is the geometric mean of the trials' perplexities.
    """
    return points.append_column("perplexity", pc.exp(points["best_validation_loss_mean"]))


def task(summary: Summary, study: str) -> str | None:
    """The task of a study's newest spec; None when no spec says so."""
    specs = studies(summary, study)["task"].to_pylist()
    return specs[-1] if specs else None


def lowest(points: pa.Table) -> pa.Table:
    """The point of each study with the lowest mean of best_validation_loss; of equal ones the first."""
    measured = points.filter(pc.is_finite(points["best_validation_loss_mean"]))
    order = pc.sort_indices(measured, sort_keys=[("study", "ascending"), ("best_validation_loss_mean", "ascending")])
    return _first_of_each(measured.take(order), ("study",))


def mixes_trials(points: pa.Table) -> bool:
    """Whether a point has more completed trials than seeds, so that its deviations are not over seeds alone."""
    return bool(pc.any(pc.greater(points["completed"], points["seeds"])).as_py())


def states(trials: pa.Table) -> dict[str, int]:
    """How many trials of one study have ended (`trials`), and in which state (in lower case)."""
    counts = points(trials, by=())
    names = ["trials", *(state.lower() for state in STATES)]
    return {name: pc.sum(counts[name]).as_py() or 0 for name in names}


def asked(summary: Summary, study: str) -> int | None:
    """How many trials a study asks for, by its newest spec; None when no spec says so.

    Raises:
        InputError: there is no such study.
    """
    known = studies(summary)
    rows = known.filter(pc.equal(known["study"], study))
    if rows.num_rows:
        count: int | None = rows["trials"][-1].as_py()
        return count
    if is_study_name(study) and trials(summary, study).num_rows:
        return None
    names = pc.unique(known["study"]).to_pylist()
    raise InputError(
        f"there is no study {study!r} in {summary.uri}{nearest(study, names)}: `batchscope results` lists them"
    )


def overview(summary: Summary) -> pa.Table:
    """One row for each study: what it asks for, what became of it, and its `lowest` point.

    `task`, `data`, `started_at` and `asked` (trials) are of its newest spec, the counts are those of `points`, and
    `lowest_*` are the mean, seeds and global batch of the point.
    """
    specs, rows = studies(summary), trials(summary, columns=NEEDED)
    names = pa.table({"study": pc.unique(pa.chunked_array([*specs["study"].chunks, *rows["study"].chunks], TEXT))})
    order = pc.sort_indices(specs, sort_keys=[("study", "ascending"), ("started_at", "descending")])
    newest = _first_of_each(specs.take(order), ("study",))
    newest = newest.select(["study", "task", "data", "started_at", "trials"])
    counts = points(rows, by=()).select(["study", "trials", *(state.lower() for state in STATES)])
    best = lowest(points(rows)).select(["study", "best_validation_loss_mean", "seeds", "global_batch"])
    return (
        names.join(newest.rename_columns({"trials": "asked"}), "study")
        .join(counts, "study")
        .join(
            best.rename_columns(["study", "lowest_validation_loss_mean", "lowest_seeds", "lowest_global_batch"]),
            "study",
        )
        .sort_by("study")
    )


def sql(summary: Summary, text: str, study: str | None = None, *, seconds: float = box.SECONDS) -> pa.Table:
    """The answer to one SELECT of DuckDB's on the tables `studies`, `trials`, `evaluations` and so on, and `points`.

    Of one study or of all. `trials` has a row for each attempt, and `points` is what `points` gives. It is asked in a
    process of its own, which is ended after `seconds`.

    Raises:
        InputError: it is not one SELECT, reads more than the tables, is wrong, or takes too much memory or time.
    """
    assert study is None or is_study_name(study), study
    return sql_answer(
        summary.store, text, study, lambda: points(trials(summary, study, columns=NEEDED)), seconds=seconds
    )


def _read(summary: Summary, table: str, study: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    assert study is None or is_study_name(study), study
    return scan(summary.store, table, study, columns)


def _highest_attempt(table: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    order = pc.sort_indices(table, sort_keys=[*((key, "ascending") for key in keys), ("attempt", "descending")])
    return _first_of_each(table.take(order), keys)


def _first_of_each(ordered: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    """The first row of each run of rows with equal keys."""
    if ordered.num_rows < 2:
        return ordered
    changes = (pc.not_equal(ordered[key].slice(1), ordered[key].slice(0, len(ordered) - 1)) for key in keys)
    changed = functools.reduce(pc.or_, changes)
    return ordered.filter(pa.chunked_array([pa.array([True]), *changed.chunks]))
