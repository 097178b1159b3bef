"""The target that a study sets itself when its spec says `auto`: reachable by every good batch size, and hard. Pure.

It is known before anything is confirmed, from the screen alone, so that what it is cannot depend on who would win.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# A difference in nats that is worth a word where the user declares no margin of his own: 1 % of perplexity.
DEFAULT_MARGIN = 0.01


def automatic(best_losses: Sequence[float], margin: float | None) -> float | None:
    """The target, in the unit of the losses; None where no cell has a loss.

    `best_losses` are the lowest screen losses of the cells. Of those within `margin` of the best one the worst is
    taken, and half a margin added: a target at the best one itself would ask the others for a lucky run.
    """
    if not best_losses:
        return None
    apart = DEFAULT_MARGIN if margin is None else margin
    best = min(best_losses)
    return max(loss for loss in best_losses if loss <= best + apart) + apart / 2


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Confirmations that have begun, and the target with which they did."""

    target: float | None

    def or_same(
        self, target_after: Callable[[Sequence[float]], float | None]
    ) -> Callable[[Sequence[float]], float | None]:
        """That target whatever `target_after` says of the losses, in its digits where it says the same."""

        def kept(best_losses: Sequence[float]) -> float | None:
            said = target_after(best_losses)
            # Another last digit would make other trials of the same confirmations.
            same = said is not None and self.target is not None and math.isclose(said, self.target, rel_tol=1e-12)
            return said if same else self.target

        return kept
