"""The results of the page: the verdict's table, every trial, what failed, and the files with every number."""

import pyarrow as pa
import pyarrow.compute as pc

from cluster.report import verdict as words
from cluster.report import verdict_table
from cluster.report.page.facts import Facts
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.tables import columned, csv_link, data_link, packed_link
from cluster.report.table import Column
from cluster.summary import query
from cluster.summary.tables import COMPLETED

_TRIALS = [
    Column("trial_id", ("", "trial")),
    Column("phase", ("", "phase")),
    Column("global_batch", ("", "global batch")),
    Column("learning_rate", ("", "learning rate")),
    Column("optimizer", ("", "optimizer")),
    Column("dtype", ("", "dtype")),
    Column("seed", ("", "seed")),
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


def results(facts: Facts) -> Markup:
    """The tables, most important first."""
    if not facts.trials.num_rows:
        return tag("p", "No trial has ended yet.")
    verdict, columns = verdict_table.table(facts.verdict), list(verdict_table.COLUMNS)
    points = query.points(facts.trials)
    if facts.perplexity:
        points = query.with_perplexity(points)
        verdict = verdict.append_column("perplexity", pc.exp(pc.cast(verdict["loss"], pa.float64())))
        columns.insert(6, Column("perplexity", ("", "perplexity"), decimals=2))
    trials = query.latest(facts.trials)
    said = words.sentences(facts.verdict)
    parts: list[str] = [
        columned(verdict, columns, "Batch sizes: the runs that speak for each, and what they took"),
        _folded(
            f"All {trials.num_rows:,} trials", columned(trials, _TRIALS, "Each trial's latest attempt", most_rows=5000)
        ),
    ]
    rows = facts.trials.filter(pc.not_equal(facts.trials["state"], COMPLETED))
    if rows.num_rows:
        told = f"{rows.num_rows:,} attempts that did not complete"
        parts.append(_folded(told, columned(rows, _FAILED, told)))
    name = facts.study
    links = [
        csv_link(verdict, f"{name}-batch-sizes.csv", "batch sizes (CSV)"),
        csv_link(points, f"{name}-points.csv", "points of the axes (CSV)"),
        csv_link(facts.trials, f"{name}-trials.csv", "all attempts (CSV)"),
        packed_link(facts.evaluations, f"{name}-evaluations.csv", "all evaluations (CSV)"),
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
