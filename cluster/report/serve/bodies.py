"""The JSON of `serve`, as `openapi` describes it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from cluster.report.failed import sentence
from cluster.report.serve.progress import TrialCounts
from cluster.report.serve.reading import Listing, StudyTables
from cluster.report.serve.responses import JSON, Body
from cluster.text import formats
from cluster.text.formats import SCHEMA_VERSION, json_value


def to_json(fields: Mapping[str, Any]) -> Body:
    """The body that is sent for an object."""
    return Body((json.dumps(fields, indent=2) + "\n").encode(), JSON)


def listing(listing: Listing, answers: Mapping[str, str]) -> Body:
    """All studies, with the answers known so far."""
    rows = listing.overview.to_pylist()
    whole = [
        _values(row) | _progress(listing.progress[row["study"]]) | {"answer": answers.get(row["study"])} for row in rows
    ]
    problems = [one.line for one in listing.problems]
    return to_json({"schema_version": SCHEMA_VERSION, "table": "studies", "rows": whole, "problems": problems})


def study(tables: StudyTables) -> Body:
    """One study, without its tables."""
    progress = tables.progress
    return to_json(
        {
            "schema_version": SCHEMA_VERSION,
            "study": progress.study,
            **_progress(progress),
            "running_trials": [_values(dataclasses.asdict(one)) for one in progress.running],
            "specs": [_values(row) for row in tables.specs.to_pylist()],
            "problems": [one.line for one in tables.problems],
        }
    )


def rows(tables: StudyTables, name: str, offset: int, limit: int) -> Body:
    """Some rows of one of a study's tables."""
    whole = tables.tables[name]
    more = {"total": whole.num_rows, "offset": offset}
    return Body(formats.to_json(whole.slice(offset, limit), name=name, more=more).encode(), JSON)


def _progress(progress: TrialCounts) -> dict[str, Any]:
    return {
        "asked": progress.asked,
        "done": progress.done,
        "running": len(progress.running),
        "waiting": progress.waiting,
        "going_on": progress.going_on,
        **{state.lower(): count for state, count in progress.states.items()},
        "cost_usd": progress.cost_usd,
        "running_usd": progress.running_usd,
        "unpriced_attempts": progress.unpriced,
        "why_failed": sentence(progress.failures) or None,
    }


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json_value(value) for name, value in row.items()}
