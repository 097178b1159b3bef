"""The verdict on a study, as data: what its runs show about its batch sizes, what they cannot show, and why. Pure.

Conclusions come only from cells whose rate was tuned on other seeds, lies inside those tried, and was confirmed on
three seeds or more. Every claim is controlled for the whole study: quality by `cluster.study.looks`, the soonest by
`cluster.analysis.soonest`. A batch size with a diverged confirmation can only be found worse, because its survivors
make it look better than it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from cluster.analysis.arms import Arm, arms_of, ranking_depends
from cluster.analysis.asked import specs_of
from cluster.analysis.caveats import caveats
from cluster.analysis.cells import Cell, cells_of
from cluster.analysis.declared import Declared, declared
from cluster.analysis.evidence import Caveat, Evidence
from cluster.analysis.failures import Failures, failures
from cluster.analysis.figures import CellVerdict, figures
from cluster.analysis.learnt import groups_without_learning, guess_of
from cluster.analysis.next_step import NextStep, next_step
from cluster.analysis.quality import Compared, Quality, compare
from cluster.analysis.reach import MEASURES, CellReach, reach
from cluster.analysis.refusals import Cannot, nothing_shown, refusals, usable
from cluster.analysis.scaling import Scaling, scaling
from cluster.analysis.soonest import Soonest, soonest
from cluster.analysis.untuned import Untuned, untuned
from cluster.study.cell import group_of
from cluster.summary import query

SCHEMA_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class GroupVerdict:
    """The verdict on the batch sizes of one optimizer and dtype, and of one value of the axes of its settings.

    `reference` is the batch size with which the others are compared. `arms` are the batch sizes at equal updates,
    examples and seconds, and `ranking_depends` says whether the best one is shown to depend on which of them is equal.
    If `nothing_learnt` (see `cluster.analysis.learnt`), nothing is compared.
    """

    optimizer: str
    dtype: str
    settings: str
    reference: int | None
    cells: tuple[CellVerdict, ...]
    qualities: tuple[Quality, ...]
    arms: tuple[Arm, ...]
    ranking_depends: bool
    soonest: tuple[Soonest, ...]
    scaling: Scaling
    untuned: Untuned | None
    next_step: NextStep | None
    caveats: tuple[Caveat, ...]
    cannot: tuple[Cannot, ...]
    nothing_learnt: bool

    @property
    def name(self) -> str:
        """What tells it from the other groups of a study."""
        return ", ".join(filter(None, (self.optimizer, self.dtype, self.settings)))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on a study; `declared` holds the target and margin that it is judged by."""

    schema_version: int
    study: str
    declared: Declared
    failures: Failures
    groups: tuple[GroupVerdict, ...]


def judge(studies: pa.Table, trials: pa.Table, evaluations: pa.Table) -> Verdict:
    """The verdict on one study, from its rows in the three tables; the study may still be running or have failed.

    It covers the trials that the newest spec asks for: those of an earlier budget, say, belong to another experiment.
    """
    whole = specs_of(studies, trials)
    trials = query.newest(trials, studies)
    specs = specs_of(studies, trials)
    known = declared(specs, trials, whole)
    compared = compare(cells_of(trials, evaluations, specs), specs, known.margin)
    idle = groups_without_learning(trials, guess_of(known.baseline_loss, known.best_constant_loss))
    groups = groupby(compared.cells, lambda cell: group_of(cell.key))
    return Verdict(
        schema_version=SCHEMA_VERSION,
        study=studies["study"][-1].as_py(),
        declared=known,
        failures=failures(trials, studies["trials"][-1].as_py()),
        groups=tuple(_group(tuple(cells), compared, known, learnt=group not in idle) for group, cells in groups),
    )


def _group(cells: Sequence[Cell], compared: Compared, known: Declared, *, learnt: bool) -> GroupVerdict:
    reaches = {cell.global_batch: there for cell in cells if (there := _reach(cell, known.target)) is not None}
    speaking = [cell for cell in cells if usable(cell)] if learnt else []
    judged = {cell.global_batch for cell in speaking}
    reference = compared.references.get(group_of(cells[0].key))
    judges = learnt and reference is not None and reference[0] in judged and not known.stops_at_target
    whole = [compared.qualities[cell.key] for cell in speaking if cell.key in compared.qualities] if judges else []
    arms = arms_of(speaking) if judges else ()
    return GroupVerdict(
        optimizer=cells[0].optimizer,
        dtype=cells[0].dtype,
        settings=cells[0].settings,
        reference=reference[0] if reference and reference[0] in judged else None,
        cells=tuple(figures(cell, reaches.get(cell.global_batch), learnt=learnt) for cell in cells),
        qualities=tuple(whole),
        arms=arms,
        ranking_depends=ranking_depends(speaking, arms),
        soonest=_soonest(speaking, reaches),
        scaling=scaling(speaking, reaches, known.spec.get("schedule", "constant")),
        untuned=untuned(cells, known.spec.get("axes", {}).get("learning_rate"), known.margin) if learnt else None,
        next_step=next_step(whole, cells, reference[0] if reference else None, known.margin),
        caveats=caveats(Evidence(cells=cells, reaches=reaches, known=known)),
        cannot=(*([] if learnt else [nothing_shown(known)]), *refusals(cells, reaches, known)),
        nothing_learnt=not learnt,
    )


def _reach(cell: Cell, target: float | None) -> CellReach | None:
    return None if target is None else reach(cell, target)


def _soonest(cells: Sequence[Cell], reaches: Mapping[int, CellReach]) -> tuple[Soonest, ...]:
    """The soonest in each measure, of the cells without a diverged run, whose survivors may be quick by chance."""
    trusted = {
        cell.global_batch: reaches[cell.global_batch]
        for cell in cells
        if usable(cell) and cell.reliable and cell.global_batch in reaches
    }
    return tuple(found for measure in MEASURES if (found := soonest(trusted, measure)) is not None)
