"""The board: jobs wait for workers, outlive them, and are taken back; only the last taking is heard."""

import asyncio
from typing import Any

import pytest

from cluster.lanes.board import Board, Job, Taken, TakenBack
from trainer.report import State
from trainer.trial import Duration, ModelSpec, TrialSpec

TRIAL = TrialSpec(
    data_hash="d",
    task="classification",
    model=ModelSpec(),
    global_batch=17,
    learning_rate=0.1,
    optimizer="sgd",
    dtype="float32",
    seed=0,
    budget=Duration(unit="updates", amount=1),
    evaluate_every=Duration(unit="updates", amount=1),
)


def job(serial: int) -> Job:
    return Job(serial=serial, trial=TRIAL, micro_batch=17, checkpoints="nowhere")


def play(body: Any) -> None:
    """Run a coroutine function with a new board, within ten seconds."""
    asyncio.run(asyncio.wait_for(body(Board()), 10))


def test_workers_wait_for_a_job_and_each_gets_it_once() -> None:
    async def body(board: Board) -> None:
        waiting = [asyncio.create_task(board.take("a", rank, 0)) for rank in (0, 1)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        await board.post("a", job(1))
        assert [taken[0].serial for taken in await asyncio.gather(*waiting)] == [1, 1]
        assert await board.hear("a", 1) == [Taken(1)]
        later = asyncio.create_task(board.take("a", 0, 1))
        await asyncio.sleep(0.01)
        assert not later.done()
        await board.tell("a", 1, "over", last=True)
        await board.post("a", job(2))
        assert (await later)[0].serial == 2

    play(body)


def test_new_workers_find_the_job_and_the_lost_ones_are_not_heard() -> None:
    async def body(board: Board) -> None:
        await board.post("a", job(1))
        await board.take("a", 0, 0)
        _, taking = await board.take("a", 0, 0)
        assert taking == 2
        await board.tell("a", 1, "from the grave")
        await board.tell("a", 2, "alive")
        assert await board.hear("a", 1) == [Taken(1), Taken(2), "alive"]

    play(body)


def test_a_job_that_ended_is_not_taken_again() -> None:
    async def body(board: Board) -> None:
        await board.post("a", job(1))
        _, taking = await board.take("a", 0, 0)
        await board.tell("a", taking, "over", last=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(board.take("a", 0, 0), 0.05)

    play(body)


def test_stopping_takes_back_what_nobody_took_and_tells_who_asks() -> None:
    async def body(board: Board) -> None:
        await board.post("a", job(1))
        await board.post("b", job(1))
        await board.take("b", 0, 0)
        await board.stop(State.CANCELLED)
        assert await board.hear("a", 1) == [TakenBack(State.CANCELLED)]
        assert await board.hear("b", 1) == [Taken(1)]
        assert await board.wish("b") is State.CANCELLED
        await board.post("a", job(2))
        assert await board.hear("a", 1) == [TakenBack(State.CANCELLED)]

    play(body)


def test_one_lane_can_be_stopped_alone_and_its_next_trial_goes_on() -> None:
    async def body(board: Board) -> None:
        for lane in "ab":
            await board.post(lane, job(1))
            await board.take(lane, 0, 0)
        await board.stop(State.STOPPED, "a")
        assert await board.wish("a") is State.STOPPED
        assert await board.wish("b") is None
        await board.post("a", job(2))
        assert await board.wish("a") is None

    play(body)


def test_hearing_nothing_ends_and_closing_ends_the_workers() -> None:
    async def body(board: Board) -> None:
        assert await board.hear("a", 0.01) == []
        waiting = asyncio.create_task(board.take("a", 0, 0))
        await asyncio.sleep(0)
        await board.close("a")
        assert await waiting is None

    play(body)
