"""One seed's world: its clock, bucket, machines and drivers, and what goes wrong when."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from cluster.drive import lanes as drive_lanes
from cluster.drive import opening
from cluster.drive import run as drive_run
from cluster.lanes import board as boards
from cluster.lanes import lane as lane_module
from cluster.lanes import schedule as schedules
from cluster.lanes import trainable
from cluster.lanes.board import Board
from cluster.lanes.failure import Fault
from cluster.lanes.lane import Outside
from cluster.lanes.lane_board import LaneBoard
from cluster.process import ray_session, scratch, signals
from cluster.study import axes
from cluster.study.capacity import Capacity
from cluster.study.placement import Placement
from cluster.study.spec import parse
from cluster.study.study import Study
from cluster.summary import compact
from cluster.summary import store as summaries
from cluster.summary.driver import lease
from cluster.summary.driver.only import only_driver
from tests.simulation.bucket import Bucket, Objects
from tests.simulation.clock import VirtualLoop
from tests.simulation.strands import Process, Strands
from tests.simulation.threads import Threads
from tests.simulation.trainings import Group, Machines
from tests.simulation.tune import Tuner
from trainer.data.manifest import Manifest, read
from trainer.data.store import Folder
from trainer.errors import NotReadyError
from trainer.trial import TrialSpec

URI = "s3://simulated/summary"
SPEC = """\
study: simulated
data: s3://simulated/data
summary: {uri}
task: classification
axes: {{global_batch: [16, 32], learning_rate: [0.01, 0.9], seeds: 2}}
budget: {{updates: {updates}}}
resources: {{workers: {workers}, lanes: 2}}
"""


@cache
def manifest() -> Manifest:
    """That of a tiny data set, which nobody reads here."""
    from tests.conftest import write_prepared

    with TemporaryDirectory() as folder:
        write_prepared(Path(folder) / "data")
        return read(Folder(f"{folder}/data"))


@cache
def study(workers: int, updates: int) -> Study:
    """Four trials in two lanes, half of which diverge, on two seeds each."""
    spec = parse(SPEC.format(uri=URI, workers=workers, updates=updates), where="simulated")
    trials = axes.trials(spec, data_hash=manifest().data_hash, train_rows=60)
    placed = Placement(lanes=2, workers=workers, cpus=4.0, gpus=0.0, threads_per_worker=1, note=None)
    return Study(spec=spec, manifest=manifest(), trials=trials, placed=placed, capacity=Capacity(cpus=4.0, gpus=0.0))


class Driver:
    """One run of the study's command: a process, what it said, and how it ended."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.process = Process(f"driver {len(world.drivers)}")
        self.signals = 0
        self.hold: Any = None
        self.seconds_stopping = 0.0
        self.board: Process | None = None
        self.lanes: list[Process] = []
        world.drivers.append(self)
        self.over = world.strands.start(self.process, self._run).over

    def _run(self) -> Any:
        return drive_run.run(self.world.study, lambda event: None, address="simulated")

    def kill(self) -> None:
        """Kill it; what it began on the cluster ends by itself, a little later."""
        self.process.kill()
        self.end_rest()

    def end_rest(self) -> None:
        """Let the lanes and the board end, as Ray does for a driver that is gone."""
        random = self.world.random
        for one in [*self.lanes, *([self.board] if self.board else [])]:
            self.world.loop.call_later(random.uniform(0.1, 5.0), one.kill)


