"""The notice of a study's end, for a webhook or a program: its name, how it ended, and its answer in one line."""

import html
from typing import Any

from cluster.analysis.verdict import judge
from cluster.report.verdict import sentences
from cluster.study.spec import StudySpec
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.text.formats import SCHEMA_VERSION
from cluster.text.masked import masked
from cluster.text.visible import visible
from trainer.errors import UserError, brief

CHARACTERS = 500
_ENDS = {
    "completed": "is finished",
    "failed_trials": "ended with failed trials",
    "out_of_budget": "stopped: its budget is spent",
    "stopped": "was stopped, and can go on",
    "refused": "was refused by its check",
    "error": "ended with an error",
}


def notice(spec: StudySpec, outcome: str, problem: str | None) -> dict[str, Any]:
    """The notice; `problem` is the error that ended the study. `text` is what chat services show."""
    line = visible(brief(masked(problem), CHARACTERS)) if problem is not None else headline(spec)
    return {
        "schema_version": SCHEMA_VERSION,
        "study": spec.study,
        "outcome": outcome,
        "headline": line,
        # Chat services take markup in it, and the line may quote an error of somebody's code.
        "text": html.escape(f"{spec.study} {_ENDS[outcome]}. {line}", quote=False),
    }


def headline(spec: StudySpec) -> str:
    """The first sentence of the study's verdict."""
    try:
        found = Summary(spec.summary, note=lambda _: None)
        tables = query.specs(found, spec.study), query.trials(found, spec.study), query.evaluations(found, spec.study)
    except UserError:
        return "Its results cannot be read from here."
    return visible(brief(sentences(judge(*tables))[0], CHARACTERS))
