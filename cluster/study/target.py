"""The target that a study sets itself for `target: auto`: reachable by every good batch size, yet hard. Pure.

It follows from the screen alone, before anything is confirmed, so it cannot depend on which batch size would win.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# The difference in nats that matters where the user declares no margin: 1 % of perplexity.
DEFAULT_MARGIN = 0.01


def automatic(best_losses: Sequence[float], margin: float | None) -> float | None:
    """The target, in the unit of the losses; None where no cell has a loss.

    `best_losses` are the lowest screen losses of the cells. The target is the worst loss within `margin` of the best
    one, plus half a margin: with a target at the best loss itself, the other cells would need a lucky run.
    """
    if not best_losses:
        return None
    apart = DEFAULT_MARGIN if margin is None else margin
    best = min(best_losses)
    return max(loss for loss in best_losses if loss <= best + apart) + apart / 2


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Confirmations that have begun, with their target at that time."""

    target: float | None

    def or_same(
        self, target_after: Callable[[Sequence[float]], float | None]
    ) -> Callable[[Sequence[float]], float | None]:
        """A function that returns this target, in the digits of `target_after` where the two agree."""

        def kept(best_losses: Sequence[float]) -> float | None:
            said = target_after(best_losses)
            # A different last digit would turn the same confirmations into different trials.
            same = said is not None and self.target is not None and math.isclose(said, self.target, rel_tol=1e-12)
            return said if same else self.target

        return kept
