"""The micro-batches of an update or an evaluation as numbers: how many, how long, how many places, in which shapes.

Pure. These numbers determine the cost of an update, whatever words its rows contain. XLA compiles the recurrence once
for each shape that a process meets, which takes seconds, so the shapes are collected too.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from trainer.order import evaluation, measuring, plan, share_cuts
from trainer.order.layouts import ROWS_AT_MOST, Layout, evaluated, layouts, pieces
from trainer.order.permutation import rows_at
from trainer.order.shapes import CompiledShape, Ints, packed, padded, room
from trainer.trial import TrialSpec

# This many updates of a trial are enough for the mean of all, and for nearly all shapes.
UPDATES_LOOKED_AT = 200
# Fewer updates are looked at if the global batch is large.
ROWS_LOOKED_AT = 200_000


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Some micro-batches: their number, the sum of their longest rows' tokens, places, packed places, and shapes.

    A place is a token of a row, padding included; hardly any packed place is padding (`trainer.model.packing`).
    """

    count: float
    tokens: float
    places: float
    packed: float
    shapes: frozenset[CompiledShape] = frozenset()

    def times(self, factor: float) -> "Cuts":
        """All numbers multiplied by `factor`; the shapes stay the same."""
        return Cuts(
            count=self.count * factor,
            tokens=self.tokens * factor,
            places=self.places * factor,
            packed=self.packed * factor,
            shapes=self.shapes,
        )


def of_chunks(chunks: Iterable[Ints], *, strands: int = 1) -> Cuts:
    """The cuts of micro-batches, each given by the lengths of its rows; `packed` counts the places of one strand.

    There are as many strands as threads, and all of them go through the recurrence at once.
    """
    every = [chunk for chunk in chunks if len(chunk)]
    longest = [int(chunk.max()) for chunk in every]
    strand = [packed(chunk, strands) for chunk in every]
    return Cuts(
        count=len(every),
        tokens=sum(longest),
        places=sum(len(chunk) * padded(length) for chunk, length in zip(every, longest, strict=True)),
        packed=sum(places for _, places in strand),
        shapes=frozenset((rows, room(rows, places)) for rows, places in strand),
    )


def of_updates(
    trial: TrialSpec, lengths: Ints, *, workers: int, micro_batch: int, total: int, strands: int = 1
) -> Cuts:
    """The mean cuts of an update in its busiest worker, and the shapes of all workers.

    `lengths` are the tokens of the train split's rows, or of some of them. At most UPDATES_LOOKED_AT updates are looked
    at, spread over the trial's `total` updates.
    """
    at_most = max(3, min(UPDATES_LOOKED_AT, ROWS_LOOKED_AT // trial.global_batch))
    numbers = np.unique(np.linspace(0, total - 1, min(at_most, total)).astype(int)).tolist()
    most = []
    shapes: set[CompiledShape] = set()
    for update in numbers:
        batch = _lengths(trial, lengths, plan.positions_of(update, trial.global_batch))
        parts = (
            share_cuts.dealt(batch, rank=rank, workers=workers, micro_batch=micro_batch) for rank in range(workers)
        )
        shares = [of_chunks((batch[chunk] for chunk in part), strands=strands) for part in parts]
        most.append(max(shares, key=lambda share: share.packed))
        shapes.update(*(share.shapes for share in shares))
    if total >= measuring.EVERY:
        shapes |= of_chunks(_measured(trial, lengths, workers, micro_batch), strands=strands).shapes
    return Cuts(
        count=float(np.mean([share.count for share in most])),
        tokens=float(np.mean([share.tokens for share in most])),
        places=float(np.mean([share.places for share in most])),
        packed=float(np.mean([share.packed for share in most])),
        shapes=frozenset(shapes),
    )


def of_evaluation(lengths: Ints, *, task: str, workers: int, strands: int = 1) -> Cuts:
    """The cuts of one evaluation of rows with these lengths, in one of the workers, which share it evenly."""
    chunks = evaluation.chunks(lambda rows: lengths[rows], len(lengths), task=task)
    return of_chunks((lengths[chunk] for chunk in chunks), strands=strands).times(1 / workers)


def of_proof(
    trial: TrialSpec, lengths: Ints, held_out: Ints, *, micro_batch: int, strands: int = 1
) -> tuple[Cuts, Cuts]:
    """The cuts on which the check before the first trial of a kind trains and evaluates (`trainer.check`)."""
    batch = min(trial.global_batch, ROWS_AT_MOST)
    found = _lengths(trial, lengths, range(batch))
    cut = [chunk for layout in layouts(batch, micro_batch=micro_batch) for chunk in _laid_out(trial, found, layout)]
    held = held_out[:ROWS_AT_MOST]
    together = [held[rows.start : rows.stop] for rows in evaluated(len(held))]
    return of_chunks(cut, strands=strands), of_chunks(together, strands=strands)


def _laid_out(trial: TrialSpec, lengths: Ints, layout: Layout) -> Iterable[Ints]:
    """The lengths of the rows of each micro-batch of a batch in this layout, on one worker."""
    for piece in pieces(range(len(lengths)), layout.piece):
        found = lengths[piece.start : piece.stop]
        if layout.measured:
            cut = share_cuts.in_order(len(found), global_batch=trial.global_batch, micro_batch=layout.micro_batch)
        else:
            cut = share_cuts.dealt(found, rank=0, workers=1, micro_batch=layout.micro_batch)
        yield from (found[chunk] for chunk in cut)


def _measured(trial: TrialSpec, lengths: Ints, workers: int, micro_batch: int) -> list[Ints]:
    """The lengths of the rows in each micro-batch of the first worker, for the first update that is measured."""
    positions = plan.positions_of(measuring.EVERY - 1, trial.global_batch)
    share = _lengths(trial, lengths, plan.share(positions, rank=0, workers=workers))
    return [
        share[chunk]
        for chunk in share_cuts.in_order(len(share), global_batch=trial.global_batch, micro_batch=micro_batch)
    ]


def _lengths(trial: TrialSpec, lengths: Ints, positions: range) -> Ints:
    window = trial.window_rows if trial.window_rows and trial.window_rows < len(lengths) else None
    found: Ints = lengths[rows_at(positions, rows=len(lengths), seed=trial.seed, window_rows=window)]
    return found
