"""The micro-batches of an update or an evaluation as numbers: how many, how long, how many places, in which shapes.

Pure. What an update costs is told by these, whatever the words in its rows. XLA compiles the recurrence once for each
shape that a process meets, for seconds each, so the shapes are counted too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.order import plan
from trainer.order.permutation import rows_at
from trainer.trial import TrialSpec

Ints = npt.NDArray[np.int64]
Shape = tuple[int, int]

# Those of `trainer.model.packing`, `trainer.data.rows`, `trainer.update.noise`, `trainer.check` and `trainer.evaluate`,
# most of which import TensorFlow; a test compares them.
PHASES, ROWS_MULTIPLE, TOKENS_AT_LEAST, LENGTH_MULTIPLE = 4, 4, 32, 8
NOISE_EVERY, NOISE_PARTS = 100, 8
PROOF_ROWS, PROOF_SMALL, PROOF_PIECE = 64, 5, 7
EVALUATION_ROWS, EVALUATION_RUN, LANGUAGE_PARTS = 256, 8192, 8
# So many updates of a trial tell the mean of all, and nearly all shapes.
UPDATES_LOOKED_AT = 200
# Of a large global batch fewer are looked at.
ROWS_LOOKED_AT = 200_000


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Some micro-batches: their number, the longest rows' tokens summed, places and packed places, and their shapes.

    A place is a token of a row, padding included; of the packed ones hardly any is padding (`trainer.model.packing`).
    """

    count: float
    tokens: float
    places: float
    packed: float
    shapes: frozenset[Shape] = frozenset()

    def times(self, factor: float) -> "Cuts":
        """As many times so many; the shapes are the same."""
        return Cuts(
            count=self.count * factor,
            tokens=self.tokens * factor,
            places=self.places * factor,
            packed=self.packed * factor,
            shapes=self.shapes,
        )


def of_chunks(chunks: Iterable[Ints], *, strands: int = 1) -> Cuts:
    """The cuts of micro-batches, each given by the lengths of its rows; `packed` is of one of the strands.

    There are as many strands as threads, and all go through the recurrence at once.
    """
    every = [chunk for chunk in chunks if len(chunk)]
    longest = [int(chunk.max()) for chunk in every]
    packed = [_packed(chunk, strands) for chunk in every]
    return Cuts(
        count=len(every),
        tokens=sum(longest),
        places=sum(len(chunk) * padded(length) for chunk, length in zip(every, longest, strict=True)),
        packed=sum(places for _, places in packed),
        shapes=frozenset(_compiled(rows, places) for rows, places in packed),
    )


