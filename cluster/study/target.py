"""The target that a study sets itself for `target: auto`: reachable by every good batch size, yet hard. Pure.

It follows from the screen alone, before anything is confirmed, so it cannot depend on which batch size would win.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cluster.study.chosen_rates import Choices

# The difference in nats that matters where the user declares no margin: 1 % of perplexity.
DEFAULT_MARGIN = 0.01
# The single-sided 95 % point of the normal distribution.
_DEVIATIONS = 1.65


def automatic(choices: Choices, margin: float | None) -> float | None:
    """The target, in the unit of the losses; None where no cell has a loss.

    It is the worst loss of a chosen rate within `margin` of the best one, plus half a margin or, if that is more, what
    19 of 20 runs stay within by the deviation of the screen's losses: with a target at the best loss itself, the other
    cells would need a lucky run.
    """
    if not choices.losses:
        return None
    apart = DEFAULT_MARGIN if margin is None else margin
    best = min(choices.losses)
    worst = max(loss for loss in choices.losses if loss <= best + apart)
    return worst + max(apart / 2, _DEVIATIONS * choices.deviation)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Confirmations that have begun, with their target, margin and axis of seeds at that time."""

    target: float | None
    margin: float | None
    seeds: tuple[int, ...]

    def or_same(self, target_after: Callable[[Choices], float | None]) -> Callable[[Choices], float | None]:
        """A function that returns this target, in the digits of `target_after` where the two agree."""

        def kept(choices: Choices) -> float | None:
            said = target_after(choices)
            # A different last digit would turn the same confirmations into different trials.
            same = said is not None and self.target is not None and math.isclose(said, self.target, rel_tol=1e-12)
            return said if same else self.target

        return kept
