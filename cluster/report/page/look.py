"""What curves need to know besides their numbers: colours, the target's line, and what the loss is called."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cluster.report.page.scales import value_text


class OfTask(Protocol):
    """Something that belongs to a task."""

    @property
    def task(self) -> str | None:
        """The task of a study; None if it is unknown."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How curves look. `colours` maps each of them to its place in the palette; `called` comes before its number."""

    study: str
    task: str | None
    target: float | None
    colours: Mapping[int, int]
    called: str = "B ="

    @property
    def perplexity(self) -> bool:
        """Whether the losses are those of a language model, for which perplexity is more familiar to readers."""
        return self.task == "language_model"


def loss_word(of: OfTask) -> str:
    """`loss`, or `MSE` for a regression, as it follows `validation` in a heading."""
    return "MSE" if of.task == "regression" else "loss"


def of_target(target: float | None) -> str:
    """What a title adds where the target is drawn as a line, so that no label lies on the drawing."""
    return "" if target is None else f" (blue: target {value_text(target)})"