def padded(length: int) -> int:
    """The tokens to which rows are padded whose longest has `length`."""
    return -(-length // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


def _packed(lengths: Ints, strands: int) -> tuple[int, int]:
    """The rows and the places of a micro-batch in each strand as it is packed (`trainer.model.packing.pack`)."""
    rows = _few(-(-len(lengths) // strands))
    falling, longest = np.zeros(rows + 1, np.int64), -np.sort(-lengths)[::strands]
    falling[: len(longest)] = longest
    parts = [-(-rows * (PHASES - phase) // PHASES) for phase in range(PHASES)]
    widths = [-(-part // ROWS_MULTIPLE) * ROWS_MULTIPLE for part in parts]
    ends = falling[[*widths[1:], 0]]
    return rows, int(np.diff(ends, prepend=0) @ widths)


def _few(rows: int) -> int:
    """The rows of a strand for so many, of which only few numbers occur (`trainer.model.packing`)."""
    multiple = ROWS_MULTIPLE if rows <= ROWS_MULTIPLE else max(8, (1 << rows.bit_length()) // 8)
    return -(-rows // multiple) * multiple


def _compiled(rows: int, places: int) -> Shape:
    """The shape that the recurrence of so many packed rows and places is compiled for."""
    tokens = max(TOKENS_AT_LEAST, -(-places // rows))
    return rows, rows << (tokens - 1).bit_length()


def of_updates(
    trial: TrialSpec, lengths: Ints, *, workers: int, micro_batch: int, total: int, strands: int = 1
) -> Cuts:
    """The mean cuts of an update in the worker that has most to do, and all shapes of any worker.

    `lengths` are the tokens of the train split's rows, or of some of them. Spread over the trial's `total` updates, at
    most UPDATES_LOOKED_AT are looked at.
    """
    at_most = max(3, min(UPDATES_LOOKED_AT, ROWS_LOOKED_AT // trial.global_batch))
    numbers = np.unique(np.linspace(0, total - 1, min(at_most, total)).astype(int)).tolist()
    most = []
    shapes: set[Shape] = set()
    for update in numbers:
        parts = (_share(trial, lengths, update, rank, workers, micro_batch) for rank in range(workers))
        shares = [of_chunks(part, strands=strands) for part in parts]
        most.append(max(shares, key=lambda share: share.packed))
        shapes.update(*(share.shapes for share in shares))
    if total >= NOISE_EVERY:
        measured = _share(trial, lengths, NOISE_EVERY - 1, 0, workers, micro_batch, measured=True)
        shapes |= of_chunks(measured, strands=strands).shapes
    return Cuts(
        count=float(np.mean([share.count for share in most])),
        tokens=float(np.mean([share.tokens for share in most])),
        places=float(np.mean([share.places for share in most])),
        packed=float(np.mean([share.packed for share in most])),
        shapes=frozenset(shapes),
    )


def of_evaluation(lengths: Ints, *, task: str, workers: int, strands: int = 1) -> Cuts:
    """The cuts of one evaluation of rows of these lengths in one of the workers, which share it evenly."""
    parts = LANGUAGE_PARTS if task == "language_model" else 1
    return of_chunks(_evaluated(lengths, EVALUATION_ROWS // parts), strands=strands).times(1 / workers)


def of_proof(
    trial: TrialSpec, lengths: Ints, held_out: Ints, *, micro_batch: int, strands: int = 1
) -> tuple[Cuts, Cuts]:
    """What the proof before the first trial of a kind trains on and evaluates (`trainer.check`)."""
    batch = min(trial.global_batch, PROOF_ROWS)
    found = _lengths(trial, lengths, range(batch))
    held = held_out[:PROOF_ROWS]
    pieces = [held, *(held[start : start + PROOF_PIECE] for start in range(0, len(held), PROOF_PIECE))]
    part = min(micro_batch, max(1, batch // NOISE_PARTS))
    # What is measured is compared on all workers, the rest on one and on all.
    cut = [chunk for rows in (batch, micro_batch, micro_batch) for chunk in _cut(found, found, rows)]
    cut += [found[start : start + PROOF_SMALL] for start in range(0, batch, PROOF_SMALL)]
    cut += _cut(np.zeros_like(found), found, part)
    return of_chunks(cut, strands=strands), of_chunks(pieces, strands=strands)


def _share(
    trial: TrialSpec, lengths: Ints, update: int, rank: int, workers: int, micro_batch: int, *, measured: bool = False
) -> list[Ints]:
    """The lengths of the rows of each micro-batch of a worker's share (`trainer.data.share.shares_of`)."""
    positions = plan.positions_of(update, trial.global_batch)
    if measured:
        found = _lengths(trial, lengths, plan.share(positions, rank=rank, workers=workers))
        part = min(micro_batch, max(1, trial.global_batch // NOISE_PARTS))
        return _cut(np.zeros_like(found), found, part)
    found = _lengths(trial, lengths, positions)
    found = found[plan.dealt(found, rank=rank, workers=workers)]
    return _cut(found, found, micro_batch)


def _cut(sorted_by: Ints, lengths: Ints, micro_batch: int) -> list[Ints]:
    return [lengths[chunk] for chunk in plan.micro_batches(sorted_by, micro_batch=micro_batch)]


def _lengths(trial: TrialSpec, lengths: Ints, positions: range) -> Ints:
    window = trial.window_rows if trial.window_rows and trial.window_rows < len(lengths) else None
    found: Ints = lengths[rows_at(positions, rows=len(lengths), seed=trial.seed, window_rows=window)]
    return found


def _evaluated(lengths: Ints, rows: int) -> Iterator[Ints]:
    for start in range(0, len(lengths), EVALUATION_RUN):
        run = lengths[start : start + EVALUATION_RUN]
        yield from _cut(run, run, rows)
