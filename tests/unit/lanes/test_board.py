"""The board: assignments wait for workers, are taken back, end early; whose node is called back hears it."""

import asyncio
from typing import Any

import pytest

from cluster.lanes import board as board_module
from cluster.lanes.board import Assignment, Board
from cluster.lanes.reports import Beat, Taken, TakenBack
from cluster.lanes.station import Station
from cluster.study.at_once import RowsAtOnce
from tests.support.trials import TINY
from trainer.report import State


def assignment(serial: int) -> Assignment:
    rows = RowsAtOnce(micro_batch=32, evaluation=256)
    return Assignment(serial=serial, trial=TINY, micro_batch=17, rows_at_once=rows, checkpoints="nowhere")


def at(node_id: str) -> Station:
    return Station(
        node_id=node_id, node_type="g5.xlarge", market="spot", region="us-east-1", cpus=4.0, gpus=1.0, ready_at=1.0
    )


HERE, THERE = at("here"), at("there")


def play(body: Any, draining: dict[str, int] | None = None) -> None:
    """Run a coroutine function with a new board, within ten seconds."""
    asyncio.run(asyncio.wait_for(body(Board(lambda: draining or {})), 10))


def test_workers_wait_for_a_job_and_each_gets_it_once() -> None:
    async def body(board: Board) -> None:
        waiting = [asyncio.create_task(board.take("a", rank, 0, HERE)) for rank in (0, 1)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        await board.post("a", assignment(1))
        assert [taken.serial for taken in await asyncio.gather(*waiting)] == [1, 1]
        assert await board.hear("a", 1) == [Taken(HERE)]
        later = asyncio.create_task(board.take("a", 0, 1, HERE))
        await asyncio.sleep(0.01)
        assert not later.done()
        await board.tell("a", "over", last=True)
        await board.post("a", assignment(2))
        assert (await later).serial == 2

    play(body)


def test_what_is_told_after_the_last_word_is_not_heard() -> None:
    async def body(board: Board) -> None:
        await board.post("a", assignment(1))
        await board.take("a", 0, 0, HERE)
        await board.tell("a", "alive")
        await board.tell("a", "over", last=True)
        await board.tell("a", "from the grave")
        assert await board.hear("a", 1) == [Taken(HERE), "alive", "over"]

    play(body)


def test_a_job_that_ended_is_not_taken_again() -> None:
    async def body(board: Board) -> None:
        await board.post("a", assignment(1))
        await board.take("a", 0, 0, HERE)
        await board.tell("a", "over", last=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(board.take("a", 0, 0, HERE), 0.05)

    play(body)


def test_stopping_takes_back_what_nobody_took_and_tells_who_asks() -> None:
    async def body(board: Board) -> None:
        await board.post("a", assignment(1))
        await board.post("b", assignment(1))
        await board.take("b", 0, 0, HERE)
        await board.stop(State.CANCELLED)
        assert await board.hear("a", 1) == [TakenBack(State.CANCELLED)]
        assert await board.hear("b", 1) == [Taken(HERE)]
        assert await board.beat("b", 1, None, 0) is State.CANCELLED
        await board.post("a", assignment(2))
        assert await board.hear("a", 1) == [TakenBack(State.CANCELLED)]

    play(body)


def test_one_group_can_be_stopped_alone_and_its_next_trial_goes_on() -> None:
    async def body(board: Board) -> None:
        for group in "ab":
            await board.post(group, assignment(1))
            await board.take(group, 0, 0, HERE)
        await board.stop(State.STOPPED, "a")
        assert await board.beat("a", 1, None, 0) is State.STOPPED
        assert await board.beat("b", 1, None, 0) is None
        await board.post("a", assignment(2))
        assert await board.beat("a", 2, None, 0) is None

    play(body)


def test_the_first_and_the_last_beat_of_the_present_job_are_kept() -> None:
    async def body(board: Board) -> None:
        await board.post("a", assignment(1))
        for update in (7, 8, 9):
            await board.beat("a", 1, Beat(update=update, seconds_training=update / 2), update)
        assert [beat.update for beat in await board.beats("a")] == [7, 9]
        await board.post("a", assignment(2))
        assert await board.steps("a") is None
        await board.beat("a", 1, Beat(update=99, seconds_training=1.0), 99)  # a late one of the assignment before
        assert await board.beats("a") == []
        assert await board.steps("a") is None
        await board.beat("a", 2, None, 3)
        assert (await board.beats("a"), await board.steps("a")) == ([], 3)
        await board.beat("a", 2, Beat(update=0, seconds_training=0.0), 0)
        assert await board.beats("a") == [Beat(update=0, seconds_training=0.0)]

    play(body)


def test_a_rest_ends_with_a_release_or_after_its_time() -> None:
    async def body(board: Board) -> None:
        assert not await board.rest(0, 0.01)
        resting = asyncio.create_task(board.rest(0, None))
        await asyncio.sleep(0)
        await board.release()
        assert await resting
        assert await board.rest(0, 0.01)

    play(body)


def test_a_group_with_any_worker_on_a_node_that_is_called_back_is_to_save_and_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(board_module, "SECONDS_BETWEEN_LOOKS", 0.0)
    draining: dict[str, int] = {"elsewhere": 0}

    async def body(board: Board) -> None:
        for group, stations in (("a", (HERE, THERE)), ("b", (HERE, HERE))):
            await board.post(group, assignment(1))
            for rank, station in enumerate(stations):
                await board.take(group, rank, 0, station)
        assert await board.beat("a", 1, None, 0) is None
        draining["there"] = 12345
        assert await board.beat("a", 1, None, 0) is State.LOST
        assert await board.beat("b", 1, None, 0) is None
        # A study that is being stopped is stopped, wherever it runs.
        await board.stop(State.CANCELLED)
        assert await board.beat("a", 1, None, 0) is State.CANCELLED

    play(body, draining)


def test_hearing_nothing_ends_and_closing_ends_the_workers() -> None:
    async def body(board: Board) -> None:
        assert await board.hear("a", 0.01) == []
        waiting = asyncio.create_task(board.take("a", 0, 0, HERE))
        await asyncio.sleep(0)
        await board.close("a")
        assert await waiting is None

    play(body)


def test_what_is_there_already_is_heard_without_waiting() -> None:
    async def body(board: Board) -> None:
        assert await board.hear("a", 0.0) == []
        await board.post("a", assignment(1))
        assert await board.take("a", 0, 0, HERE) is not None
        assert await board.hear("a", 0.0) == [Taken(HERE)]

    play(body)


def test_who_waits_in_vain_has_the_places_of_the_dead_freed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []
    board = Board(dict, free_places=lambda: freed.append(1) or 1)

    async def body() -> None:
        for _ in range(3):
            assert await board.hear("lane", 0.01) == []
        assert len(freed) == 1
        monkeypatch.setattr(board_module, "SECONDS_BETWEEN_FREEINGS", 0.0)
        assert await board.hear("lane", 0.01) == []
        assert len(freed) == 2
        board._free_places = lambda: 1 // 0
        assert await board.hear("lane", 0.01) == []

    asyncio.run(asyncio.wait_for(body(), 10))
