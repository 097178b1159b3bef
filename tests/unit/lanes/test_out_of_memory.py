"""Out of memory: how many rows are tried next, what the lanes agree on, and which rows of it are answers."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.lanes.board import Assignment, Board
from cluster.lanes.events import AttemptExhausted, AttemptLost, LaneEvent, TrialBegan, TrialEnded
from cluster.lanes.failure import Failure
from cluster.lanes.reports import Taken
from cluster.report.live import LiveView
from cluster.study.at_once import RowsAtOnce
from cluster.study.placement import rows_at_once
from cluster.study.protocol import NO_LOSS
from cluster.study.resources import Resources
from cluster.summary import query, tables
from cluster.summary.known_losses import answers, losses, micro_batches
from cluster.summary.store import Summary
from tests.support.trials import TINY
from tests.unit.lanes.test_board import HERE, THERE
from tests.unit.summary.test_query import trial
from trainer.report import State

AUTO = RowsAtOnce(micro_batch=32, evaluation=256)


def test_auto_halves_down_to_one_row_and_evaluations_shrink_with_it() -> None:
    tried, rows = [AUTO], AUTO
    while (half := rows.half()) is not None:
        rows = AUTO.within(half)
        tried.append(rows)
    assert [(one.micro_batch, one.evaluation) for one in tried] == [
        (32, 256),
        (16, 128),
        (8, 64),
        (4, 32),
        (2, 16),
        (1, 8),
    ]


def test_a_given_micro_batch_is_not_made_smaller() -> None:
    assert rows_at_once(Resources(micro_batch=48)) == RowsAtOnce(micro_batch=48, evaluation=256, shrinks=False)
    assert rows_at_once(Resources(micro_batch=48)).half() is None


@given(fitting=st.integers(0, 5000), gpus=st.sampled_from([0.0, 1.0]))
def test_auto_begins_with_what_fits_and_never_with_more_than_is_fast(fitting: int, gpus: float) -> None:
    rows = rows_at_once(Resources(gpus_per_worker=gpus), fitting)
    assert rows.micro_batch == max(1, min(fitting, 1024 if gpus else 32))
    assert rows.evaluation == max(1, min(fitting, 256))
    assert rows.half() == (None if rows.micro_batch == 1 else rows.micro_batch // 2)


def play(body: Any, *beginning: Any) -> None:
    asyncio.run(asyncio.wait_for(body(Board(dict, *beginning)), 10))


def test_whichever_worker_runs_out_of_memory_speaks_for_its_group_and_is_heard_once() -> None:
    failures = [Failure(state=State.OUT_OF_MEMORY, error=f"rank {rank}") for rank in (0, 1)]

    async def body(board: Board) -> None:
        await board.post(
            "a", Assignment(serial=1, trial=TINY, micro_batch=17, rows_at_once=AUTO, checkpoints="nowhere")
        )
        assignments = await asyncio.gather(board.take("a", 0, 0, HERE), board.take("a", 1, 0, THERE))
        assert assignments[0] == assignments[1]
        # Rank 1 is first; rank 0 runs out of the same memory, or ends without its peer.
        await asyncio.gather(*(board.tell("a", failures[rank], last=True) for rank in (1, 0)))
        assert await board.hear("a", 1) == [Taken(HERE), failures[1]]
        # The next group of the lane: every worker has the same, smaller micro-batch.
        most = await board.shrink("float32", 16)
        fewer = AUTO.within(most)
        await board.post(
            "b", Assignment(serial=1, trial=TINY, micro_batch=16, rows_at_once=fewer, checkpoints="nowhere")
        )
        found = [assignment for rank in (0, 1) if (assignment := await board.take("b", rank, 0, HERE))]
        assert [(assignment.micro_batch, assignment.rows_at_once) for assignment in found] == [(16, fewer)] * 2

    play(body)


def test_lanes_that_ran_out_in_the_same_micro_batch_halve_it_once_and_each_dtype_for_itself() -> None:
    async def body(board: Board) -> None:
        assert await board.largest("float32") is None
        assert [await board.shrink("float32", 16) for _ in range(2)] == [16, 16]
        assert await board.shrink("float32", 8) == 8
        # A lane that was still at 32.
        assert await board.shrink("float32", 16) == 8
        assert await board.largest("float32") == 8
        assert await board.largest("float64") == 4

    play(body, {"float64": 4})


GOES_ON = {"state": "OUT_OF_MEMORY", "micro_batch": 32, "micro_batch_next": 16, "spec_hash": "5bec"}
FINAL = {"state": "OUT_OF_MEMORY", "micro_batch": 1, "spec_hash": "5bec"}


def test_a_trial_that_goes_on_in_smaller_micro_batches_has_no_answer_until_it_ends() -> None:
    between = [trial(1, **GOES_ON), trial(2, **GOES_ON), trial(3, **FINAL)]
    assert losses(tables.table_of("trials", between)) == {"0003": NO_LOSS}
    ended = [*between, trial(1, attempt=2, micro_batch=16), trial(2, attempt=2, **{**GOES_ON, "micro_batch_next": 8})]
    table = tables.table_of("trials", ended)
    assert losses(table) == {"0001": 0.5, "0003": NO_LOSS}
    # Each trial is counted once, by its last attempt.
    assert query.states(table) == {
        **dict.fromkeys((state.lower() for state in tables.STATES), 0),
        "trials": 3,
        "completed": 1,
        "out_of_memory": 2,
    }


def test_a_driver_begins_with_the_micro_batches_that_fit_before_and_another_spec_tries_again(tmp_path: Path) -> None:
    summary = Summary(str(tmp_path))
    assert micro_batches(query.trials(summary, "wiki"), "5bec") == {}
    for row in (
        trial(1, **GOES_ON),
        trial(2, **{**GOES_ON, "micro_batch_next": 8}),
        trial(3, **FINAL),
        trial(4, **{**GOES_ON, "dtype": "float64"}),
        trial(5, spec_hash="01d"),
    ):
        summary.write_trial(row)
    trials = query.trials(summary, "wiki")
    assert micro_batches(trials, "5bec") == {"float32": 8, "float64": 16}
    assert micro_batches(trials, "07e5") == {}
    assert answers(trials, "5bec") == {"0003": NO_LOSS, "0005": 0.5}
    assert answers(trials, "07e5") == {"0005": 0.5}
    assert math.isinf(NO_LOSS)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (AttemptLost(trial=TINY, cost_usd=0.25), "1 lost and resumed"),
        (
            AttemptExhausted(trial=TINY, cost_usd=0.25),
            "1 out of memory and resumed in smaller micro-batches",
        ),
    ],
)
def test_the_view_counts_an_attempt_that_goes_on_and_adds_its_cost(event: LaneEvent, said: str) -> None:
    view = LiveView(examples=lambda trial: 8.0, expected_trials=1, expected_examples=8.0, finished_before=0, lanes=1)
    view.note(TrialBegan(trial=TINY))
    view.note(event)
    view.note(TrialEnded(trial=TINY, state=State.COMPLETED, cost_usd=0.5))
    assert view.tally.cost_usd() == 0.75
    assert view.tally.failed == 0
    assert said in view.line()
