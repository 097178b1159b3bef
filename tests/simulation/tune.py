"""Tune's loop in few lines: suggestions become lanes, which are reused while there is more, and their results told."""

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray.tune.search import Searcher

from cluster.lanes.trainable import LaneTrainable
from tests.simulation.strands import Process

# Tune looks ten times a second; here it is woken by what it looks for.
SECONDS_OF_A_STEP = 1.0


class SimulatedLane(LaneTrainable):
    """The product's trainable without Tune's actor around it."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def trial_id(self) -> str:
        """The id of the trial with which it began."""
        return self._name


class Actor:
    """A lane's process, with a call that is under way."""

    def __init__(self, world: Any, settings: Any, trial: Any, wake: Callable[..., None]) -> None:
        self._world, self._settings, self._wake = world, settings, wake
        self.process = Process(f"lane {trial.trial_id}")
        self.process.deaths.append(wake)
        world.lanes.append(self.process)
        self.lane = SimulatedLane(trial.trial_id)
        self.trial = trial
        self.call = self._start(lambda: self.lane.setup(trial.config, settings))

    def take(self, trial: Any) -> None:
        """Take the next trial."""
        self.trial = trial
        self.call = self._start(lambda: self.lane.reset_config(trial.config))

    def step(self) -> None:
        """Begin the next step."""
        self.call = self._start(self.lane.step)

    def end(self) -> None:
        """Let it clean up; Tune does not wait for it."""
        self._start(self.lane.cleanup)

    def _start(self, call: Any) -> Any:
        over = self._world.strands.start(self.process, call).over
        over.add_done_callback(self._wake)
        return over


class Tuner:
    """As `tune.Tuner` with what `cluster.lanes.schedule` gives it."""

    def __init__(self, world: Any, driver: Process, queue: Searcher, lanes: int, settings: Any, watcher: Any) -> None:
        self._world, self._driver, self._queue, self._lanes = world, driver, queue, lanes
        self._settings, self._watcher = settings, watcher
        self._actors: list[Actor] = []
        self._finished = False
        self._changed = world.loop.create_future()

    def fit(self) -> None:
        """Run until the queue has no more."""
        while True:
            self._watcher.on_step_begin(0, [])
            self._fill()
            if not self._actors and self._finished:
                return
            self._changed = self._world.loop.create_future()
            for actor in list(self._actors):
                self._look(actor)
            with contextlib.suppress(TimeoutError):
                self._world.strands.wait(self._changed, SECONDS_OF_A_STEP)

    def _wake(self, *_: Any) -> None:
        if not self._changed.done():
            self._changed.set_result(None)

    def _fill(self) -> None:
        while len(self._actors) < self._lanes and (trial := self._next()) is not None:
            self._begin(Actor(self._world, self._settings, trial, self._wake))

    def _next(self) -> Any:
        self._world.suggested += 1
        name = f"t{self._world.suggested}"
        config = None if self._finished else self._queue.suggest(name)
        if config == Searcher.FINISHED:
            self._finished = True
        if not isinstance(config, dict):
            return None
        return SimpleNamespace(trial_id=name, config=config, last_result={}, problem=None)

    def _begin(self, actor: Actor) -> None:
        self._actors.append(actor)
        self._watcher.on_trial_start(0, [], actor.trial)

    def _look(self, actor: Actor) -> None:
        if not actor.process.alive:
            self._lost(actor, RuntimeError("its process has ended"))
        elif actor.call.done():
            result, problem = actor.call.result()
            if problem is not None:
                self._lost(actor, problem)
            elif isinstance(result, dict):
                self._told(actor, result)
            else:
                actor.step()

    def _lost(self, actor: Actor, problem: BaseException) -> None:
        self._actors.remove(actor)
        actor.process.kill()
        actor.trial.get_pickled_error = lambda: problem
        self._watcher.on_trial_error(0, [], actor.trial)
        self._queue.on_trial_complete(actor.trial.trial_id, error=True)

    def _told(self, actor: Actor, result: dict[str, Any]) -> None:
        actor.trial.last_result = result
        self._watcher.on_trial_result(0, [], actor.trial, result)
        if not result.get("done"):
            actor.step()
            return
        self._queue.on_trial_complete(actor.trial.trial_id, result)
        following = self._next()
        if following is None:
            self._actors.remove(actor)
            actor.end()
            return
        actor.take(following)
        self._watcher.on_trial_start(0, [], following)
