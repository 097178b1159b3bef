"""A worker group in few lines: machines that come and go, and trainings whose losses are a formula of the update."""

import json
import math
from collections.abc import Callable
from typing import Any

from cluster.lanes.failure import Failure, Fault
from cluster.lanes.reports import Beat, Ended, LaneMachine
from cluster.lanes.settings import LaneSettings
from cluster.lanes.station import Station
from tests.simulation.strands import Process
from tests.simulation.work import Work
from trainer.errors import DataError, UserError
from trainer.report import Evaluation, Outcome, State
from trainer.trial import TrialSpec

SECONDS_TO_BOOT, SECONDS_TO_NOTICE, SECONDS_TO_FOLLOW = (2.0, 20.0), (0.5, 9.0), (1.0, 4.0)
SECONDS_BETWEEN_BEATS, SECONDS_BETWEEN_CHECKPOINTS = 1.0, 3.0
EVALUATIONS = 5
MACHINE = LaneMachine(
    device="cpu",
    kernel_path="xla",
    tensorflow_version="0",
    peak_memory_bytes=1,
    gradient_check=0.0,
    repeats=1,
    tf32=0,
)


def loss_at(trial: TrialSpec, update: int) -> float:
    """The validation loss of a trial after so many updates: the same in every attempt."""
    seed = int(trial.trial_id, 16) % 1000 / 1000
    return 1.0 + 0.1 * seed + math.exp(-update / 10) + 0.3 * math.log10(trial.learning_rate / 0.01) ** 2


def diverges(trial: TrialSpec) -> bool:
    """Whether a trial diverges half-way."""
    return trial.learning_rate > 0.5


class Machines:
    """The places for workers; each machine has one, and its id."""

    def __init__(self, world: Any, count: int) -> None:
        self._world, self._count, self._made = world, count, 0
        self.free: list[str] = []
        self.draining: dict[str, int] = {}
        self.used: dict[str, Group] = {}
        for _ in range(count):
            self._come()

    def take(self, number: int, group: "Group") -> list[str]:
        """So many machines for a group, waited for."""
        while len(self.free) < number:
            self._world.strands.sleep(1.0)
        taken, self.free = self.free[:number], self.free[number:]
        self.used |= dict.fromkeys(taken, group)
        return taken

    def give_back(self, machines: list[str]) -> None:
        """Machines that are still there are free again."""
        for one in machines:
            if self.used.pop(one, None) is not None and one not in self.draining:
                self.free.append(one)

    def lose(self, machine: str) -> None:
        """A machine is gone at once, and another comes later."""
        group = self.used.pop(machine, None)
        if machine in self.free:
            self.free.remove(machine)
        self.draining.pop(machine, None)
        if group is not None:
            group.lost(machine)
        self._world.loop.call_later(self._world.random.uniform(5, 60), self._come)

    def drain(self, machine: str) -> None:
        """A machine has its notice, and goes two minutes later."""
        self.draining[machine] = 120
        if machine in self.free:
            self.free.remove(machine)
        self._world.loop.call_later(120.0, self.lose, machine)

    def _come(self) -> None:
        if self._made - self._count < 50:
            self._made += 1
            self.free.append(f"m{self._made}")


