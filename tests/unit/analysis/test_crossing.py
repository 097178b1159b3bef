"""Where a curve crosses its target."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.analysis.crossing import at_crossing, first_confirmed


def test_a_crossing_is_interpolated_in_the_log_of_the_position() -> None:
    # Halfway between 2 and 1 in loss is halfway between 100 and 400 in logs.
    assert first_confirmed([100, 400, 500], [2, 1, 1], 1.5) == pytest.approx(200)


def test_a_single_lucky_evaluation_is_no_crossing() -> None:
    assert first_confirmed([1, 2, 4, 8, 16], [3, 0.9, 2, 1, 1], 1) == 8
    assert first_confirmed([1, 2, 4], [3, 0.9, 2], 1) is None


def test_at_the_target_is_reached() -> None:
    assert first_confirmed([10, 20, 30], [2, 1, 1], 1) == pytest.approx(20)


def test_the_last_evaluation_counts_alone_only_where_the_run_ended_at_its_target() -> None:
    assert first_confirmed([10, 20], [2, 1], 1) is None
    assert first_confirmed([10, 20], [2, 1], 1, ended_at_target=True) == pytest.approx(20)
    assert first_confirmed([10, 20], [1, 2], 1, ended_at_target=True) is None


@pytest.mark.parametrize(
    ("at", "losses", "crossing"),
    [
        ([0, 10], [1, 1], 0),
        ([5, 10], [1, 1], 5),
        ([0, 10, 20], [3, 1, 1], 10),
        ([5, 10, 20], [math.inf, 1, 1], 10),
        ([5, 10, 20], [math.nan, 1, 1], 10),
        ([], [], None),
        ([1, 2, 3], [3, math.nan, math.nan], None),
    ],
)
def test_where_nothing_can_be_interpolated_the_evaluation_itself_is_the_crossing(
    at: list[float], losses: list[float], crossing: float | None
) -> None:
    assert first_confirmed(at, losses, 2) == crossing


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=20), st.floats(0.1, 10), st.floats(1, 1000))
def test_a_crossing_lies_between_its_evaluations_in_any_unit(losses: list[float], target: float, unit: float) -> None:
    at = [float(2 + number) for number in range(len(losses))]
    crossing = first_confirmed(at, losses, target)
    if crossing is None:
        assert all(max(pair) > target for pair in pairwise(losses))
    else:
        after = next(number for number, here in enumerate(at) if here >= crossing * (1 - 1e-12))
        assert losses[after] <= target
        assert losses[after + 1] <= target
        assert all(max(pair) > target for pair in pairwise(losses[: after + 1]))
        assert first_confirmed([unit * here for here in at], losses, target) == pytest.approx(unit * crossing)


def test_another_clock_is_read_at_the_crossing() -> None:
    assert at_crossing([10, 20, 40], [1, 3, 4], 25) == 3.25
    assert at_crossing([10, 20, 40], [1, 3, 4], 40) == 4


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="must increase"):
        first_confirmed([10, 10], [1, 1], 1)
    with pytest.raises(ValueError, match="must increase"):
        first_confirmed([10, 20], [1], 1)
    for outside in (9, 41):
        with pytest.raises(ValueError, match="outside"):
            at_crossing([10, 20, 40], [1, 3, 4], outside)
