"""The pure parts of a probe: what is measured and in which order, the line of memory, timings, words, and ends."""

import itertools
import signal
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.measure import points
from cluster.measure.body import ended
from cluster.measure.peaks import Peak, error, fit
from cluster.measure.timing import timing
from cluster.report import probe_text
from cluster.summary.tables import table_of
from trainer.report import State

MIB = 2**20


class TestPoints:
    @given(share=st.integers(1, 100_000), rows=st.integers(1, 100_000))
    def test_micro_batches_rise_to_the_largest_share_and_never_over_the_rows(self, share: int, rows: int) -> None:
        sizes = points.micro_batches(share, rows)
        assert sizes == sorted(set(sizes))
        assert min(share, rows) <= sizes[-1] <= rows
        assert sizes[0] >= 1
        assert all(small * points.GROWTH <= large for small, large in itertools.pairwise(sizes))

    def test_the_sizes_of_the_demo(self) -> None:
        assert points.micro_batches(512, 7240) == [8, 32, 128, 512]
        assert points.between([8, 32, 128, 512]) == 320
        assert points.between([7, 8]) is None

    def test_every_block_has_each_cell_once_in_an_order_of_its_own(self) -> None:
        blocks = points.interleaved(range(12), blocks=5, seed=1)
        assert [sorted(block) for block in blocks] == [list(range(12))] * 5
        assert len({tuple(block) for block in blocks}) == 5
        assert blocks == points.interleaved(range(12), blocks=5, seed=1)

    @pytest.mark.parametrize(("seconds", "updates"), [(0.003, 100), (0.05, 6), (0.3, 3), (7.0, 1)])
    def test_a_block_is_of_many_short_updates_or_few_long_ones(self, seconds: float, updates: int) -> None:
        assert points.updates_in_block(seconds) == updates


class TestFit:
    @given(
        base=st.floats(100 * MIB, 4000 * MIB),
        slope=st.floats(100, 1e5),
        length=st.integers(8, 2000),
    )
    def test_a_line_is_found_again(self, base: float, slope: float, length: int) -> None:
        peaks = [_peak(rows, length, int(base + slope * rows * length)) for rows in (8, 32, 128)]
        model = fit(peaks)
        assert model is not None
        assert model.measured
        assert model.base_bytes == pytest.approx(base, rel=1e-3)
        assert model.bytes_per_place == pytest.approx(slope, rel=1e-3)
        assert abs(error(model, peaks[1])) < 1e-3

    def test_a_point_held_out_does_not_bend_the_line_and_is_measured_against_it(self) -> None:
        peaks = [_peak(8, 10, 1080), _peak(16, 10, 1160), _peak(32, 10, 2640, held_out=True)]
        model = fit(peaks)
        assert model is not None
        assert model.base_bytes == pytest.approx(1000)
        assert error(model, peaks[2]) == pytest.approx(1.0)

    def test_noise_never_makes_more_rows_take_less(self) -> None:
        model = fit([_peak(8, 10, 1010), _peak(16, 10, 1000)])
        assert model is not None
        assert (model.base_bytes, model.bytes_per_place) == (1010, 0)

    def test_one_point_is_no_line(self) -> None:
        assert fit([_peak(8, 10, 1000), _peak(16, 10, 1100, held_out=True)]) is None


