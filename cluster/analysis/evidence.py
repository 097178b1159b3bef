"""What checks for weaknesses look at, and what they find. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cluster.analysis.cells import Cell, Run
from cluster.analysis.declared import Declared
from cluster.analysis.reach import CellReach


@dataclass(frozen=True, kw_only=True)
class Caveat:
    """One caveat: a stable `code`, a sentence, and the ids of the trials that caused it."""

    code: str
    text: str
    trials: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the checks look at: the cells of one optimizer and dtype, their reach, and what the study declared."""

    cells: Sequence[Cell]
    reaches: Mapping[int, CellReach]
    known: Declared


def ids(runs: Iterable[Run]) -> tuple[str, ...]:
    """The ids of these runs."""
    return tuple(run.trial_id for run in runs)


def batches(cells: Iterable[Cell]) -> str:
    """The global batches of these cells, as they are listed in sentences."""
    return ", ".join(str(cell.global_batch) for cell in cells)
