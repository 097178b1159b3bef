"""Quality: the losses of each cell against those of its group's reference, paired by seed, with five outcomes. Pure.

    equivalent     shown to differ by less than the margin (two one-sided tests)
    worse, better  shown to differ, and the measured difference is at least the margin
    undecided      neither so far
    unreliable     not worse, but a planned run diverged, so that the survivors make the cell look better than it is

Each claim is wrong in at most 5 % of studies, over all looks and all comparisons of a study (`cluster.study.looks`). A
difference that is real but smaller than the margin does not matter, as the user declared. One that is real and about as
large as the margin is undecided, and `differs` says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cluster.analysis.asked import Specs
from cluster.analysis.cells import Cell
from cluster.analysis.paired import interval
from cluster.study.cell import CellKey, GroupKey, group_of
from cluster.study.comparing import Confirmed, differences, references
from cluster.study.looks import NONE, Decision, Looks, decide, looks_of

Outcome = Literal["equivalent", "worse", "better", "undecided", "unreliable"]


@dataclass(frozen=True, kw_only=True)
class OnTest:
    """The same comparison on the test split, which nothing was chosen by: the mean difference and its 90 % interval."""

    difference: float
    low90: float
    high90: float


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A cell's losses minus the reference's: the mean, its 95 % and 90 % intervals, and the outcome.

    They are those of the look that decided or, if none did, of the last one. `pairs` is the number of seeds that
    completed in both cells; `deviation` is that of the differences. `seeds` is the number of seeds of that look (0:
    there was no look yet, and the figures are of what has ended) and `most_seeds` that of the last look declared. The
    p-values are adjusted for looks and comparisons. `differs` is true if a difference from zero is shown.
    """

    global_batch: int
    difference: float
    low95: float | None
    high95: float | None
    low90: float | None
    high90: float | None
    deviation: float | None
    pairs: int
    seeds: int
    most_seeds: int
    p_different: float
    p_equivalent: float
    differs: bool
    outcome: Outcome
    on_test: OnTest | None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """All comparisons of a study: the reference of each group, and the quality of each cell that has two pairs.

    `cells` are the study's cells with `planned` reduced to what their looks want so far.
    """

    cells: tuple[Cell, ...]
    references: Mapping[GroupKey, CellKey]
    qualities: Mapping[CellKey, Quality]


def compare(cells: Sequence[Cell], specs: Specs, margin: float | None) -> Compared:
    """The comparisons of a study's cells by the looks that its spec declared; without a margin, none is equivalent."""
    order, compared = _order(cells, specs), _comparable(cells)
    confirmed = {key: _confirmed(cell, order) for key, cell in compared.items()}
    return against(
        cells, references(confirmed, {key: cell.screen_loss for key, cell in compared.items()}), specs, margin
    )


def against(
    cells: Sequence[Cell], references: Mapping[GroupKey, CellKey], specs: Specs, margin: float | None
) -> Compared:
    """The comparisons with these references."""
    order, compared = _order(cells, specs), _comparable(cells)
    rule = specs.counting.looks
    confirmed = {key: _confirmed(cell, order) for key, cell in compared.items()}
    apart = differences(confirmed, references) if rule != NONE else _all_so_far(confirmed, references)
    looks = looks_of(rule, len(order)) if order else Looks((), ())
    decisions = decide(apart, margin, looks)
    wants = _seeds_wanted(decisions, references, looks)
    return Compared(
        cells=tuple(_with_planned(cell, order, wants.get(cell.key, looks.seeds[0] if order else 0)) for cell in cells),
        references=references,
        qualities={
            key: _quality(compared[key], compared[references[group_of(key)]], apart[key], decision, order)
            for key, decision in decisions.items()
            if len(_known(apart[key], decision)) > 1
        },
    )


def _comparable(cells: Sequence[Cell]) -> dict[CellKey, Cell]:
    return {cell.key: cell for cell in cells if cell.tuned and not cell.at_edge and len(cell.rates) > 1}


