"""The page of one trial: its settings, curve, attempts and what they cost, errors, and the command that exports it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.analysis.by_class import names, pooled
from cluster.report.page import by_class, curves_section
from cluster.report.page.document import SCRIPT, hidden_curves
from cluster.report.page.frame import framed, script, style
from cluster.report.page.look import Look
from cluster.report.page.markup import Markup, tag
from cluster.report.page.scales import value_text
from cluster.report.page.series import compared, early
from cluster.report.page.tables import columned
from cluster.report.serve.compare_page import MOST
from cluster.report.serve.compared import trial_of
from cluster.report.serve.config import flat
from cluster.report.serve.html import navigation
from cluster.report.serve.reading import StudyTables
from cluster.summary import query
from cluster.text.table import Column

_SETTINGS = (
    "phase",
    "global_batch",
    "learning_rate",
    "optimizer",
    "dtype",
    "settings",
    "seed",
    "budget",
    "evaluate_every",
    "clip_norm",
    "stop_at_loss",
)
_RESULTS = (
    "updates",
    "examples",
    "epochs",
    "best_validation_loss",
    "best_validation_accuracy",
    "final_training_loss",
    "final_validation_loss",
    "test_loss",
    "test_accuracy",
)
_LEDGER = [
    Column("attempt", ("", "attempt")),
    Column("state", ("", "state")),
    Column("started_at", ("", "began, UTC")),
    Column("ended_at", ("", "ended, UTC")),
    *(
        Column(f"seconds_{name}", (f"{name},", "s"), decimals=1)
        for name in ("waiting", "starting", "training", "resumed", "repeated", "evaluating", "saving")
    ),
    Column("cost_usd", ("", "usd"), decimals=4),
    Column("usd_per_hour", ("usd", "an hour"), decimals=3),
    Column("workers", ("", "workers")),
    Column("micro_batch", ("", "micro-batch")),
    Column("device", ("", "device")),
    Column("node_type", ("", "machine")),
    Column("market", ("", "market")),
    Column("peak_memory_bytes", ("peak memory,", "bytes")),
]


def trial_page(study: str, tables: StudyTables, trial_id: str, uri: str) -> str:
    """The page of a trial, which may be running.

    Raises:
        NoAnswerError: there is no such trial.
    """
    row, recorded = trial_of(tables, trial_id)
    task = tables.specs["task"][-1].as_py() if tables.specs.num_rows else None
    look = Look(study=f"{study}-{trial_id}", task=task, target=None, colours={row["global_batch"]: 0})
    if recorded is None:
        curve = tag("p", "It has no evaluation yet.", class_="aside-note")
    else:
        clocks = compared([recorded]) if row["state"] else early([recorded])
        curve = curves_section.section(look, "Curve", clocks, [recorded])
    trials = tables.tables["trials"]
    attempts = trials.filter(pc.equal(trials["trial_id"], trial_id))
    return framed(
        f"{study}, trial {trial_id} - batchscope",
        navigation(study),
        tag(
            "main",
            tag("h1", f"Trial {trial_id}"),
            tag("p", _state(row), class_="progress-line"),
            *_errors(attempts),
            tag("dl", *_pairs(row, _SETTINGS), class_="facts"),
            tag("h2", "Results"),
            tag("dl", *_pairs(row, _RESULTS), class_="facts") if row["state"] else tag("p", "It has not ended."),
            *_classes(row, tables),
            curve,
            tag("h2", "Attempts, and what their seconds were spent on"),
            columned(attempts, _LEDGER, "The ledger: a row for each attempt")
            if attempts.num_rows
            else tag("p", "None."),
            tag("h2", "Take it along"),
            tag("pre", _export(study, trial_id, uri), tabindex="0", role="region", aria_label="Commands"),
            tag("p", *_links(study, row, trials)),
            *_spec(tables),
        ),
        style=style(1, by_class.shades(), hidden_curves([row["global_batch"]])),
        script=script(SCRIPT),
        data_study=f"{study} {trial_id}",
    )


def _state(row: Mapping[str, Any]) -> str:
    if not row["state"]:
        return f"running, attempt {row['attempt']}, {row['updates']:,} updates so far"
    ended = f" on {row['ended_at']:%Y-%m-%d at %H:%M} UTC" if row["ended_at"] else ""
    return f"{row['state']}{ended}, attempt {row['attempt']}"


def _errors(attempts: pa.Table) -> Iterator[Markup]:
    """What an attempt said when it ended, as it was recorded."""
    for row in attempts.to_pylist():
        if row["error"]:
            yield tag("h2", f"Attempt {row['attempt']} ended {row['state']} with")
            yield tag("pre", row["error"], class_="error", tabindex="0", role="region", aria_label="The error")


def _pairs(row: Mapping[str, Any], columns: tuple[str, ...]) -> Iterator[Markup]:
    for name in columns:
        value = row.get(name)
        if value is not None:
            text = value_text(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
            yield tag("div", tag("dt", name.replace("_", " ")), tag("dd", text))


def _classes(row: Mapping[str, Any], tables: StudyTables) -> Iterator[Markup]:
    found = pooled([row.get("test_classes")])
    if found is not None:
        labels = tables.specs["label_names"][-1].as_py() if tables.specs.num_rows else None
        yield by_class.folded("The test split", found, names(labels, len(found.classes)))


def _export(study: str, trial_id: str, uri: str) -> str:
    where = shlex.quote(uri)
    return f"batchscope export {study} --trial {trial_id} -o {trial_id}.keras --summary {where}"


def _links(study: str, row: Mapping[str, Any], trials: pa.Table) -> Iterator[Markup]:
    """Comparisons with its neighbours: other seeds at the same point, and other batch sizes with the same seed."""
    rows = [one for one in query.latest(trials).to_pylist() if one["trial_id"] != row["trial_id"]]
    same = ("optimizer", "dtype", "settings", "phase")
    near = [one for one in rows if all(one[name] == row.get(name) for name in same)]
    seeds = [one for one in near if all(one[name] == row[name] for name in ("global_batch", "learning_rate"))]
    best = sorted(near, key=lambda one: one["best_validation_loss"] or float("inf"))
    batches = {one["global_batch"]: one for one in reversed(best) if one["seed"] == row["seed"]}
    batches.pop(row["global_batch"], None)
    own = f"{study}/{row['trial_id']}"
    for text, others in (("other seeds", seeds), ("other batch sizes", list(batches.values()))):
        if others:
            asked = [own, *(f"{study}/{one['trial_id']}" for one in others[: MOST - 1])]
            yield tag("a", f"Compare with {text}", href=f"/compare?{'&'.join(f'of={one}' for one in asked)}")
            yield Markup(" ")
    yield tag("a", "Compare with the study's best", href=f"/compare?of={own}&of={study}")


def _spec(tables: StudyTables) -> Iterator[Markup]:
    """The spec of its study, key by key."""
    text = tables.specs["spec_json"][-1].as_py() if tables.specs.num_rows else None
    if text:
        pairs = (tag("div", tag("dt", key), tag("dd", value)) for key, value in flat(json.loads(text)).items())
        yield tag("details", tag("summary", "The study's spec"), tag("dl", *pairs, class_="facts"), id="spec")
