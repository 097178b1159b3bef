"""What a page is made from: a study's tables, its verdict, and the cells behind each group of the verdict."""

import re
from dataclasses import dataclass

import pyarrow as pa

from cluster.analysis.asked import specs_of
from cluster.analysis.cells import Cell, cells_of
from cluster.analysis.verdict import GroupVerdict, Verdict, judge
from cluster.report.page import palette
from cluster.study.cell import group_of
from cluster.summary import query
from cluster.summary.problems import Problem
from cluster.summary.scan import study_of
from cluster.summary.store import Summary


@dataclass(frozen=True, kw_only=True)
class Group:
    """One of a verdict's groups, and its cells by global batch. `suffix` makes names distinct if there are several."""

    verdict: GroupVerdict
    cells: tuple[Cell, ...]
    suffix: str

    @property
    def heading(self) -> str:
        """What tells it from the other groups; empty for a single one."""
        return self.verdict.name if self.suffix else ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A study as it is now; `colours` maps each global batch to its place in the palette.

    `trials` are those of all experiments under the study's name, `newest` those of the experiment that the study asks
    for now. `problems` describe the objects of the summary that are left out.
    """

    study: str
    specs: pa.Table
    trials: pa.Table
    newest: pa.Table
    evaluations: pa.Table
    verdict: Verdict
    groups: tuple[Group, ...]
    colours: dict[int, int]
    task: str | None
    asked: int | None
    problems: tuple[Problem, ...]

    @property
    def perplexity(self) -> bool:
        """Whether the losses are those of a language model, for which perplexity is more familiar to readers."""
        return self.task == "language_model"


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
    return Facts(
        study=study,
        specs=specs,
        trials=trials,
        newest=newest,
        evaluations=evaluations,
        verdict=verdict,
        groups=tuple(_group(one, cells, several=len(verdict.groups) > 1) for one in verdict.groups),
        colours=palette.index([cell.global_batch for cell in cells]),
        task=query.task(summary, study),
        asked=asked,
        problems=tuple(one for one in dict.fromkeys(problems) if study_of(one.name) in (None, study)),
    )


def _group(verdict: GroupVerdict, cells: tuple[Cell, ...], *, several: bool) -> Group:
    group = verdict.optimizer, verdict.dtype, verdict.settings
    own = tuple(cell for cell in cells if group_of(cell.key) == group)
    suffix = re.sub(r"[^A-Za-z0-9.]+", "-", f"-{verdict.name}") if several else ""
    return Group(verdict=verdict, cells=own, suffix=suffix)
