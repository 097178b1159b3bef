"""Events cross Tune as results of plain values, and come out as they went in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.lanes.events import (
    AttemptExhausted,
    AttemptLost,
    LaneEvent,
    TrialEnded,
    TrialEvaluated,
    of_result,
    to_result,
)
from cluster.lanes.failure import Fault
from tests.support.trials import TINY
from trainer.report import State

NUMBERS = st.floats(allow_nan=False)
COSTS = st.none() | st.floats(0, 1e6)
EVENTS: st.SearchStrategy[LaneEvent] = st.one_of(
    st.builds(TrialEvaluated, trial=st.just(TINY), examples=st.integers(0), validation_loss=NUMBERS, cost_usd=COSTS),
    st.builds(AttemptLost, trial=st.just(TINY), cost_usd=COSTS),
    st.builds(AttemptExhausted, trial=st.just(TINY), cost_usd=COSTS),
    st.builds(
        TrialEnded,
        trial=st.just(TINY),
        state=st.sampled_from(State),
        examples=st.integers(0),
        validation_loss=st.none() | NUMBERS,
        error=st.none() | st.text(),
        fault=st.sampled_from(Fault),
        updates=st.integers(0),
        cost_usd=COSTS,
    ),
)


@given(EVENTS)
def test_an_event_comes_out_as_it_went_in(event: LaneEvent) -> None:
    # Tune adds keys of its own.
    result: dict[str, Any] = {**json.loads(json.dumps(to_result(event))), "time_total_s": 1.0, "trial_id": "t"}
    assert of_result(TINY, result) == event
    assert result["done"] == isinstance(event, TrialEnded)


def test_a_trial_that_the_scheduler_stops_is_done_by_its_last_evaluation() -> None:
    evaluated = TrialEvaluated(trial=TINY, examples=100, validation_loss=0.5, cost_usd=0.25)
    ended = TrialEnded(trial=TINY, state=State.STOPPED, examples=100, validation_loss=0.5, cost_usd=0.25)
    assert of_result(TINY, {**to_result(evaluated), "done": True}) == ended


@pytest.mark.parametrize("result", [{}, {"done": True}])
def test_a_rest_has_no_event(result: dict[str, Any]) -> None:
    assert of_result(TINY, result) is None
