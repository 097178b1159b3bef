"""How many rows a worker computes at once, and how many fewer after it ran out of memory. Pure.

What goes through the model with its gradient is a micro-batch; what goes through it without is an evaluation's chunk.
Both shrink together: which of them was too large is not always known.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RowsAtOnce:
    """The most rows that a worker computes at once, with their gradient (`micro_batch`) and without (`evaluation`).

    `shrinks` says whether half of them may be tried where memory runs out: not when a person gave the number.
    """

    micro_batch: int
    evaluation: int
    shrinks: bool = True

    def half(self) -> int | None:
        """The micro-batch to go on with after this one ran out of memory; None where nothing smaller may be tried."""
        return self.micro_batch // 2 if self.shrinks and self.micro_batch > 1 else None

    def within(self, micro_batch: int | None) -> "RowsAtOnce":
        """At most `micro_batch` rows with their gradient (None: as many as before), and as small a part of the rest."""
        if micro_batch is None or micro_batch >= self.micro_batch:
            return self
        evaluation = max(1, self.evaluation * micro_batch // self.micro_batch)
        return RowsAtOnce(micro_batch=micro_batch, evaluation=evaluation, shrinks=self.shrinks)