class Group:
    """As `cluster.lanes.group.WorkerGroup`: rank 0 trains, the others only occupy their machines."""

    def __init__(self, world: Any, owner: Process, settings: LaneSettings, *, name: str, workers: int) -> None:
        self._world, self._settings, self.name, self.workers = world, settings, name, workers
        self.problem: BaseException | None = None
        self._machines: list[str] = []
        self._over = world.loop.create_future()
        self.process = Process(f"group {name}")
        self.process.deaths.append(self._crashed)
        self.begun = False
        self.ready_at = self.over_at = math.inf
        self.owner = owner
        owner.deaths.append(self._orphaned)
        world.groups.append(self)
        world.strands.start(self.process, self._run)

    @property
    def alive(self) -> bool:
        """Whether it has not ended, as far as its lane knows."""
        return not self._over.done()

    def close(self, *, seconds: float = 5.0) -> None:
        """Let the workers end, and wait a while."""
        self._world.wait(self._settings.board.close.remote(self.name))
        if self.alive and not self._machines:
            # Still waiting for machines: it ends with its lane.
            self._end(None)
        try:
            self._world.strands.wait(self._over, seconds)
        except TimeoutError:
            self._end(TimeoutError("it did not end"))

    def kill(self, reason: str) -> None:
        """End the workers, whatever they do."""
        self._end(TimeoutError(reason))

    def lost(self, machine: str) -> None:
        """A machine of it is gone; its workers stop at once, and the lane sees it a little later."""
        self.process.kill(self._world.loop.now)

    def _crashed(self) -> None:
        self._later(SECONDS_TO_NOTICE, ConnectionError("a worker is gone"))

    def _orphaned(self) -> None:
        """End with the lane that began it, as Ray ends an actor's actors."""
        self._later(SECONDS_TO_FOLLOW, ConnectionError("its controller is gone"))

    def _later(self, within: tuple[float, float], problem: BaseException) -> None:
        self._world.loop.call_later(self._world.random.uniform(*within), self._end, problem)

    def _end(self, problem: BaseException | None) -> None:
        if self._over.done():
            return
        self.problem, self.over_at = problem, self._world.loop.now
        self._over.set_result(None)
        self.process.kill(self.over_at)
        self._world.machines.give_back(self._machines)

    def _run(self) -> None:
        self._machines = self._world.machines.take(self.workers, self)
        self._world.strands.sleep(self._world.random.uniform(*SECONDS_TO_BOOT))
        self.ready_at = self._world.loop.now
        try:
            self._work()
        except BaseException as problem:
            self._end(problem)
            return
        self._end(None)

    def _work(self) -> None:
        world, board = self._world, self._settings.board
        station = Station(
            node_id=self._machines[0],
            node_type="g6.xlarge",
            market="spot",
            region="us-east-1",
            cpus=4.0,
            gpus=0.0,
            ready_at=world.wall_clock().timestamp(),
        )
        serial = 0
        while (assignment := world.wait(board.take.remote(self.name, 0, serial, station))) is not None:
            serial, self.begun = assignment.serial, True
            try:
                outcome = _Training(world, self, assignment).run()
            except (UserError, RuntimeError, MemoryError) as problem:
                world.wait(board.tell.remote(self.name, _failure(problem), last=True))
                raise
            world.wait(board.tell.remote(self.name, Ended(outcome, MACHINE), last=True))


def _failure(problem: Exception) -> Failure:
    """As `cluster.lanes.failure.failure_of`, without TensorFlow."""
    if isinstance(problem, MemoryError):
        return Failure(state=State.OUT_OF_MEMORY, error=str(problem))
    faults = {DataError: Fault.DATA, RuntimeError: Fault.TRIAL}
    fault = faults.get(type(problem), Fault.SURROUNDINGS)
    return Failure(state=State.FAILED, error=f"{type(problem).__name__}: {problem}", fault=fault)


