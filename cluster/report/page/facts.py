"""What a page is made from: a study's tables, its verdict, and the cells behind each group of the verdict."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cluster.analysis.asked import specs_of
from cluster.analysis.cells import Cell, cells_of
from cluster.analysis.verdict import GroupVerdict, Verdict, judge
from cluster.report.page import palette
from cluster.report.page.look import Look
from cluster.report.page.recorded import Recorded, of_trials, recorded
from cluster.study.cell import cell_of_row, group_of
from cluster.summary import query
from cluster.summary.problems import Problem
from cluster.summary.scan import study_of
from cluster.summary.store import Summary
from cluster.summary.tables import AXES


@dataclass(frozen=True, kw_only=True)
class Group:
    """One of a verdict's groups, its cells by global batch, and all its trials that have evaluations.

    `suffix` makes names distinct if there are several groups.
    """

    verdict: GroupVerdict
    cells: tuple[Cell, ...]
    trials: tuple[Recorded, ...]
    suffix: str

    @property
    def heading(self) -> str:
        """What tells it from the other groups; empty for a single one."""
        return self.verdict.name if self.suffix else ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A study as it is now; `colours` maps each global batch to its place in the palette.

    `trials` are those of all experiments under the study's name, `newest` those of the experiment that the study asks
    for now. `early` are the running trials that belong to no group, since nothing of theirs has ended yet. `problems`
    describe the objects of the summary that are left out.
    """

    study: str
    specs: pa.Table
    trials: pa.Table
    newest: pa.Table
    evaluations: pa.Table
    verdict: Verdict
    groups: tuple[Group, ...]
    early: tuple[Recorded, ...]
    colours: dict[int, int]
    task: str | None
    asked: int | None
    problems: tuple[Problem, ...]

    @property
    def perplexity(self) -> bool:
        """Whether the losses are those of a language model, for which perplexity is more familiar to readers."""
        return self.task == "language_model"

    @property
    def look(self) -> Look:
        """How its curves look."""
        target = self.verdict.declared.target
        return Look(study=self.study, task=self.task, target=target, colours=self.colours)


def read(summary: Summary, study: str) -> Facts:
    """The facts of one study, which may be running.

    Raises:
        InputError: there is no such study, or it has no spec.
    """
    problems: list[Problem] = []
    summary = summary.also(problems.append)
    asked = query.asked(summary, study)
    specs = query.specs(summary, study)
    trials, evaluations = query.trials(summary, study), query.evaluations(summary, study)
    verdict = judge(specs, trials, evaluations)
    newest = query.newest(trials, specs)
    cells = cells_of(newest, evaluations, specs_of(specs, newest))
    running = _running(summary, study, newest, asked)
    of_trial = of_trials(evaluations)
    groups = tuple(_group(one, cells, running, of_trial, several=len(verdict.groups) > 1) for one in verdict.groups)
    known = {(group.verdict.optimizer, group.verdict.dtype, group.verdict.settings) for group in groups}
    early = [row for row in running if group_of(cell_of_row(row)) not in known]
    return Facts(
        study=study,
        specs=specs,
        trials=trials,
        newest=newest,
        evaluations=evaluations,
        verdict=verdict,
        groups=groups,
        early=recorded([], early, of_trial),
        colours=palette.index([*(cell.global_batch for cell in cells), *(row["global_batch"] for row in running)]),
        task=query.task(summary, study),
        asked=asked,
        problems=tuple(one for one in dict.fromkeys(problems) if study_of(one.name) in (None, study)),
    )


def _running(summary: Summary, study: str, newest: pa.Table, asked: int | None) -> list[dict[str, Any]]:
    """The attempts that have begun and not ended, of a study that is not finished: another has none."""
    if asked is not None and query.finished(newest).num_rows >= asked:
        return []
    # Older markers have no settings.
    rows = [{"settings": None, **row} for row in summary.lost_attempts(study)]
    return [row for row in rows if None not in [row.get(name) for name in AXES]]


def _group(
    verdict: GroupVerdict,
    cells: tuple[Cell, ...],
    running: Sequence[Mapping[str, Any]],
    of_trial: Mapping[str, Any],
    *,
    several: bool,
) -> Group:
    group = verdict.optimizer, verdict.dtype, verdict.settings
    own = tuple(cell for cell in cells if group_of(cell.key) == group)
    suffix = re.sub(r"[^A-Za-z0-9.]+", "-", f"-{verdict.name}") if several else ""
    begun = [row for row in running if group_of(cell_of_row(row)) == group]
    return Group(verdict=verdict, cells=own, trials=recorded(own, begun, of_trial), suffix=suffix)
