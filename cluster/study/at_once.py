"""How many rows a worker computes at once, and how many fewer after it ran out of memory. Pure.

Rows that go through the model with their gradient are a micro-batch; rows that go through without are a chunk of an
evaluation. Both shrink together, because it is not always known which of them was too large.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RowsAtOnce:
    """The most rows that a worker computes at once, with their gradient (`micro_batch`) and without (`evaluation`).

    If `shrinks`, half of them may be tried when memory runs out; a number that the user gave does not shrink.
    """

    micro_batch: int
    evaluation: int
    shrinks: bool = True

    def half(self) -> int | None:
        """The micro-batch to try after this one ran out of memory; None if nothing smaller may be tried."""
        return self.micro_batch // 2 if self.shrinks and self.micro_batch > 1 else None

    def within(self, micro_batch: int | None) -> "RowsAtOnce":
        """At most `micro_batch` rows with their gradient (None: as before), and proportionally fewer without it."""
        if micro_batch is None or micro_batch >= self.micro_batch:
            return self
        evaluation = max(1, self.evaluation * micro_batch // self.micro_batch)
        return RowsAtOnce(micro_batch=micro_batch, evaluation=evaluation, shrinks=self.shrinks)
