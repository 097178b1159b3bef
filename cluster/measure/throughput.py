"""The speed part of a probe: seconds per update of each global batch, in interleaved blocks, in the study's layout.

Tracing and warming up come first and are counted separately. Then each block has every cell once, in random order, with
its rows read meanwhile and without. All lanes of the study work at once, as in a run. A cell's updates are the first of
its trial and the same in each block, so blocks differ only by what else the machine did.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cluster.measure import points
from cluster.measure.probe_worker import Block, LaneLayout, MeasuredBatch, MeasuredMachine, Warm
from cluster.measure.processes import FailedError, ThrowawayLane, ask_all, lanes
from cluster.measure.timing import Timing, timing
from trainer.report import State

BLOCKS = 5
# An update that takes longer than this is measured in fewer blocks.
LONG_SECONDS = 1.0
BLOCKS_OF_LONG = 3
UPDATES_TO_WARM_UP = 5


@dataclass(kw_only=True)
class Speed:
    """The measurements of a cell: samples by whether rows were read meanwhile, and figures derived from them."""

    cell: MeasuredBatch
    workers: int
    state: State = State.COMPLETED
    error: str | None = None
    seconds_starting: float = 0.0
    seconds_tracing: float = 0.0
    seconds_per_update: float = 0.0
    updates: int = 0
    machine: MeasuredMachine | None = None
    samples: dict[bool, list[list[Block]]] = field(default_factory=lambda: {True: [], False: []})
    evaluation: Block | None = None

    def timing(self, with_reading: bool) -> Timing:
        """Seconds per update."""
        return timing([seconds_of(blocks) / self.updates for blocks in self.samples[with_reading]])

    def processors_used(self, with_reading: bool) -> float:
        """The processor seconds that a worker uses in a second."""
        blocks = [block for together in self.samples[with_reading] for block in together]
        return sum(block.processor_seconds for block in blocks) / sum(block.seconds for block in blocks)

    @property
    def tokens(self) -> tuple[int, int]:
        """The real and the padded tokens of all workers of a lane in one block."""
        blocks = self.samples[True][0][: self.workers]
        return sum(one.real_tokens for one in blocks), sum(one.padded_tokens for one in blocks)


class _FailedError(Exception):
    """The failure of some cells, and its cause."""

    def __init__(self, speeds: list[Speed], failed: FailedError) -> None:
        super().__init__(failed.error)
        self.speeds, self.failed = speeds, failed


def seconds_of(blocks: Sequence[Block]) -> float:
    """The seconds of a block: the mean over all lanes and workers that worked on it at once."""
    return statistics.fmean(block.seconds for block in blocks)


def measure(
    layouts: Mapping[int, LaneLayout],
    cells: Mapping[MeasuredBatch, int],
    *,
    lanes_at_once: int,
    shrinks: bool,
    say: Callable[[str], None],
) -> list[Speed]:
    """Measure the cells, each with its number of workers, whose layout is in `layouts`.

    A cell that fails is a result; the others go on in new processes. If `shrinks`, a cell that ran out of memory is
    tried again with half the micro-batch, as lanes do.
    """
    speeds = [Speed(cell=cell, workers=cells[cell]) for cell in sorted(cells, key=_size)]
    while left := [speed for speed in speeds if speed.state is State.COMPLETED]:
        try:
            _measure(layouts, left, lanes_at_once, say)
        except _FailedError as problem:
            for speed in problem.speeds:
                speed.state, speed.error = problem.failed.state, problem.failed.error
                if shrinks and speed.state is State.OUT_OF_MEMORY and speed.cell.micro_batch > 1:
                    half = replace(speed.cell, micro_batch=speed.cell.micro_batch // 2)
                    speeds.insert(speeds.index(speed) + 1, Speed(cell=half, workers=speed.workers))
                say(f"speed: global batch {speed.cell.trial.global_batch}: {speed.error}")
        else:
            break
    return speeds


def _measure(
    layouts: Mapping[int, LaneLayout], speeds: list[Speed], lanes_at_once: int, say: Callable[[str], None]
) -> None:
    with contextlib.ExitStack() as ended:
        started = {
            workers: ended.enter_context(lanes(layouts[workers], lanes_at_once))
            for workers in sorted({speed.workers for speed in speeds})
        }
        for speed in speeds:
            speed.samples = {True: [], False: []}
            speed.seconds_starting = 0.0
        for workers, group in started.items():
            _await(group, [speed for speed in speeds if speed.workers == workers])
        for speed in speeds:
            _warm(started[speed.workers], speed)
            say(f"speed: global batch {speed.cell.trial.global_batch} traced in {speed.seconds_tracing:.1f} s")
        kinds = [(speed, with_reading) for speed in speeds for with_reading in (True, False)]
        for number, block in enumerate(points.interleaved(kinds, blocks=BLOCKS, seed=0)):
            for speed, with_reading in block:
                if number < _blocks(speed):
                    answers = _asked(started[speed.workers], speed, "block", speed.cell, speed.updates, with_reading)
                    speed.samples[with_reading].append([one for lane in answers for one in lane])
            say(f"speed: block {number + 1} of {BLOCKS}")
        last = speeds[-1]
        answers = _asked(started[last.workers], last, "evaluation", last.cell.trial)
        last.evaluation = _together([one for lane in answers for one in lane], len(answers))


def _await(group: list[ThrowawayLane], speeds: list[Speed]) -> None:
    """Wait until all lanes of a group are ready for these cells."""
    try:
        for lane in group:
            lane.answers()
    except FailedError as failed:
        raise _FailedError(speeds, failed) from None
    for speed in speeds:
        speed.seconds_starting = time.perf_counter() - group[0].started_at


def _warm(group: list[ThrowawayLane], speed: Speed) -> None:
    """Trace everything that the cell's updates need, warm up, and set how many updates make a block."""
    first = _warmed(group, speed, 1, 2)
    speed.updates, speed.machine = points.updates_in_block(first.seconds_per_update), first.machine
    speed.seconds_tracing, speed.seconds_per_update = first.seconds, first.seconds_per_update
    if speed.updates > 1:
        speed.seconds_tracing += _warmed(group, speed, speed.updates, min(UPDATES_TO_WARM_UP, speed.updates)).seconds


def _warmed(group: list[ThrowawayLane], speed: Speed, updates: int, warm_up: int) -> Warm:
    answers = _asked(group, speed, "warm", speed.cell, updates, warm_up)
    slowest: Warm = max((one for lane in answers for one in lane), key=lambda one: one.seconds)
    return slowest


def _asked(group: list[ThrowawayLane], speed: Speed, question: str, *arguments: Any) -> list[list[Any]]:
    try:
        return ask_all(group, question, *arguments)
    except FailedError as failed:
        raise _FailedError([speed], failed) from None


def _together(blocks: list[Block], lanes_at_once: int) -> Block:
    """The rows of one lane's workers, in the mean time that the workers of all lanes took."""
    return Block(
        seconds=seconds_of(blocks),
        processor_seconds=statistics.fmean(block.processor_seconds for block in blocks),
        rows=sum(one.rows for one in blocks) // lanes_at_once,
        real_tokens=sum(one.real_tokens for one in blocks) // lanes_at_once,
        padded_tokens=sum(one.padded_tokens for one in blocks) // lanes_at_once,
    )


def _blocks(speed: Speed) -> int:
    return BLOCKS_OF_LONG if speed.seconds_per_update > LONG_SECONDS else BLOCKS


def _size(cell: MeasuredBatch) -> tuple[str, str, int]:
    return cell.trial.dtype, cell.trial.optimizer, cell.trial.global_batch
