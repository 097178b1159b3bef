"""What is compared: a study by its best batch size, or a single trial, each with its curve, results and settings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from cluster.analysis.figures import CellVerdict
from cluster.report.duration import duration
from cluster.report.in_a_line import in_a_line
from cluster.report.page.facts import read
from cluster.report.page.recorded import MEANT, RUNNING, Recorded, of_trials
from cluster.report.page.scales import value_text
from cluster.report.serve.config import flat
from cluster.report.serve.reading import NoAnswerError, StudyTables
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.tables import AXES

# Of a spec, what places it and does not change a number.
_NO_SETTINGS = frozenset({"study", "summary", "description", "tags"})


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of those that are compared; `trials` are what its curve is made of."""

    name: str
    address: str
    task: str | None
    config: Mapping[str, str]
    results: Mapping[str, str]
    trials: tuple[Recorded, ...]

    @property
    def bytes(self) -> int:
        """About the memory that it takes."""
        return sum(values.nbytes for one in self.trials for values in one.evaluations.values()) + 2**14


def of_study(summary: Summary, study: str) -> Side:
    """A study by the batch size with the lowest mean loss of those from which something may be concluded, or of all."""
    facts = read(summary, study)
    spec = json.loads(facts.specs["spec_json"][-1].as_py())
    cells = [(group, cell) for group in facts.groups for cell in group.verdict.cells if cell.loss is not None]
    known = [pair for pair in cells if pair[1].usable] or cells
    results = {"answer": in_a_line(facts.verdict)}
    trials: tuple[Recorded, ...] = ()
    if known:
        group, cell = min(known, key=lambda pair: pair[1].loss.mean if pair[1].loss else 0.0)
        trials = tuple(one for one in group.trials if one.kind == MEANT and one.batch == cell.global_batch)
        results |= _of_cell(cell)
    return Side(
        name=study,
        address=f"/studies/{study}",
        task=facts.task,
        config={key: value for key, value in flat(spec).items() if key not in _NO_SETTINGS},
        results=results,
        trials=trials,
    )


def _of_cell(cell: CellVerdict) -> dict[str, str]:
    found: dict[str, str | None] = {
        "global batch": f"{cell.global_batch}",
        "learning rate": f"{cell.learning_rate:.3g}",
        "runs": f"{cell.completed}",
        "best validation loss, mean": value_text(cell.loss.mean) if cell.loss else None,
        "test accuracy, mean": f"{cell.test_accuracy.mean:.1%}" if cell.test_accuracy else None,
        "a run takes": duration(cell.seconds) if cell.seconds is not None else None,
        "rows/s": f"{cell.examples_per_second:,.0f}" if cell.examples_per_second else None,
        "memory, at most": f"{cell.peak_memory_bytes / 2**30:.2f} GiB" if cell.peak_memory_bytes else None,
    }
    return {name: text for name, text in found.items() if text is not None}


def of_trial(study: str, tables: StudyTables, trial_id: str) -> Side:
    """One trial of a study.

    Raises:
        NoAnswerError: there is no such trial.
    """
    row, recorded = trial_of(tables, trial_id)
    spec = json.loads(tables.specs["spec_json"][-1].as_py() or "{}") if tables.specs.num_rows else {}
    axes = {
        name: f"{row[name]}" for name in (*AXES, "settings", "budget", "evaluate_every") if row.get(name) is not None
    }
    kept = {
        key: value for key, value in flat(spec).items() if not key.startswith(("axes.", "budget", "evaluate_every"))
    }
    results = {
        "state": row.get("state") or "running",
        "best validation loss": value_text(row.get("best_validation_loss")),
        "test accuracy": f"{row['test_accuracy']:.1%}" if row.get("test_accuracy") is not None else "-",
        "updates": f"{row.get('updates') or 0:,}",
        "training": duration(row["seconds_training"]) if row.get("seconds_training") else "-",
        "rows/s": f"{row['examples_per_second']:,.0f}" if row.get("examples_per_second") else "-",
    }
    return Side(
        name=f"{study}, trial {trial_id}",
        address=f"/studies/{study}/trials/{trial_id}",
        task=tables.specs["task"][-1].as_py() if tables.specs.num_rows else None,
        config=axes | {key: value for key, value in kept.items() if key not in _NO_SETTINGS},
        results=results,
        trials=(recorded,) if recorded else (),
    )


def trial_of(tables: StudyTables, trial_id: str) -> tuple[dict[str, Any], Recorded | None]:
    """A trial's newest row, or what is known of it while it runs; and its evaluations, if there are any.

    Raises:
        NoAnswerError: there is no such trial.
    """
    trials, evaluations = tables.tables["trials"], tables.tables["evaluations"]
    rows = query.latest(trials.filter(pc.equal(trials["trial_id"], trial_id))).to_pylist()
    running = [one for one in tables.progress.running if one.trial_id == trial_id]
    if not rows and not running:
        raise NoAnswerError("there is no such trial in this study: its page lists them")
    row = {**(rows[0] if rows else {}), **(vars(running[0]) | {"state": None} if running else {})}
    curve = of_trials(evaluations.filter(pc.equal(evaluations["trial_id"], trial_id))).get(trial_id)
    batch = row["global_batch"]
    kind = RUNNING if running else MEANT
    return row, Recorded(kind=kind, batch=batch, curve=batch, evaluations=curve) if curve else None
