"""Simulated studies of losses alone: cells with a true loss each, confirmed in looks as the protocol does.

A run's loss is its cell's, plus what its seed shares with all cells, plus what is its own. Cell 0 of each group is the
reference. `played` returns each comparison's decision and how many confirmations the study took.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.study.cell import CellKey
from cluster.study.comparing import differences
from cluster.study.looks import Decision, Looks, decide


@dataclass(frozen=True, kw_only=True)
class LookWorld:
    """The true losses of the cells of each group; deviations of a run, and of what its seed shares with all cells."""

    losses: Sequence[Sequence[float]]
    deviation: float = 1.0
    seed_deviation: float = 1.0


def played(
    world: LookWorld, looks: Looks, margin: float, random: np.random.Generator
) -> tuple[Mapping[CellKey, Decision], int]:
    """One study: its decisions, and its confirmations with those of the references."""
    most, cells = looks.seeds[-1], _cells(world)
    shared = random.normal(0, world.seed_deviation, most)
    losses = {key: loss + shared + random.normal(0, world.deviation, most) for key, loss in cells.items()}
    against = {(f"o{group}", "float32"): (0, f"o{group}", "float32") for group in range(len(world.losses))}
    decisions = decide(differences({key: drawn.tolist() for key, drawn in losses.items()}, against), margin, looks)
    trained = sum(decision.seeds for decision in decisions.values())
    for group in against:
        trained += max((one.seeds for key, one in decisions.items() if key[1:] == group), default=0)
    return decisions, trained


def _cells(world: LookWorld) -> dict[CellKey, float]:
    return {
        (batch, f"o{group}", "float32"): loss
        for group, losses in enumerate(world.losses)
        for batch, loss in enumerate(losses)
    }