class _Training:
    """As `trainer.loop.train`, with a formula in the place of a model."""

    def __init__(self, world: Any, group: Group, assignment: Any) -> None:
        self._world, self._group, self._assignment = world, group, assignment
        self._trial: TrialSpec = assignment.trial
        self._store = world.bucket(assignment.checkpoints)
        self._total = int(self._trial.budget.amount)
        self._asked: State | None = None
        self._over = False
        self._steps = 0

    def run(self) -> Outcome:
        """Train from the last checkpoint to the end, or until the board asks for another."""
        world, trial = self._world, self._trial
        if world.too_large(trial, self._assignment.micro_batch):
            world.strands.sleep(1.0)
            raise MemoryError("so many rows do not fit")
        if world.loop.now < world.broken_until:
            world.strands.sleep(1.0)
            raise RuntimeError("a library is missing")
        if world.loop.now < world.damaged_until:
            world.strands.sleep(1.0)
            raise DataError("a shard is not the one of its manifest")
        progress = self._saved()
        self._work = self._begun(progress["update"])
        for update in progress["evaluated"]:
            self._publish(update)
        resumed, saved_at = progress["update"], world.loop.now
        self._beat(progress["update"])
        world.strands.start(self._group.process, self._heart(progress))
        try:
            while progress["update"] < self._total:
                wish = self._asked
                world.strands.sleep(world.seconds_of_an_update)
                progress["update"] += 1
                self._steps += 1
                self._work.update, self._work.until = progress["update"], world.loop.now
                if diverges(trial) and progress["update"] >= self._total // 2:
                    return self._ended(State.DIVERGED, progress, resumed)
                if progress["update"] % (self._total // EVALUATIONS) == 0:
                    progress["evaluated"].append(progress["update"])
                    self._publish(progress["update"])
                if progress["update"] >= self._total:
                    break
                if wish is not None:
                    if wish is State.STOPPED:
                        return self._ended(wish, progress, resumed)
                    self._save(progress)
                    return self._outcome(wish, progress, resumed)
                if world.loop.now - saved_at >= SECONDS_BETWEEN_CHECKPOINTS:
                    self._save(progress)
                    saved_at = world.loop.now
            return self._ended(State.COMPLETED, progress, resumed)
        finally:
            self._over = True

    def _begun(self, update: int) -> Work:
        now, group = self._world.loop.now, self._group
        work = Work(
            trial_id=self._trial.trial_id,
            lane=group.owner.name,
            workers=group.workers,
            ready_at=group.ready_at,
            began_at=now,
            until=now,
            first=update,
            update=update,
        )
        self._world.works.append(work)
        return work

    def _saved(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._store.read("resume.json"))
        except FileNotFoundError:
            return {"update": 0, "evaluated": []}
        return found

    def _save(self, progress: dict[str, Any]) -> None:
        self._store.write("resume.json", json.dumps(progress).encode())

    def _publish(self, update: int) -> None:
        report = Evaluation(
            update=update,
            examples=update * self._trial.global_batch,
            epoch=1.0,
            seconds=float(update),
            training_loss=None,
            validation_loss=loss_at(self._trial, update),
            validation_accuracy=None,
            gradient_norm=None,
            learning_rate=self._trial.learning_rate,
        )
        self._group._settings.board.tell.remote(self._group.name, report)

    def _heart(self, progress: dict[str, Any]) -> Callable[[], None]:
        def beat() -> None:
            while not self._over:
                self._world.strands.sleep(SECONDS_BETWEEN_BEATS)
                if not self._over:
                    self._asked = self._world.wait(self._beat(progress["update"]))

        return beat

    def _beat(self, update: int) -> Any:
        settings, serial = self._group._settings, self._assignment.serial
        beat = Beat(update=update, seconds_training=float(update))
        return settings.board.beat.remote(self._group.name, serial, beat, self._steps)

    def _ended(self, state: State, progress: dict[str, Any], resumed: int) -> Outcome:
        self._store.write("last.json", b"{}")
        self._store.delete("resume.json")
        return self._outcome(state, progress, resumed)

    def _outcome(self, state: State, progress: dict[str, Any], resumed: int) -> Outcome:
        losses = [loss_at(self._trial, update) for update in progress["evaluated"]]
        nothing: dict[str, Any] = dict.fromkeys(Outcome.__dataclass_fields__)
        return Outcome(
            **nothing
            | {
                "state": state,
                "updates": progress["update"],
                "examples": progress["update"] * self._trial.global_batch,
                "epochs": 1.0,
                "seconds_training": float(progress["update"]),
                "seconds_resumed": float(resumed),
                "seconds_evaluating": 0.0,
                "seconds_saving": 0.0,
                "best_validation_loss": min(losses, default=None),
                "final_validation_loss": losses[-1] if losses else None,
            }
        )
