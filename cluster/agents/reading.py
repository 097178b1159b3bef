"""What the tools read: a study's verdict, claims about it, its rows, its failures and the study that follows.

Nothing is written or started, except the boxed process that answers SQL. Texts of our own never hold the words of
others: errors, data and names of people are fields of their own.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from cluster.agents import answers
from cluster.agents.bounded import cut, first_items, page
from cluster.analysis.failures import NONE, failures
from cluster.analysis.follow_up import NoFollowUp, follow_up
from cluster.analysis.verdict import GroupVerdict, Verdict, judge
from cluster.report import verdict as words
from cluster.report import verdict_table
from cluster.report.answer import recommended
from cluster.report.claims import parse_claim, rulings
from cluster.report.follow_up import file_text, what_it_decides, why_none
from cluster.summary import query
from cluster.summary.problems import Problem
from cluster.summary.store import Summary
from cluster.text.formats import SCHEMA_VERSION, json_value
from trainer.errors import InputError

Answer = TypeVar("Answer")
NEXT_FILE = "next.yaml"
# What the axes of a study's settings are called by; anything else is quoted in sentences.
_SETTINGS = re.compile(r"[\w.=,+ -]{0,200}")
_COMPARISON = ("global_batch", "outcome", "difference", "low95", "high95", "low90", "high90", "pairs", "p_different")


def heard(uri: str, read: Callable[[Summary, list[Problem]], Answer]) -> Answer:
    """What `read` returns of the summary at `uri`; it is given a list to which problems are added."""
    problems: list[Problem] = []
    return read(Summary(uri, note=problems.append), problems)


def lines(problems: Sequence[Problem]) -> list[str]:
    """Problems of a summary as an answer lists them."""
    return [cut(problem.line) for problem in dict.fromkeys(problems)]


def studies(summary: Summary) -> pa.Table:
    """All studies, the newest first."""
    return query.overview(summary).sort_by([("started_at", "descending"), ("study", "ascending")])


def points(summary: Summary, study: str, by: Sequence[str] | None, where: str | None) -> pa.Table:
    """The points of a study, as `batchscope results STUDY` has them."""
    query.asked(summary, study)
    return query.points(query.trials(summary, study), by=by, where=where)


def sql(summary: Summary, text: str, study: str | None) -> pa.Table:
    """The boxed answer to a SELECT."""
    if study is not None:
        query.asked(summary, study)
    return query.sql(summary, text, study)


def rows(table: pa.Table, name: str, problems: Sequence[Problem], *, offset: int, limit: int) -> answers.RowsAnswer:
    """A page of a table."""
    shown, next_offset = page(table, offset, limit)
    return answers.RowsAnswer(
        schema_version=SCHEMA_VERSION,
        table=name,
        total=table.num_rows,
        offset=offset,
        next_offset=next_offset,
        rows=shown,
        problems=lines(problems),
    )


def verdict(summary: Summary, study: str, problems: Sequence[Problem]) -> answers.VerdictAnswer:
    """What a study shows, and what it cannot."""
    found = _judged(summary, study)
    told = dataclasses.replace(found, failures=NONE, groups=tuple(map(_quoted, found.groups)))
    groups = told.groups
    sentences = words.sentences(told)
    if found.failures.failed and not groups:
        sentences = [f"Nothing can be said: {found.failures.failed} trials failed; the tool `failures` has the errors."]
    shown, left_out = first_items(
        sentences=sentences,
        cannot_say=[words.labelled(told, group, one.text) for group in groups for one in group.cannot],
        cautions=[words.labelled(told, group, one.text) for group in groups for one in group.caveats],
        use=[_use(group, best) for group in groups if (best := recommended(group)) is not None],
        comparisons=[_comparison(group, one) for group in groups for one in group.qualities],
        cells=[json_value(row) for row in verdict_table.table(told).to_pylist()],
    )
    return answers.VerdictAnswer(
        schema_version=SCHEMA_VERSION,
        study=study,
        margin=found.declared.margin,
        target=found.declared.target,
        trials=found.failures.trials,
        failed=found.failures.failed,
        left_out=left_out,
        problems=lines(problems),
        **shown,
    )


def claims(summary: Summary, study: str, texts: Sequence[str], problems: Sequence[Problem]) -> answers.ClaimsAnswer:
    """What the verdict answers to claims, as `batchscope results STUDY --assert CLAIM`."""
    if not 1 <= len(texts) <= 50:
        raise InputError(f"{len(texts)} claims: give 1 to 50")
    parsed = [parse_claim(text) for text in texts]
    found = _judged(summary, study)
    told = dataclasses.replace(found, groups=tuple(map(_quoted, found.groups)))
    answered = rulings(told, parsed)
    return answers.ClaimsAnswer(
        schema_version=SCHEMA_VERSION,
        study=study,
        holds=all(one.answer == "true" for one in answered),
        margin=found.declared.margin,
        claims=[dataclasses.asdict(one) for one in answered],
        problems=lines(problems),
    )


def next_study(summary: Summary, study: str, problems: Sequence[Problem]) -> answers.NextAnswer:
    """The study that decides what one left undecided, as `batchscope next` writes it."""
    query.asked(summary, study)
    tables = query.specs(summary, study), query.trials(summary, study), query.evaluations(summary, study)
    found = follow_up(*tables, taken=query.names(summary))
    if isinstance(found, NoFollowUp):
        return answers.NextAnswer(
            schema_version=SCHEMA_VERSION,
            study=study,
            code=found.code,
            why=why_none(found, study),
            margin=None,
            trainings=[],
            seconds=[],
            study_yaml=None,
            problems=lines(problems),
        )
    found = dataclasses.replace(found, spec=found.spec.model_copy(update={"summary": summary.uri}))
    return answers.NextAnswer(
        schema_version=SCHEMA_VERSION,
        study=study,
        code="study",
        why=" ".join(what_it_decides(found)),
        margin=found.margin,
        trainings=list(found.trainings),
        seconds=list(found.seconds or ()),
        study_yaml=file_text(found, file=NEXT_FILE),
        problems=lines(problems),
    )


def failed(summary: Summary, study: str, problems: Sequence[Problem]) -> answers.FailuresAnswer:
    """How a study's trials ended, and the errors of those that failed."""
    asked = query.asked(summary, study)
    trials = query.newest(query.trials(summary, study), query.studies(summary, study))
    found, states = failures(trials, asked), query.states(trials)
    shown, _ = first_items(causes=[{"error": one.text, "trials": one.trials} for one in found.causes])
    return answers.FailuresAnswer(
        schema_version=SCHEMA_VERSION,
        study=study,
        asked=asked,
        ended=states.pop("trials"),
        states=states,
        failed=found.failed,
        causes_total=len(found.causes),
        running_or_lost=len(summary.lost_attempts(study)),
        problems=lines(problems),
        **shown,
    )


def _judged(summary: Summary, study: str) -> Verdict:
    query.asked(summary, study)
    return judge(query.specs(summary, study), query.trials(summary, study), query.evaluations(summary, study))


def _quoted(group: GroupVerdict) -> GroupVerdict:
    """The group with its settings quoted, if they are not as a study writes them."""
    known = _SETTINGS.fullmatch(group.settings)
    return group if known else dataclasses.replace(group, settings=json.dumps(cut(group.settings)))


def _use(group: GroupVerdict, best: int) -> dict[str, Any]:
    [rate] = [cell.learning_rate for cell in group.cells if cell.global_batch == best]
    return {"group": group.name, "global_batch": best, "learning_rate": rate}


def _comparison(group: GroupVerdict, one: Any) -> dict[str, Any]:
    figures = {name: getattr(one, name) for name in _COMPARISON}
    return {"group": group.name, "reference": group.reference, **json_value(figures)}
