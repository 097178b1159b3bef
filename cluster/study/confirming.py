"""Which confirmations a study wants: the seeds of each look, of the cells that are not decided yet. Pure.

All cells are confirmed up to the first look. A cell that is decided stops; the reference of a group goes on as long as
another cell of the group does. A cell whose best rate is at an edge supports no conclusion, so it stops there too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from cluster.study.cell import CellKey, group_of
from cluster.study.comparing import differences, references
from cluster.study.looks import Looks, decide
from trainer.trial import TrialSpec


def confirming_seeds(seeds: Iterable[int], taken: Iterable[int]) -> dict[int, int]:
    """The seed that confirms for each seed of the axis: the seed itself or, if it is `taken`, the next free one."""
    seeds, taken = dict.fromkeys(seeds), set(taken)
    free = (seed for seed in count(max(seeds, default=0) + 1) if seed not in taken)
    return {seed: next(free) if seed in taken else seed for seed in seeds}


def confirmations(
    cells: Mapping[CellKey, TrialSpec],
    seeds: Sequence[int],
    losses: Mapping[str, float],
    *,
    screen_losses: Mapping[CellKey, float],
    margin: float | None,
    looks: Looks,
) -> tuple[tuple[TrialSpec, ...], bool]:
    """The confirmations wanted so far, in order, and whether missing answers may lead to further ones.

    `cells` has a trial of each cell, at the rate to be confirmed and on any seed; `seeds` are all that may confirm.
    `losses` are the best validation losses by trial_id, inf for a trial that ended without one. Cells that are not
    among `screen_losses` cannot be compared.
    """
    found: dict[TrialSpec, None] = {}
    going_on = set(cells)
    for end in looks.seeds:
        # A reference that diverges gives way to a cell that may have stopped earlier, and whose seeds then follow.
        found |= dict.fromkeys(
            replace(cells[cell], seed=seed) for seed in seeds[:end] for cell in cells if cell in going_on
        )
        if any(trial.trial_id not in losses for trial in found):
            return tuple(found), end < looks.seeds[-1]
        if end == looks.seeds[-1]:
            break
        going_on = _undecided(cells, seeds, losses, screen_losses, margin, looks)
        if not going_on:
            break
    return tuple(found), False


def _undecided(
    cells: Mapping[CellKey, TrialSpec],
    seeds: Sequence[int],
    losses: Mapping[str, float],
    screen_losses: Mapping[CellKey, float],
    margin: float | None,
    looks: Looks,
) -> set[CellKey]:
    """The cells whose comparisons are not decided, with the references of these."""
    confirmed = {
        cell: [losses.get(replace(cells[cell], seed=seed).trial_id) for seed in seeds] for cell in screen_losses
    }
    against = references(confirmed, screen_losses)
    decisions = decide(differences(confirmed, against), margin, looks)
    undecided = {cell for cell, decision in decisions.items() if decision.claim is None}
    return undecided | {against[group_of(cell)] for cell in undecided}
