"""Caveats of the search for learning rates: what the rates tried leave open. Pure."""

import math
from collections.abc import Callable, Iterable
from itertools import chain

from cluster.analysis.cells import Cell, Run
from cluster.analysis.evidence import Caveat, Evidence, batches, ids
from cluster.analysis.reach import reached
from cluster.study.chosen_rates import FITTED, choose

# A rate that reaches the target in less than this part of the updates of the one that is judged is worth a word.
_MUCH_SOONER = 2 / 3


def _edges(evidence: Evidence) -> Iterable[Caveat]:
    cells = [cell for cell in evidence.cells if cell.at_edge]
    for cell in cells:
        end = "lowest" if cell.learning_rate == min(cell.rates) else "highest"
        runs = [run for run in cell.searched if run.row["learning_rate"] == cell.learning_rate]
        text = f"B = {cell.global_batch}: its best learning rate, {cell.learning_rate:g}, is the {end} of those tried"
        yield Caveat(code="rate_at_edge", text=text, trials=ids(runs))


def _unequal_search(evidence: Evidence) -> Iterable[Caveat]:
    counts = {cell.global_batch: len(cell.searched) for cell in evidence.cells}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} at B = {batch}" for batch, count in counts.items())
        text = f"the search for a learning rate had unequal numbers of trials: {listed}"
        trials = chain.from_iterable(ids(cell.searched) for cell in evidence.cells)
        yield Caveat(code="unequal_search", text=text, trials=tuple(trials))


def _one_rate(evidence: Evidence) -> Iterable[Caveat]:
    cells = [cell for cell in evidence.cells if len(cell.rates) < 2]
    if cells:
        text = f"only one learning rate at B = {batches(cells)}: a batch size is judged by the rate it was given"
        yield Caveat(code="one_rate", text=text, trials=ids(run for cell in cells for run in cell.runs))


def _between_rates(evidence: Evidence) -> Iterable[Caveat]:
    """A best rate that no fit improved may be half a step from the true one, which costs a quarter of the curvature."""
    margin, guess = evidence.known.margin, evidence.known.baseline_loss
    tuned = [cell for cell in evidence.cells if cell.tuned and not cell.at_edge]
    kept = [cell for cell in tuned if not (cell.choice and cell.choice.fitted)]
    curves = choose({cell.key: cell.rates for cell in tuned}, FITTED, guess).cells.values()
    curvature = max((one.curvature for one in curves if one.curvature is not None), default=None)
    if kept and margin is not None and curvature is not None and curvature / 4 > margin / 2:
        fits = (evidence.known.spec.get("protocol") or {}).get("rates", FITTED) == FITTED
        text = (
            f"B = {batches(kept)}: the rate is the best of those tried, and one between them may be better by up to "
            f"{curvature / 4:.2g}, which is over half the margin; set "
            f"{'' if fits else 'protocol.rates: fitted, or '}a smaller axes.learning_rate.factor"
        )
        yield Caveat(code="between_rates", text=text, trials=ids(run for cell in kept for run in cell.searched))


def _sooner_at_another_rate(evidence: Evidence) -> Iterable[Caveat]:
    """Rates are tuned for the loss at the end; the target may be reached much sooner at another one."""
    target = evidence.known.target
    found = [(cell, other) for cell in evidence.cells if target is not None and (other := _sooner(cell, target))]
    if found:
        told = ", ".join(
            f"B = {cell.global_batch} at {rate:g} ({part:.2g}x the updates)" for cell, (rate, part) in found
        )
        text = (
            f"in the screen, another rate reached the target much sooner: {told}; what is said about the soonest and "
            "the critical batch is at the rates with the lowest loss at the end"
        )
        yield Caveat(code="sooner_at_another_rate", text=text)


def _sooner(cell: Cell, target: float) -> tuple[float, float] | None:
    """A rate tried that reached the target much sooner than the one nearest to the judged one, and its part."""
    if not cell.tuned or not cell.rates:
        return None
    took = {
        rate: _updates([run for run in cell.searched if run.row["learning_rate"] == rate], target)
        for rate in cell.rates
    }
    nearest = min(cell.rates, key=lambda rate: abs(math.log(rate / cell.learning_rate)))
    quickest = min(took, key=lambda rate: took[rate])
    part = took[quickest] / took[nearest] if math.isfinite(took[nearest]) else 1.0
    return (quickest, part) if part < _MUCH_SOONER else None


def _updates(runs: Iterable[Run], target: float) -> float:
    """The mean updates to the target; inf where a run missed it."""
    found = [one.updates if one.reached else math.inf for one in (reached(run, target) for run in runs)]
    return math.fsum(found) / len(found) if found else math.inf


CHECKS: tuple[Callable[[Evidence], Iterable[Caveat]], ...] = (
    _edges,
    _unequal_search,
    _one_rate,
    _between_rates,
    _sooner_at_another_rate,
)
