"""The results of the page: the verdict's table, every trial, what failed, and the files with every number."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.analysis.counted import counted
from cluster.report import verdict as words
from cluster.report import verdict_table
from cluster.report.page.facts import Facts
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.tables import columned, csv_link, data_link
from cluster.summary import query
from cluster.summary.tables import COMPLETED
from cluster.text.table import Column

# About 1.7 MB of the page.
_MOST_EVALUATIONS = 55_000
_TRIALS = [
    Column("trial_id", ("", "trial")),
    Column("phase", ("", "phase")),
    Column("global_batch", ("", "global batch")),
    Column("learning_rate", ("", "learning rate")),
    Column("optimizer", ("", "optimizer")),
    Column("dtype", ("", "dtype")),
    Column("settings", ("", "settings"), tells_apart=True),
    Column("seed", ("", "seed")),
    Column("budget", ("", "budget"), tells_apart=True),
    Column("evaluate_every", ("", "evaluated every"), tells_apart=True),
    Column("stop_at_loss", ("", "stopped at loss"), tells_apart=True),
    Column("attempt", ("", "attempt")),
    Column("state", ("", "state")),
    Column("updates", ("", "updates")),
    Column("best_validation_loss", ("", "best val. loss"), decimals=4),
    Column("final_validation_loss", ("", "final val. loss"), decimals=4),
    Column("test_accuracy", ("", "test accuracy"), decimals=4),
    Column("seconds_training", ("", "training, s"), decimals=1),
    Column("examples_per_second", ("", "rows/s"), decimals=0),
    Column("cost_usd", ("", "usd"), decimals=4),
]
_FAILED = [
    Column("trial_id", ("", "trial")),
    Column("global_batch", ("", "global batch")),
    Column("learning_rate", ("", "learning rate")),
    Column("seed", ("", "seed")),
    Column("attempt", ("", "attempt")),
    Column("state", ("", "state")),
    Column("error", ("", "error")),
]


def results(facts: Facts, trials_at: str | None = None) -> Markup:
    """The tables, most important first; ids of trials are links if `trials_at` begins their addresses."""
    if not facts.trials.num_rows:
        return tag("p", "No trial has ended yet.")
    verdict, columns = verdict_table.table(facts.verdict), list(verdict_table.COLUMNS)
    points = query.points(facts.trials)
    if facts.perplexity:
        points = query.with_perplexity(points)
        verdict = verdict.append_column("perplexity", pc.exp(pc.cast(verdict["loss"], pa.float64())))
        columns.insert(7, Column("perplexity", ("", "perplexity"), decimals=2))
    trials = query.latest(facts.trials)
    said = words.sentences(facts.verdict)
    linked = {"trial_id": trials_at} if trials_at else {}
    parts: list[str] = [
        columned(verdict, columns, "Batch sizes: the runs that count for each, and what they took"),
        _folded(
            f"All {counted(trials.num_rows, 'trial')}",
            columned(trials, _TRIALS, "Each trial's latest attempt", most_rows=1000, linked=linked),
        ),
    ]
    rows = facts.trials.filter(pc.not_equal(facts.trials["state"], COMPLETED))
    if rows.num_rows:
        caption = f"{counted(rows.num_rows, 'attempt')} that did not complete"
        parts.append(_folded(caption, columned(rows, _FAILED, caption, linked=linked)))
    name = facts.study
    links = [
        csv_link(verdict, f"{name}-batch-sizes.csv", "batch sizes (CSV)"),
        csv_link(points, f"{name}-points.csv", "points of the axes (CSV)"),
        csv_link(facts.trials, f"{name}-trials.csv", "all attempts (CSV)"),
        _evaluations(facts),
        data_link(
            verdict_table.to_json(facts.verdict, said).encode(),
            "application/json",
            f"{name}-verdict.json",
            "verdict (JSON)",
        ),
    ]
    parts.append(tag("p", "Every number: ", *(join([link, " "]) for link in links), class_="downloads"))
    return join(parts)


def _folded(summary: str, inner: Markup) -> Markup:
    return tag("details", tag("summary", summary), inner)


def _evaluations(facts: Facts) -> Markup:
    """All evaluations, or as many as a page can carry: each trial's best and last, and one in `every` of the others."""
    name, rows = f"{facts.study}-evaluations.csv", facts.evaluations
    every = -(-rows.num_rows // _MOST_EVALUATIONS)
    if every < 2:
        return csv_link(rows, name, "all evaluations (CSV)")
    text = f"evaluations, one in {every} and each trial's best and last (CSV; `batchscope results --sql` has all)"
    return csv_link(_thinned(query.curves(rows), every), name, text)


def _thinned(curves: pa.Table, every: int) -> pa.Table:
    trials = np.asarray(curves["trial_id"].to_pylist(), dtype=object)
    losses = np.nan_to_num(np.array(curves["validation_loss"].to_pylist(), np.float64), nan=np.inf)
    starts = np.flatnonzero(np.append(True, trials[1:] != trials[:-1]))
    kept = set(range(0, len(trials), every))
    for start, stop in zip(starts, [*starts[1:], len(trials)], strict=True):
        kept |= {int(start + losses[start:stop].argmin()), int(stop - 1)}
    return curves.take(sorted(kept))
