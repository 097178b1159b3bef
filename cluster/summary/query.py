"""Reading the central summary: its tables as pyarrow Tables, and facts that follow from them without judgement.

Columns that a file lacks are null. Rows that are written during a read may or may not be included, but never in part;
rows that are compacted meanwhile are included once.
"""

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from cluster.summary import experiments, sandbox
from cluster.summary.attempts import curves as curves
from cluster.summary.attempts import finished as finished
from cluster.summary.attempts import first_of_each
from cluster.summary.attempts import latest as latest
from cluster.summary.points import NEEDED as NEEDED
from cluster.summary.points import POINT as POINT
from cluster.summary.points import judged as judged
from cluster.summary.points import lowest as lowest
from cluster.summary.points import mixes_trials as mixes_trials
from cluster.summary.points import points as points
from cluster.summary.points import with_perplexity as with_perplexity
from cluster.summary.problems import tell
from cluster.summary.scan import names_of_studies, scan
from cluster.summary.sql import answer as sql_answer
from cluster.summary.store import Summary
from cluster.summary.tables import STATES, TEXT, is_study_name
from trainer.errors import InputError, nearest

_COUNTS = ("trials", *(state.lower() for state in STATES))


def studies(summary: Summary, study: str | None = None) -> pa.Table:
    """What was asked for: one row for each spec that was run under a study's name; the newest is last."""
    return _read(summary, "studies", study).sort_by([("study", "ascending"), ("started_at", "ascending")])


def specs(summary: Summary, study: str) -> pa.Table:
    """The rows of `studies` of one study that have a spec; the newest is last.

    Raises:
        InputError: there are none.
    """
    rows = with_spec(studies(summary, study))
    if not rows.num_rows:
        raise InputError(
            f"study {study!r} has no spec in {summary.uri}/studies that can be read: copy that folder there as well"
        )
    return rows


def trials(summary: Summary, study: str | None = None, *, columns: Sequence[str] | None = None) -> pa.Table:
    """One row for each attempt that ended, of one study or of all, with all columns or the given ones.

    Without `columns`, or if they include NEEDED, rows of an older version get the columns of `cluster.study.experiment`
    from their spec.
    """
    rows = _read(summary, "trials", study, columns)
    if not set(experiments.NEEDED) <= set(rows.column_names):
        return rows
    specs = studies(summary, study)
    tell(experiments.of_no_spec(rows, specs), summary.note, uri=summary.uri, folder="trials")
    return experiments.filled(rows, specs) if rows["budget"].null_count else rows


def newest(trials: pa.Table, studies: pa.Table) -> pa.Table:
    """The trials of the experiment that their study asks for now, according to the newest of `studies`.

    Trials with another budget, for example, belong to an earlier experiment under the same name: statements about a
    study as a whole leave them out.
    """
    return experiments.newest(trials, studies)


def evaluations(summary: Summary, study: str | None = None) -> pa.Table:
    """Every evaluation, of one study or of all; use `curves` for trials that were resumed."""
    return _read(summary, "evaluations", study)


def probes(summary: Summary, study: str | None = None) -> pa.Table:
    """Every measurement of every probe, of one study or of all; the newest probe is last."""
    return _read(summary, "probes", study).sort_by([("study", "ascending"), ("probed_at", "ascending")])


def fits(summary: Summary, study: str | None = None) -> pa.Table:
    """Every epoch of every foreign fit, under one name or under all; no other function here reads them."""
    order = [(name, "ascending") for name in ("study", "started_at", "fit_id", "epoch")]
    return _read(summary, "fits", study).sort_by(order)


def names(summary: Summary) -> list[str]:
    """The names of all studies that have any rows, sorted."""
    return sorted({study for table in ("studies", "trials") for study in names_of_studies(summary.store, table)})


def task(summary: Summary, study: str) -> str | None:
    """The task of a study's newest spec; None if there is no spec."""
    specs = studies(summary, study)["task"].to_pylist()
    return specs[-1] if specs else None


