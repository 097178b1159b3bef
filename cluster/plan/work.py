"""The work of a trial as arithmetic: its updates, epochs, evaluations, and the split of a global batch. Pure."""

from itertools import groupby

from trainer.order import plan
from trainer.trial import TrialSpec

WORKER_COUNTS = (2, 3, 4, 5, 6, 8)
# A hint is for a global batch that at most FEW of WORKER_COUNTS divide, and names one that at least MANY divide.
FEW, MANY = 1, 4


def evaluations(trial: TrialSpec, *, updates: int, rows: int, seconds_training: float) -> int:
    """The number of evaluations of a trial: one whenever one is due, and one after the last update."""
    every = trial.evaluate_every
    if every.unit == "seconds":
        return int(seconds_training // every.amount) + 1
    last = plan.is_due(every, update=updates, global_batch=trial.global_batch, rows=rows)
    return plan.times_due(every, updates=updates, global_batch=trial.global_batch, rows=rows) + (not last)


def passes_of_an_evaluation(trial: TrialSpec) -> int:
    """How often an evaluation computes each row: also with the averaged weights, if the trial has such."""
    return 2 if trial.average_examples else 1


def split(global_batch: int, *, workers: int, micro_batch: int) -> list[list[int]]:
    """The rows of each micro-batch of each worker's share."""
    shares = [len(plan.share(range(global_batch), rank=rank, workers=workers)) for rank in range(workers)]
    return [[len(part) for part in plan.parts(share, at_most=micro_batch)] for share in shares]


def said(shares: list[list[int]]) -> str:
    """A split for people: `2 x (13+12)`, `(9) + (8)` for uneven shares, `16 x 32` on one worker.

    More than three micro-batches that differ by a row, such as 52 of 32 rows and 24 of 31, become `76 x 31-32`.
    """
    if len(shares) == 1:
        return _said_share(shares[0])
    runs = [(text, len(list(same))) for text, same in groupby(_said_share(share) for share in sorted(shares)[::-1])]
    return " + ".join(f"{count} x ({text})" if count > 1 else f"({text})" for text, count in runs)


def _said_share(parts: list[int]) -> str:
    runs = [(size, len(list(same))) for size, same in groupby(sorted(parts)[::-1])]
    if len(parts) <= 3 and len(runs) > 1:
        return "+".join(str(part) for part in sorted(parts)[::-1])
    if len(runs) > 1:
        return f"{len(parts)} x {min(parts)}-{max(parts)}"
    return "".join(f"{count} x {size}" if count > 1 else str(size) for size, count in runs) or "none"


def easily_shared(global_batch: int, *, at_most: int) -> list[int]:
    """If few worker counts divide this size, the nearest sizes below and above, up to `at_most`, that many divide."""
    if _divisors(global_batch) > FEW or global_batch < WORKER_COUNTS[-1]:
        return []
    near = [size for size in range(global_batch // 2, global_batch * 2 + 1) if _divisors(size) >= MANY]
    below = [size for size in near if size < global_batch][-1:]
    above = [size for size in near if global_batch < size <= at_most][:1]
    return below + above


def divides(global_batch: int) -> list[int]:
    """The numbers of workers that divide a global batch evenly."""
    return [count for count in WORKER_COUNTS if global_batch % count == 0]


def _divisors(size: int) -> int:
    return len(divides(size))
