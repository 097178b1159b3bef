"""Reads what readers are shown from a summary: the list of studies, one study's tables, its verdict."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from cluster.analysis.verdict import judge
from cluster.report import verdict as words
from cluster.report import verdict_table
from cluster.report.in_a_line import in_a_line
from cluster.report.serve.progress import TrialCounts, progress
from cluster.summary import query
from cluster.summary.problems import Problem
from cluster.summary.store import Summary
from cluster.summary.tables import EVALUATIONS
from trainer.errors import InputError

# The folders of a summary from which a study is shown, and those from which the list is made.
OF_STUDY = ("studies", "trials", "evaluations", "probes", "attempts")
OF_LIST = ("studies", "trials", "attempts")


class NoAnswerError(Exception):
    """There is no answer to a request; the message is for the reader."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All studies at one time: a row of `query.overview` and the progress of each, and the objects left out.

    `marks` change when something of a study has been declared or has ended.
    """

    overview: pa.Table
    progress: Mapping[str, TrialCounts]
    marks: Mapping[str, str]
    problems: Sequence[Problem]


@dataclass(frozen=True, kw_only=True)
class StudyTables:
    """One study at one time: its specs (the newest last), its progress, and the tables that readers ask for by name.

    `problems` describe the objects that are left out of the tables.
    """

    specs: pa.Table
    progress: TrialCounts
    tables: Mapping[str, pa.Table]
    problems: Sequence[Problem]

    @property
    def bytes(self) -> int:
        """The memory that the tables take."""
        return sum(int(table.nbytes) for table in (self.specs, *self.tables.values()))


def version(summary: Summary, folders: Sequence[str], study: str | None) -> str:
    """A version that changes when something is written for a study or for all; rows may be missing, never half."""
    digest = hashlib.sha256()
    for folder in folders:
        found = summary.store.versions(f"{folder}/" if study is None else f"{folder}/study={study}/")
        digest.update("".join(f"{name}\n{mark}\n" for name, mark in sorted(found.items())).encode())
    return digest.hexdigest()


def listing(summary: Summary) -> Listing:
    """All studies of the summary."""
    problems: list[Problem] = []
    summary = summary.also(problems.append)
    specs, trials = query.studies(summary), query.trials(summary)
    overview = query.overview(summary)
    of_each = {name: _of(name, specs, trials) for name in overview["study"].to_pylist()}
    none = EVALUATIONS.empty_table()
    return Listing(
        overview=overview,
        progress={name: _progress(summary, name, *rows, none) for name, rows in of_each.items()},
        marks={name: _mark(*rows) for name, rows in of_each.items()},
        problems=tuple(dict.fromkeys(problems)),
    )


def study_tables(summary: Summary, study: str) -> StudyTables:
    """One study of the summary."""
    problems: list[Problem] = []
    summary = summary.also(problems.append)
    specs, trials = query.studies(summary, study), query.trials(summary, study)
    evaluations, probes = query.evaluations(summary, study), query.probes(summary, study)
    order = [("trial_id", "ascending"), ("attempt", "ascending"), ("update", "ascending")]
    return StudyTables(
        specs=specs,
        progress=_progress(summary, study, specs, trials, evaluations),
        tables={
            "points": query.points(trials),
            "trials": trials.sort_by(order[:2]),
            "evaluations": evaluations.sort_by(order),
            "probes": probes,
        },
        problems=tuple(dict.fromkeys(problems)),
    )


def study_progress(summary: Summary, study: str) -> TrialCounts:
    """The progress of one study.

    Raises:
        NoAnswerError: the study has no spec.
    """
    specs = of_spec(summary, study, "page")
    return _progress(summary, study, specs, query.trials(summary, study), query.evaluations(summary, study))


def verdict(summary: Summary, study: str) -> str:
    """The verdict on one study, as JSON.

    Raises:
        NoAnswerError: the study has no spec.
    """
    specs = of_spec(summary, study, "verdict")
    judged = judge(specs, query.trials(summary, study), query.evaluations(summary, study))
    return verdict_table.to_json(judged, words.sentences(judged))


def answer(summary: Summary, study: str) -> str:
    """The answer of one study in a line."""
    specs = query.with_spec(query.studies(summary, study))
    if not specs.num_rows:
        return "No spec of it is in the summary."
    return in_a_line(judge(specs, query.trials(summary, study), query.evaluations(summary, study)))


def _mark(specs: pa.Table, trials: pa.Table) -> str:
    ends = [pc.max(column).as_py() for column in (trials["ended_at"], specs["started_at"])]
    return f"{specs.num_rows} {trials.num_rows} {ends}"


def of_spec(summary: Summary, study: str, what: str) -> pa.Table:
    """The specs of a study, from which `what` is made.

    Raises:
        NoAnswerError: it has none.
    """
    try:
        return query.specs(summary, study)
    except InputError:
        raise NoAnswerError(f"this study has no spec in the summary, and so no {what}") from None


def _of(study: str, specs: pa.Table, trials: pa.Table) -> tuple[pa.Table, pa.Table]:
    return specs.filter(pc.field("study") == study), trials.filter(pc.field("study") == study)


def _progress(summary: Summary, study: str, specs: pa.Table, trials: pa.Table, evaluations: pa.Table) -> TrialCounts:
    now = datetime.now(UTC)
    without = progress(study, specs, trials, evaluations, [], now)
    # Finding the begun attempts takes another listing, and a finished study has none.
    begun = summary.lost_attempts(study) if without.going_on else []
    return progress(study, specs, trials, evaluations, begun, now) if begun else without