def test_a_timing_is_the_median_with_its_quartiles() -> None:
    found = timing([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.low, found.median, found.high) == (2, 3, 4)
    assert found.variation == pytest.approx(2.5**0.5 / 3)
    assert timing([2.0]).variation == 0


@pytest.mark.parametrize(
    ("exit_code", "said", "state", "error"),
    [
        (-signal.SIGKILL, "", State.OUT_OF_MEMORY, "a worker ended by SIGKILL"),
        (
            -signal.SIGABRT,
            "terminate called after throwing an instance of 'std::bad_alloc'\nbye\n",
            State.OUT_OF_MEMORY,
            "a worker ended by SIGABRT: terminate called after throwing an instance of 'std::bad_alloc'",
        ),
        (-signal.SIGSEGV, "", State.FAILED, "a worker ended by SIGSEGV"),
        (1, "Traceback:\nKeyError: 3\n", State.FAILED, "a worker ended with exit code 1: KeyError: 3"),
    ],
)
def test_how_a_process_ended_is_a_result(exit_code: int, said: str, state: State, error: str) -> None:
    failure = ended(exit_code, said)
    assert (failure.state, failure.error) == (state, error)


def speed(batch: int, seconds: float, *, spread: float = 0.01, with_reading: int = 1, **columns: Any) -> dict[str, Any]:
    return {
        "kind": "throughput",
        "state": "COMPLETED",
        "dtype": "float32",
        "optimizer": "adam",
        "global_batch": batch,
        "micro_batch": min(batch, 32),
        "with_reading": with_reading,
        "workers": 1,
        "device": "cpu",
        "processors_used": 1.0,
        "seconds_per_update": seconds,
        "seconds_per_update_low": seconds * (1 - spread),
        "seconds_per_update_high": seconds * (1 + spread),
        "seconds_per_update_variation": 0.02,
        "examples_per_second": batch / seconds,
        "tokens_per_second": batch * 50 / seconds,
        "padding_fraction": 0.2,
        "seconds_starting": 5.0,
        "seconds_tracing": 2.0,
        **columns,
    }


def both(batch: int, seconds: float, **columns: Any) -> list[dict[str, Any]]:
    return [speed(batch, seconds, **columns), speed(batch, seconds * 0.9, with_reading=0, **columns)]


class TestWords:
    def test_16_against_17_against_32(self) -> None:
        lines = "\n".join(probe_text.speed_lines([*both(16, 0.010), *both(17, 0.0106), *both(32, 0.015)]))
        assert "17 against 16: an update takes 1.06 times as long (1.04 to 1.08) for 1.06 times the rows" in lines
        assert "no difference per row between the two" in lines
        assert "does twice the batch take twice the time? no, less: 16 to 32 1.50 times" in lines
        assert "most rows a second: global batch 32, 2,133" in lines
        assert "an update takes 1.11 times as long as without" in lines

    def test_a_difference_that_can_be_measured_is_not_denied(self) -> None:
        assert "no difference" not in probe_text.neighbours(speed(16, 0.010), speed(17, 0.013))

    @pytest.mark.parametrize(
        ("seconds", "answer"),
        [
            ((1, 2, 4), "yes, as far as can be measured here: 8 to 16 2.00, 16 to 32 2.00 times"),
            ((1, 1.2, 2.4), "less for 8 to 16; yes for the others"),
        ],
    )
    def test_twice_the_batch(self, seconds: tuple[float, ...], answer: str) -> None:
        rows = [speed(8 * 2**place, one) for place, one in enumerate(seconds)]
        assert answer in probe_text.doubling(list(itertools.pairwise(rows)))

    def test_a_busy_machine_is_said(self) -> None:
        lines = probe_text.speed_lines([*both(8, 0.01, seconds_per_update_variation=0.14)])
        assert any("vary by more than 10% (8 by 14%)" in line for line in lines)
        assert not any("NOTE" in line for line in probe_text.speed_lines(both(8, 0.01)))
        shared = probe_text.speed_lines(both(8, 0.01, processors_used=0.4))
        assert any("a worker got 40% of a processor" in line for line in shared)
        assert not any("NOTE" in line for line in probe_text.speed_lines(both(8, 0.01, processors_used=0.4, workers=2)))

    def test_memory_its_line_and_what_did_not_fit(self) -> None:
        lines = "\n".join(probe_text.memory_lines([_held(8, 110), _held(32, 140, fit_error=0.2, held_out=1), OUT]))
        table = [line.split()[:4] for line in lines.splitlines()]
        assert ["32", "64", "140", "+20.0%*"] in table
        assert "2048       -  out of memory  std::bad_alloc" in lines
        assert "100 MiB + 20,480 bytes x rows x tokens" in lines
        assert "NOTE: that is more than 15%: do not plan with this line" in lines
        # (0.9 GiB - 100 MiB) / (20480 * 64)
        assert "under the limit of 1 GiB, less a margin of 10%, at most 657 rows of 64 tokens" in lines

    def test_what_ran_out_of_memory_is_not_promised(self) -> None:
        out = {**OUT, "micro_batch": 300}
        lines = "\n".join(probe_text.memory_lines([_held(8, 110), _held(32, 140), out]))
        assert "at most 32 rows of 64 tokens" in lines

    def test_the_whole_text_of_a_table_that_went_through_the_summary(self) -> None:
        rows = [_held(8, 110), OUT, *both(8, 0.01), {**OUT, "kind": "throughput", "global_batch": 64}]
        key = {"study": "s", "spec_hash": "5bec", "probed_at": datetime(2026, 1, 1, tzinfo=UTC)}
        through = table_of("probes", [key | row for row in rows]).to_pylist()
        text = probe_text.text(through)
        assert text == probe_text.text(rows)
        assert text.count("out of memory  std::bad_alloc") == 2
        assert text.startswith("float32, adam\n")


def _peak(micro_batch: int, length: int, peak_bytes: int, *, held_out: bool = False) -> Peak:
    return Peak(micro_batch=micro_batch, length=length, peak_bytes=peak_bytes, held_out=held_out)


def _held(micro_batch: int, mib: int, **columns: Any) -> dict[str, Any]:
    return {
        "kind": "memory",
        "state": "COMPLETED",
        "dtype": "float32",
        "optimizer": "adam",
        "micro_batch": micro_batch,
        "length": 64,
        "peak_memory_bytes": mib * MIB,
        "memory_limit_bytes": 1024 * MIB,
        "fit_base_bytes": 100.0 * MIB,
        "fit_bytes_per_place": 20480.0,
        "fit_error": 0.0,
        "held_out": 0,
        **columns,
    }


OUT = {
    **_held(2048, 0, fit_error=None),
    "state": "OUT_OF_MEMORY",
    "error": "std::bad_alloc",
    "length": None,
    "peak_memory_bytes": None,
}