def states(trials: pa.Table) -> dict[str, int]:
    """How many trials of one study have ended (`trials`), and in which state (in lower case)."""
    rows = counted(trials).to_pylist()
    return {name: sum(row[name] for row in rows) for name in _COUNTS}


def counted(trials: pa.Table) -> pa.Table:
    """How many trials of each study have ended (`trials`), and in which state (in lower case)."""
    apart = points(trials, by=()).select(["study", *_COUNTS])
    counts = apart.group_by("study").aggregate([(name, "sum") for name in _COUNTS])
    return counts.rename_columns(["study", *_COUNTS])


def asked(summary: Summary, study: str) -> int | None:
    """How many trials a study asks for, according to its newest spec; None if there is no spec.

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
    if not names:
        raise InputError(
            f"there is no study in {summary.uri}: name the folder or s3:// address of a summary with --summary"
        )
    raise InputError(
        f"there is no study {study!r} in {summary.uri}{nearest(study, names)}: `batchscope results` lists them"
    )


def overview(summary: Summary) -> pa.Table:
    """One row for each study: what it asks for, what became of it, and its `lowest` point.

    `task`, `data`, `description`, `tags`, `last_started_at` and `asked` (trials) come from its newest spec;
    `started_at` is when it was run first. The counts come from the trials of its newest experiment, and `lowest_*` are
    the mean, seeds and global batch of the lowest of its `judged` points.
    """
    specs, rows = studies(summary), trials(summary, columns=NEEDED)
    rows_now = newest(rows, specs)
    names = pa.table({"study": pc.unique(pa.chunked_array([*specs["study"].chunks, *rows["study"].chunks], TEXT))})
    order = pc.sort_indices(specs, sort_keys=[("study", "ascending"), ("started_at", "descending")])
    last = first_of_each(specs.take(order), ("study",)).select(
        ["study", "task", "data", "description", "tags", "started_at", "trials"]
    )
    begun = specs.append_column("begun_at", pc.coalesce(specs["declared_at"], specs["started_at"]))
    first = begun.group_by("study").aggregate([("begun_at", "min")])
    counts = counted(rows_now)
    best = lowest(judged(points(rows_now))).select(["study", "best_validation_loss_mean", "seeds", "global_batch"])
    return (
        names.join(last.rename_columns({"trials": "asked", "started_at": "last_started_at"}), "study")
        .join(first.rename_columns({"begun_at_min": "started_at"}), "study")
        .join(counts, "study")
        .join(
            best.rename_columns(["study", "lowest_validation_loss_mean", "lowest_seeds", "lowest_global_batch"]),
            "study",
        )
        .sort_by("study")
    )


def sql(summary: Summary, text: str, study: str | None = None, *, seconds: float = sandbox.SECONDS) -> pa.Table:
    """The answer to one SELECT (DuckDB) on the tables studies, trials, evaluations, probes, fits and points.

    They are those of one study or of all. `trials` has a row for each attempt, and `points` is what `points` returns.
    The query runs in a process of its own, which is ended after `seconds`.

    Raises:
        InputError: the text is not one SELECT, reads more than the tables, is wrong, or takes too much memory or time.
    """
    assert study is None or is_study_name(study), study

    def made() -> pa.Table:
        return points(trials(summary, study, columns=NEEDED))

    return sql_answer(summary.store, text, study, made, seconds=seconds, note=summary.note)


def with_spec(studies: pa.Table) -> pa.Table:
    """The rows of `studies` that have a spec."""
    return studies.filter(pa.array([_is_spec(text) for text in studies["spec_json"].to_pylist()], pa.bool_()))


def _is_spec(text: str | None) -> bool:
    axes = json.loads(text).get("axes") if text else None
    return isinstance(axes, dict) and isinstance(axes.get("global_batch"), list)


def _read(summary: Summary, table: str, study: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    assert study is None or is_study_name(study), study
    return scan(summary.store, table, study, columns, note=summary.note)
