"""What stands in the place of clocks, threads, Ray and stores while a world is played."""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import prices
from cluster.drive import ends, opening
from cluster.drive import lanes as drive_lanes
from cluster.lanes import attempt, lane_board, ledger, trainable
from cluster.lanes import board as boards
from cluster.lanes import lane as lane_module
from cluster.lanes import schedule as schedules
from cluster.lanes.board import Board
from cluster.lanes.lane import Outside
from cluster.lanes.lane_board import LaneBoard
from cluster.process import ray_session, scratch, signals
from cluster.summary import compact, compacted, content, encoding, parts, scan
from cluster.summary import store as summaries
from cluster.summary.driver import lease
from cluster.summary.driver.only import only_driver
from tests.simulation.bucket import Bucket
from tests.simulation.columns import PARQUET
from tests.simulation.plan import Plan
from tests.simulation.remote import Remote
from tests.simulation.strands import Process
from tests.simulation.threads import Alone, Threads
from tests.simulation.trainings import Group
from tests.simulation.tune import Tuner
from tests.simulation.world import PRICE, World

# What is written once is read by everybody who looks: the same bytes are the same rows.
decode = lru_cache(maxsize=256)(encoding.decode)


@contextlib.contextmanager
def played(plan: Plan) -> Iterator[World]:
    """The world of a plan, in whose clock, threads and stores the product runs during the block."""
    with pytest.MonkeyPatch.context() as patch:
        world = World(plan)
        for module, name, value in _doubles(world):
            patch.setattr(module, name, value)
        try:
            yield world
        finally:
            world.strands.end()
            world.loop.close()


def _doubles(world: World) -> Iterator[tuple[Any, str, Any]]:
    yield time, "monotonic", world.strands.clock
    yield time, "sleep", world.strands.sleep
    threads = Threads(world.strands)
    yield lease, "threading", threads
    yield schedules, "threading", threads
    of_day = SimpleNamespace(now=world.wall_clock)
    for module in (attempt, ledger, opening):
        yield module, "datetime", of_day
    yield prices, "hourly", lambda *_, **__: PRICE
    yield encoding, "pq", PARQUET
    for module in (compact, compacted, parts, scan, summaries):
        yield module, "decode", decode
    for module in (content, scan):
        yield module, "Bucket", Bucket
    yield scan, "kept_content", lambda store, versions, name: store.read(name)
    yield scan, "ThreadPoolExecutor", Alone
    yield compact, "each", lambda do, items: [do(one) for one in items]
    yield summaries, "store_of", world.bucket
    # Whoever looks less often finds the same, a little later.
    yield ends, "SECONDS_BETWEEN_LOOKS", 1.0
    yield lane_board, "SECONDS_BETWEEN_CHECKS", 5.0
    yield signals, "count", lambda: world.driver().signals
    yield signals, "counted", contextlib.nullcontext
    yield scratch, "folder", lambda *_, **__: contextlib.nullcontext("/nowhere")
    yield ray_session, "joined", lambda address: _session(world)
    yield opening, "only_driver", partial(_held, world, only_driver)
    yield drive_lanes, "start_board", partial(_board, world)
    yield schedules, "_tuner", partial(_tuner, world)
    yield trainable, "LaneBoard", partial(LaneBoard, get=world.wait)
    yield lane_module, "Outside", lambda: _outside(world)
    yield boards, "draining_nodes", lambda: world.machines.draining


@contextlib.contextmanager
def _session(world: World) -> Iterator[Any]:
    driver = world.driver()
    world.strands.sleep(3.0)
    try:
        yield SimpleNamespace(lost=lambda: None)
    finally:
        driver.end_rest()


@contextlib.contextmanager
def _held(world: World, real: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    with real(*arguments) as hold:
        world.driver().hold = hold
        yield hold


def _board(world: World, micro_batches: Any) -> Remote:
    driver = world.driver()
    driver.board = Process("board")
    return Remote(world, driver.board, Board(lambda: world.machines.draining, micro_batches))


def _tuner(world: World, queue: Any, scheduler: Any, lanes: int, settings: Any, watcher: Any) -> Tuner:
    driver = world.driver()
    world.lanes = driver.lanes
    return Tuner(world, driver.process, queue, lanes, settings, watcher)


def _outside(world: World) -> Outside:
    assert world.strands.current is not None
    owner = world.strands.current.process

    def wait_for_workers(settings: Any, wanted: int) -> int:
        world.strands.sleep(world.random.uniform(0.1, 20.0))
        return wanted if wanted == 1 or world.random.random() < 0.5 else 1

    return Outside(
        start_group=partial(Group, world, owner),
        wait_for_workers=wait_for_workers,
        read_sign=lambda stations: None,
    )
