"""How a probe goes on around what does not fit: workers that are played, with memory that runs out above some rows."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.measure import memory, throughput
from cluster.measure.probe_worker import Block, Held, LaneLayout, MeasuredBatch, MeasuredMachine, Warm
from cluster.measure.processes import FailedError
from trainer.report import State
from trainer.trial import TrialSpec

MIB = 2**20
MACHINE = MeasuredMachine(device="cpu", node_type="local", kernel_path="xla", tensorflow_version="2")
LAYOUT = LaneLayout(data="data", data_hash="d", workers=2, threads=1, limit_bytes=1000 * MIB)


class PlayedLane:
    """A lane of two workers whose memory is 100 MiB and one for each row; more than `fits` rows are out of memory."""

    started_at = 0.0

    def __init__(self, fits: int, fails_at: int | None = None) -> None:
        self.fits, self.fails_at = fits, fails_at
        self.question: tuple[Any, ...] = ("ready",)

    def ask(self, *question: Any) -> None:
        self.question = question

    def answers(self) -> list[Any]:
        name, *arguments = self.question
        return [getattr(self, name)(*arguments)] * 2

    def ready(self) -> None:
        pass

    def hold(self, trial: TrialSpec, micro_batch: int) -> Held:
        self._check(micro_batch)
        assert trial.global_batch == 2 * 2 * micro_batch
        seconds = 0.001 * micro_batch
        return Held(length=64, peak_bytes=(100 + micro_batch) * MIB, seconds=seconds, machine=MACHINE)

    def hold_evaluating(self, trial: TrialSpec) -> Held:
        return Held(length=64, peak_bytes=150 * MIB, seconds=0.1, machine=MACHINE)

    def warm(self, cell: MeasuredBatch, updates: int, warm_up: int) -> Warm:
        self._check(cell.micro_batch)
        if cell.trial.global_batch == self.fails_at:
            raise FailedError(State.FAILED, "KeyError: 3")
        return Warm(seconds=2.0, seconds_per_update=0.05, machine=MACHINE)

    def block(self, cell: MeasuredBatch, updates: int, with_reading: bool) -> Block:
        return Block(
            seconds=updates * 0.05,
            processor_seconds=0.1,
            rows=cell.trial.global_batch,
            real_tokens=80,
            padded_tokens=100,
        )

    def evaluation(self, trial: TrialSpec) -> Block:
        return Block(seconds=1.0, processor_seconds=0.9, rows=256, real_tokens=80, padded_tokens=100)

    def _check(self, micro_batch: int) -> None:
        if micro_batch > self.fits:
            raise FailedError(State.OUT_OF_MEMORY, "std::bad_alloc")


def lanes_that(monkeypatch: pytest.MonkeyPatch, **played: Any) -> None:
    @contextlib.contextmanager
    def lanes(layout: LaneLayout, count: int = 1) -> Iterator[list[PlayedLane]]:
        yield [PlayedLane(**played) for _ in range(count)]

    monkeypatch.setattr(memory, "lanes", lanes)
    monkeypatch.setattr(throughput, "lanes", lanes)


def held(trial: TrialSpec, **options: Any) -> memory.Memory:
    given = {"sizes": None, "largest_share": 2048, "rows": 10_000, "say": lambda line: None}
    return memory.measure(LAYOUT, trial, **{**given, **options})


def test_memory_rises_until_it_does_not_fit_and_the_line_is_checked(
    monkeypatch: pytest.MonkeyPatch, tiny_trial: Callable[..., TrialSpec]
) -> None:
    lanes_that(monkeypatch, fits=900)
    found = held(tiny_trial())
    # 800 rows are what the line says fit 900 MiB, the limit less its margin.
    assert [(one.micro_batch, str(one.state), one.held_out) for one in found.measured] == [
        (8, "COMPLETED", False),
        (32, "COMPLETED", True),
        (128, "COMPLETED", False),
        (320, "COMPLETED", True),
        (512, "COMPLETED", False),
        (800, "COMPLETED", True),
        (2048, "OUT_OF_MEMORY", False),
    ]
    assert found.measured[-1].error == "std::bad_alloc"
    assert found.model is not None
    assert found.model.base_bytes == pytest.approx(100 * MIB)
    assert found.most_rows(1000 * MIB) == 800
    assert found.most_rows(None) is None
    assert found.evaluating is not None
    assert found.evaluating.peak_bytes == 150 * MIB


def test_given_micro_batches_are_measured_and_no_others(
    monkeypatch: pytest.MonkeyPatch, tiny_trial: Callable[..., TrialSpec]
) -> None:
    lanes_that(monkeypatch, fits=900)
    found = held(tiny_trial(), sizes=[64, 16, 9000, 9500])
    assert [(one.micro_batch, str(one.state)) for one in found.measured] == [
        (16, "COMPLETED"),
        (64, "COMPLETED"),
        (9000, "OUT_OF_MEMORY"),
    ]


def test_what_would_take_too_long_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, tiny_trial: Callable[..., TrialSpec]
) -> None:
    lanes_that(monkeypatch, fits=10**9)
    found = held(tiny_trial(), largest_share=8192)
    assert max(one.micro_batch for one in found.measured) == 2048


def timed(trials: list[TrialSpec], *, shrinks: bool) -> list[tuple[Any, ...]]:
    cells = {MeasuredBatch(trial=trial, micro_batch=trial.global_batch // 2): 2 for trial in trials}
    found = throughput.measure({2: LAYOUT}, cells, lanes_at_once=2, shrinks=shrinks, say=lambda line: None)
    return [
        (
            speed.cell.trial.global_batch,
            speed.cell.micro_batch,
            str(speed.state),
            speed.timing(True).median if speed.samples[True] else None,
        )
        for speed in found
    ]


def test_a_batch_that_runs_out_of_memory_or_fails_is_a_row_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tiny_trial: Callable[..., TrialSpec]
) -> None:
    lanes_that(monkeypatch, fits=16, fails_at=17)
    trials = [tiny_trial(global_batch=batch) for batch in (64, 8, 17)]
    eight, seventeen = (8, 4, "COMPLETED", pytest.approx(0.05)), (17, 8, "FAILED", None)
    out = (64, 32, "OUT_OF_MEMORY", None)
    assert timed(trials, shrinks=False) == [eight, seventeen, out]
    assert timed(trials, shrinks=True) == [eight, seventeen, out, (64, 16, "COMPLETED", pytest.approx(0.05))]