class World:
    """Everything that one seed decides."""

    seconds_of_an_update = 0.4
    surroundings = Fault.SURROUNDINGS

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loop = VirtualLoop()
        self.strands = Strands(self.loop)
        self.objects = Objects(self._answer)
        self.study = study(self.random.choice((1, 1, 2)), self.random.choice((10, 25, 60)))
        self.machines = Machines(self, 2 * self.study.placed.workers)
        self.groups: list[Group] = []
        self.lanes: list[Process] = []
        self.drivers: list[Driver] = []
        self.suggested = 0
        self.refused_until = 0.0
        self.slow_until = 0.0
        self.limits: dict[str, int] = {}
        self._delivered: dict[Any, float] = {}

    def bucket(self, uri: str) -> Bucket:
        """The store at an address."""
        rest = uri.removeprefix(URI).strip("/")
        whole = Bucket(self.objects, URI)
        return whole.within(rest) if rest else whole

    def too_large(self, trial: TrialSpec, micro_batch: int) -> bool:
        """Whether a micro-batch does not fit."""
        return micro_batch > self.limits.get(trial.trial_id, 10**6)

    def wait(self, future: Any) -> Any:
        """As `ray.get`."""
        return self.strands.wait(future)

    def driver(self) -> Driver:
        """The driver in whose process the current strand is."""
        assert self.strands.current is not None
        [found] = [one for one in self.drivers if one.process is self.strands.current.process]
        return found

    def _answer(self, action: str) -> bool:
        """Let a call to the bucket take its time; whether its answer arrives."""
        slow = self.loop.now < self.slow_until
        self.strands.sleep(self.random.uniform(1.0, 8.0) if slow else self.random.uniform(0.001, 0.05))
        if self.loop.now < self.refused_until:
            patience = min(100.0, self.refused_until - self.loop.now)
            self.strands.sleep(patience)
            if self.loop.now < self.refused_until:
                raise NotReadyError("s3://simulated does not answer")
        return self.random.random() > 0.01


class Remote:
    """A handle of the board's actor: each call is a message, in the order of its caller."""

    def __init__(self, world: World, process: Process, board: Board) -> None:
        self._world, self._process, self._board = world, process, board

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=partial(self._send, name))

    def _send(self, name: str, *args: Any, **options: Any) -> Any:
        world, answer = self._world, self._world.loop.create_future()
        caller = world.strands.current.process if world.strands.current else None
        # Later than the one before, since the loop does not keep timers of one moment in order.
        before = world._delivered.get((caller, self._process), 0.0)
        at = max(world.loop.now + world.random.uniform(0.0, 0.03), before + 1e-6)
        world._delivered[caller, self._process] = at
        world.loop.call_at(at, self._arrive, name, args, options, answer)
        return answer

    def _arrive(self, name: str, args: Any, options: Any, answer: Any) -> None:
        if not self._process.alive:
            answer.set_exception(ray.exceptions.RayActorError())
            return
        task = self._world.loop.create_task(getattr(self._board, name)(*args, **options))
        self._watch(task, answer)

    def _watch(self, task: Any, answer: Any) -> None:
        """Pass the result on, or the actor's end."""

        def look() -> None:
            if answer.done():
                return
            if not self._process.alive:
                task.cancel()
                answer.set_exception(ray.exceptions.RayActorError())
            elif task.done():
                problem = task.exception()
                if problem is not None:
                    answer.set_exception(problem)
                else:
                    answer.set_result(task.result())
            else:
                self._world.loop.call_later(1.0, look)

        task.add_done_callback(lambda _: look())
        self._world.loop.call_later(1.0, look)


@contextlib.contextmanager
def played(seed: int) -> Iterator[World]:
    """The world of a seed, in whose clock, threads and stores the product runs during the block."""
    with pytest.MonkeyPatch.context() as patch:
        world = World(seed)
        for module, name, value in _doubles(world):
            patch.setattr(module, name, value)
        try:
            yield world
        finally:
            world.strands.end()
            world.loop.close()


def _doubles(world: World) -> Iterator[tuple[Any, str, Any]]:
    yield time, "monotonic", lambda: world.loop.now
    yield time, "sleep", world.strands.sleep
    threads = Threads(world.strands)
    yield lease, "threading", threads
    yield schedules, "threading", threads
    yield compact, "_each", lambda do, items: [do(one) for one in items]
    yield summaries, "store_of", world.bucket
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
