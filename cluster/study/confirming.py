"""Which confirmations a study wants: the seeds of each look, of the cells that are not decided yet. Pure.

All cells are confirmed up to the first look. A cell that is decided stops; the reference of a group goes on as long as
another cell of the group does. A cell whose best rate is at an edge supports no conclusion, so it stops there too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from cluster.study.cell import CellKey, group_of
from cluster.study.comparing import differences, references
from cluster.study.looks import Looks, decide
from trainer.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Confirming:
    """What is confirmed, and what is known so far.

    `cells` has a trial of each cell, at the rate to be confirmed and on any seed; `seeds` are all that may confirm.
    `losses` are the best validation losses by trial_id, inf for a trial that ended without one. Cells that are not
    among `screen_losses` cannot be compared.
    """

    cells: Mapping[CellKey, TrialSpec]
    seeds: Sequence[int]
    losses: Mapping[str, float]
    screen_losses: Mapping[CellKey, float]
    margin: float | None
    looks: Looks


def confirming_seeds(seeds: Iterable[int], taken: Iterable[int]) -> dict[int, int]:
    """The seed that confirms for each seed of the axis: the seed itself or, if it is `taken`, the next free one."""
    seeds, taken = dict.fromkeys(seeds), set(taken)
    free = (seed for seed in count(max(seeds, default=0) + 1) if seed not in taken)
    return {seed: next(free) if seed in taken else seed for seed in seeds}


def confirmations(asked: Confirming) -> tuple[tuple[TrialSpec, ...], bool]:
    """The confirmations wanted so far, in order, and whether missing answers may lead to further ones."""
    found: dict[TrialSpec, None] = {}
    cells, ends = asked.cells, asked.looks.seeds
    going_on = set(cells)
    for end in ends:
        # A reference that diverges gives way to a cell that may have stopped earlier, and whose seeds then follow.
        found |= dict.fromkeys(
            replace(cells[cell], seed=seed) for seed in asked.seeds[:end] for cell in cells if cell in going_on
        )
        if any(trial.trial_id not in asked.losses for trial in found):
            return tuple(found), end < ends[-1]
        if end == ends[-1]:
            break
        # Only by the seeds of the looks so far: an answer to a later one takes back nothing that was asked for.
        going_on = _undecided(asked, asked.seeds[:end])
        if not going_on:
            break
    return tuple(found), False


def _undecided(asked: Confirming, seeds: Sequence[int]) -> set[CellKey]:
    """The cells whose comparisons are not decided by these seeds, with the references of these."""
    confirmed = {
        cell: [asked.losses.get(replace(asked.cells[cell], seed=seed).trial_id) for seed in seeds]
        for cell in asked.screen_losses
    }
    against = references(confirmed, asked.screen_losses)
    decisions = decide(differences(confirmed, against), asked.margin, asked.looks)
    undecided = {cell for cell, decision in decisions.items() if decision.claim is None}
    return undecided | {against[group_of(cell)] for cell in undecided}
