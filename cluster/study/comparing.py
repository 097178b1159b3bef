"""Which cells are compared with which: the reference of each group, and the differences of loss from it. Pure.

The reference is the cell with the lowest screen loss among those whose confirmations all have a loss so far. The screen
is on other seeds, so the choice does not depend on the losses that are compared. Without that condition, the survivors
of a batch size that diverges would make the others look worse than they are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from cluster.study.cell import CellKey, GroupKey, group_of

# By seed, in the order of the seeds: the loss, inf if the run ended without one because of what it is, NaN if it ended
# without an answer, None if it has not ended.
Confirmed = Sequence[float | None]


def references(cells: Mapping[CellKey, Confirmed], screen_losses: Mapping[CellKey, float]) -> dict[GroupKey, CellKey]:
    """The reference of each optimizer and dtype that has one."""
    found: dict[GroupKey, CellKey] = {}
    for cell in sorted(cells, key=lambda cell: (screen_losses[cell], cell)):
        if math.inf not in cells[cell]:
            found.setdefault(group_of(cell), cell)
    return found


def differences(
    cells: Mapping[CellKey, Confirmed], against: Mapping[GroupKey, CellKey]
) -> dict[CellKey, tuple[float | None, ...]]:
    """The loss of each cell minus its reference's by seed, up to the first seed that has not ended in both.

    None stands for a pair in which one has no loss. Cells without a reference, and references, are left out.
    """
    compared = {cell: against[group_of(cell)] for cell in cells if against.get(group_of(cell), cell) != cell}
    return {cell: tuple(_differences(cells[cell], cells[reference])) for cell, reference in compared.items()}


def _differences(losses: Confirmed, others: Confirmed) -> Iterable[float | None]:
    for loss, other in zip(losses, others, strict=True):
        if loss is None or other is None:
            return
        yield loss - other if math.isfinite(loss) and math.isfinite(other) else None