def _order(cells: Sequence[Cell], specs: Specs) -> tuple[int, ...]:
    """The seeds that confirm, in the order of the looks."""
    return specs.seeds_in_order({run.seed for cell in _comparable(cells).values() for run in cell.searched})


def _confirmed(cell: Cell, order: Sequence[int]) -> Confirmed:
    """The losses of a cell's confirmations in this order of seeds, as `cluster.study.comparing` takes them."""
    losses = dict.fromkeys((run.seed for run in cell.unanswered), math.nan)
    losses |= {run.seed: math.nan if run.lacks_evaluations else run.best_loss() for run in cell.runs}
    return tuple(losses.get(seed) for seed in order)


def _all_so_far(
    confirmed: Mapping[CellKey, Confirmed], references: Mapping[GroupKey, CellKey]
) -> dict[CellKey, tuple[float | None, ...]]:
    """The differences of a study without looks: it is judged by whatever has ended, as if the rest had no loss."""
    ended = {key: tuple(math.nan if loss is None else loss for loss in losses) for key, losses in confirmed.items()}
    return differences(ended, references)


def _known(apart: Sequence[float | None], decision: Decision) -> list[float]:
    return [value for value in apart[: decision.seeds or None] if value is not None]


def _seeds_wanted(
    decisions: Mapping[CellKey, Decision], references: Mapping[GroupKey, CellKey], looks: Looks
) -> dict[CellKey, int]:
    """How many seeds each compared cell and reference wants so far: up to the look that decided, or the next one."""

    def wanted(decision: Decision) -> int:
        if decision.claim is not None:
            return decision.seeds
        return next((look for look in looks.seeds if look > decision.seeds), looks.seeds[-1])

    found = {key: wanted(decision) for key, decision in decisions.items()}
    for group, reference in references.items():
        found[reference] = max((n for key, n in found.items() if group_of(key) == group), default=looks.seeds[0])
    return found


def _with_planned(cell: Cell, order: Sequence[int], wanted: int) -> Cell:
    """The cell with the seeds that it wants so far, and those that it has."""
    if not cell.tuned:
        return cell
    there = {run.seed for run in (*cell.runs, *cell.unanswered)}
    later = set(order[wanted:])
    return replace(cell, planned=tuple(seed for seed in cell.planned if seed in there or seed not in later))


def _quality(
    cell: Cell,
    reference: Cell,
    apart: Sequence[float | None],
    decision: Decision,
    order: Sequence[int],
) -> Quality:
    known = _known(apart, decision)
    wide, narrow = interval(known, 0.95), interval(known, 0.90)
    return Quality(
        global_batch=cell.global_batch,
        difference=wide.mean,
        low95=wide.low,
        high95=wide.high,
        low90=narrow.low,
        high90=narrow.high,
        deviation=wide.deviation,
        pairs=wide.pairs,
        seeds=decision.seeds,
        most_seeds=len(order),
        p_different=decision.p_different,
        p_equivalent=decision.p_equivalent,
        differs=decision.differs,
        outcome=_outcome(decision, wide.mean, reliable=cell.reliable),
        on_test=_on_test(cell, reference, order[: decision.seeds or None]),
    )


def _outcome(decision: Decision, mean: float, *, reliable: bool) -> Outcome:
    if decision.claim == "different" and mean > 0:
        return "worse"
    if not reliable:
        return "unreliable"
    if decision.claim == "different":
        return "better"
    return decision.claim or "undecided"


def _on_test(cell: Cell, reference: Cell, seeds: Sequence[int]) -> OnTest | None:
    """The comparison on the test split; None where fewer than two pairs have a test loss."""
    losses = [
        {run.seed: run.row["test_loss"] for run in one.runs if run.completed and run.row["test_loss"] is not None}
        for one in (cell, reference)
    ]
    apart = [losses[0][seed] - losses[1][seed] for seed in seeds if seed in losses[0] and seed in losses[1]]
    if len(apart) < 2 or not all(map(math.isfinite, apart)):
        return None
    found = interval(apart, 0.90)
    assert found.low is not None
    assert found.high is not None
    return OnTest(difference=found.mean, low90=found.low, high90=found.high)
