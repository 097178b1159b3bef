"""A group hangs when it computes nothing for long, measured by what a step takes it."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.lanes import pulse
from cluster.lanes.pulse import SECONDS_AT_LEAST, Pulse


def test_a_group_that_computes_nothing_for_a_quarter_of_an_hour_hangs() -> None:
    felt = pulse.felt(pulse.felt(None, 0, 100.0), 5, 101.0)
    assert felt == Pulse(began_at=100.0, changed_at=101.0, steps=5)
    assert pulse.felt(felt, 5, 500.0) == felt
    assert not pulse.hangs(felt, 101.0 + SECONDS_AT_LEAST)
    assert pulse.hangs(felt, 102.0 + SECONDS_AT_LEAST)


def test_where_a_step_takes_minutes_it_may_take_many() -> None:
    slow = Pulse(began_at=0.0, changed_at=600.0, steps=2)
    assert not pulse.hangs(slow, 600.0 + 20 * 300.0)
    assert pulse.hangs(slow, 601.0 + 20 * 300.0)


def test_the_steps_of_trials_before_make_no_step_seem_quick() -> None:
    warm = pulse.felt(None, 10_000, 0.0)
    slow = pulse.felt(warm, 10_002, 600.0)
    assert not pulse.hangs(slow, 600.0 + 20 * 300.0)
    assert pulse.hangs(slow, 601.0 + 20 * 300.0)


def test_before_the_first_step_compiling_has_its_time() -> None:
    assert not pulse.hangs(Pulse(began_at=0.0, changed_at=0.0), SECONDS_AT_LEAST)


@given(st.lists(st.tuples(st.floats(0.01, 800.0), st.integers(0, 3)), min_size=1))
def test_who_makes_a_step_before_the_time_is_over_never_hangs(looks: list[tuple[float, int]]) -> None:
    now, steps, felt = 0.0, 0, pulse.felt(None, 0, 0.0)
    for seconds, more in looks:
        now, steps = now + seconds, steps + more
        felt = pulse.felt(felt, steps, now)
        assert pulse.hangs(felt, now) <= (now - felt.changed_at > SECONDS_AT_LEAST)
        if more:
            assert not pulse.hangs(felt, now)
