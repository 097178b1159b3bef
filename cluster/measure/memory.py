"""The memory part of a probe: one micro-batch after another, each in fresh processes, until one does not fit."""

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from cluster.measure import peaks, points
from cluster.measure.peaks import Peak
from cluster.measure.probe_worker import Held, LaneLayout
from cluster.measure.processes import FailedError, ThrowawayLane, lanes
from cluster.study.memory import MemoryModel
from trainer.report import State
from trainer.trial import TrialSpec

# A micro-batch whose update would take longer than this is not measured, unless it was asked for.
SECONDS_AT_MOST = 5.0
# The most checks of the line once it is fitted (`_checks`).
CHECKS = 2


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measurement: the memory of the worker that held most, or how it failed (then `held` is None)."""

    micro_batch: int
    held: Held | None
    held_out: bool = False
    state: State = State.COMPLETED
    error: str | None = None

    @property
    def peak(self) -> Peak | None:
        """The measured peak; None if there is none."""
        if self.held is None:
            return None
        return Peak(
            micro_batch=self.micro_batch,
            length=self.held.length,
            peak_bytes=self.held.peak_bytes,
            held_out=self.held_out,
        )


@dataclass(frozen=True, kw_only=True)
class Memory:
    """All measurements of one dtype and optimizer, and the line through them; `evaluating` is that of an evaluation."""

    measured: tuple[Measured, ...]
    evaluating: Held | None
    model: MemoryModel | None

    def most_rows(self, limit_bytes: int | None) -> int | None:
        """How many of the longest rows fit a worker at once; None if there is no limit or no line."""
        lengths = [one.held.length for one in self.measured if one.held]
        if limit_bytes is None or self.model is None or not self.model.bytes_per_place:
            return None
        return max(1, self.model.most_rows(limit_bytes=limit_bytes, length=max(lengths)))


def measure(
    layout: LaneLayout,
    trial: TrialSpec,
    *,
    sizes: Sequence[int] | None,
    largest_share: int,
    rows: int,
    say: Callable[[str], None],
) -> Memory:
    """Measure the micro-batches `sizes`, or as many as it takes, with trials like `trial`; `say` reports each."""
    rising = sorted(set(sizes)) if sizes else points.micro_batches(largest_share, rows)
    found: list[Measured] = []
    evaluating: Held | None = None
    with contextlib.closing(_fresh(layout, len(rising) if sizes else len(rising) + CHECKS)) as fresh:
        for size in rising:
            if sizes is None and _takes_too_long(found, size):
                break
            lane = next(fresh)
            found.append(_hold(lane, trial, size, layout.workers))
            say(_line(found[-1]))
            if found[-1].state is not State.COMPLETED:
                break
            if evaluating is None:
                evaluating = _evaluated(lane, trial)
        found = _held_out(found)
        model = peaks.fit([one.peak for one in found if one.peak])
        for size in _checks(found, model, layout.limit_bytes) if sizes is None else ():
            found.append(replace(_hold(next(fresh), trial, size, layout.workers), held_out=True))
            say(_line(found[-1]))
    return Memory(measured=tuple(sorted(found, key=lambda one: one.micro_batch)), evaluating=evaluating, model=model)


def _fresh(layout: LaneLayout, count: int) -> Generator[ThrowawayLane, None, None]:
    """At most `count` lanes, each in fresh processes; the next one starts while one works."""
    with contextlib.ExitStack() as ended:

        def start() -> tuple[contextlib.ExitStack, ThrowawayLane]:
            stack = ended.enter_context(contextlib.ExitStack())
            return stack, stack.enter_context(lanes(layout))[0]

        upcoming = start()
        for left in reversed(range(count)):
            stack, lane = upcoming
            if left:
                upcoming = start()
            yield lane
            stack.close()


def _hold(lane: ThrowawayLane, trial: TrialSpec, size: int, workers: int) -> Measured:
    # The rate does not affect memory, and such a small one never diverges.
    mine = replace(trial, global_batch=2 * size * workers, learning_rate=1e-6)
    try:
        lane.answers()
        lane.ask("hold", mine, size)
        held = max(lane.answers(), key=lambda one: one.peak_bytes)
    except FailedError as failed:
        return Measured(micro_batch=size, held=None, state=failed.state, error=failed.error)
    return Measured(micro_batch=size, held=held)


def _evaluated(lane: ThrowawayLane, trial: TrialSpec) -> Held | None:
    try:
        lane.ask("hold_evaluating", trial)
        held: Held = max(lane.answers(), key=lambda one: one.peak_bytes)
        return held
    except FailedError:
        return None


def _takes_too_long(found: list[Measured], size: int) -> bool:
    """Whether an update of `size` rows would take too long, judged by the last measurement."""
    if not found or not found[-1].held:
        return False
    return found[-1].held.seconds * size / found[-1].micro_batch > SECONDS_AT_MOST


def _held_out(found: list[Measured]) -> list[Measured]:
    """The same measurements, with the second one held out of the fit if three others are left."""
    fitted = [one for one in found if one.held]
    return [replace(one, held_out=len(fitted) > 3 and one is fitted[1]) for one in found]


def _checks(found: list[Measured], model: MemoryModel | None, limit_bytes: int | None) -> list[int]:
    """The sizes that check the line: one between the two largest and, if something did not fit, one that should."""
    fitting = [one for one in found if one.held]
    if model is None:
        return []
    sizes = [points.between([one.micro_batch for one in fitting])]
    if limit_bytes and len(fitting) < len(found) and model.bytes_per_place and fitting[-1].held:
        most = model.most_rows(limit_bytes=limit_bytes, length=fitting[-1].held.length)
        if fitting[-1].micro_batch < most < found[-1].micro_batch:
            sizes.append(most)
    return [size for size in sizes if size]


def _line(one: Measured) -> str:
    if one.held is None:
        return f"memory: micro-batch {one.micro_batch}: {one.state.replace('_', ' ').lower()}: {one.error}"
    return f"memory: micro-batch {one.micro_batch}: {one.held.peak_bytes / 2**20:,.0f} MiB"
