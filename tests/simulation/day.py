"""A day of faults: what goes wrong when, drawn from the seed, and what must be true at its end."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cluster.drive.result import End, RunResult
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.tables import FINISHED
from tests.simulation.trainings import EVALUATIONS, diverges, loss_at
from tests.simulation.world import URI, Driver, World, played
from trainer.errors import UserError

# In seconds of the simulation.
TROUBLED, LONGEST = 150.0, 20_000.0
RUNS_AT_MOST = 15
# A group that hangs holds up the saving until it counts as hanging, a refused bucket for up to 200 s.
SECONDS_TO_STOP = 1300.0


@dataclass
class Day:
    """What happened: the faults by name, and what was found to be wrong."""

    seed: int
    faults: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    runs: int = 0
    seconds: float = 0.0


def play(seed: int) -> Day:
    """Play a seed's day, and judge it."""
    day = Day(seed)
    with played(seed) as world:
        _plan(world, day)
        main = world.loop.create_task(_main(world, day))
        try:
            world.loop.run_until_complete(main)
        except AssertionError as problem:
            day.wrong.append(f"{type(problem).__name__}: {problem}")
        day.seconds = world.loop.now
        if not day.wrong:
            _judge(world, day)
    return day


async def _main(world: World, day: Day) -> None:
    """Run the study again and again until it is complete."""
    for _ in range(RUNS_AT_MOST):
        day.runs += 1
        driver = Driver(world)
        while not driver.over.done() and driver.process.alive:
            await asyncio.sleep(1.0)
            _watch(world, day)
            assert world.loop.now < LONGEST, "it has no end"
        if driver.over.done():
            result, problem = driver.over.result()
            whole = isinstance(result, RunResult) and result.end is End.COMPLETED and not result.failed
            if whole and world.loop.now > TROUBLED:
                await asyncio.sleep(30.0)
                return
            if problem is not None and not isinstance(problem, UserError | KeyboardInterrupt):
                raise AssertionError(f"the driver ended with {type(problem).__name__}: {problem}") from problem
        await asyncio.sleep(world.random.uniform(1.0, 40.0))
    raise AssertionError(f"not complete after {RUNS_AT_MOST} runs")


def _watch(world: World, day: Day) -> None:
    holding = [one for one in world.drivers if one.process.alive and not one.over.done() and one.hold is not None]
    for one in holding:
        if one.signals and one.process.paused_until <= world.loop.now:
            one.seconds_stopping += 1.0
            if one.seconds_stopping > SECONDS_TO_STOP:
                raise AssertionError(f"{one.process.name} goes on after a stop")
    believing = [one for one in holding if one.process.paused_until <= world.loop.now and one.hold.lost() is None]
    if len(believing) > 1:
        day.wrong.append(f"{len(believing)} drivers hold the study at {world.loop.now:.1f}")


def _plan(world: World, day: Day) -> None:
    """Draw the faults and their moments."""
    for _ in range(world.random.choice((0, 1, 1, 2, 2, 3, 4, 6))):
        name, fault = world.random.choice(FAULTS)
        at = world.random.uniform(0.0, TROUBLED)
        world.loop.call_at(at, _strike, world, day, name, fault)
    for trial in world.study.trials:
        if world.random.random() < 0.1:
            world.limits[trial.trial_id] = world.random.choice((8, 4))


def _strike(world: World, day: Day, name: str, fault: Callable[[World], bool]) -> None:
    if fault(world):
        day.faults.append(f"{name} at {world.loop.now:.1f}")


def _machine_lost(world: World) -> bool:
    for one in list(world.machines.used)[:1]:
        world.machines.lose(one)
        return True
    return False


def _machines_lost(world: World) -> bool:
    there = [*world.machines.used, *world.machines.free]
    for one in there[:2]:
        world.machines.lose(one)
    return bool(there)


def _drained(world: World) -> bool:
    for one in list(world.machines.used)[:1]:
        world.machines.drain(one)
        return True
    return False


def _living(world: World) -> list[Driver]:
    return [one for one in world.drivers if one.process.alive and not one.over.done()]


def _driver_killed(world: World) -> bool:
    for one in _living(world):
        one.kill()
    return bool(world.drivers)


def _driver_paused(world: World) -> bool:
    for one in _living(world):
        one.process.paused_until = world.loop.now + world.random.uniform(1.0, 300.0)
    return bool(world.drivers)


def _stopped(world: World) -> bool:
    for one in _living(world):
        one.signals += 1
    return bool(world.drivers)


def _second_driver(world: World) -> bool:
    Driver(world)
    return True


def _lane_killed(world: World) -> bool:
    living = [lane for driver in _living(world) for lane in driver.lanes if lane.alive]
    for one in living[:1]:
        one.kill()
    return bool(living)


def _board_killed(world: World) -> bool:
    boards = [one.board for one in _living(world) if one.board is not None and one.board.alive]
    for board in boards:
        board.kill()
    return bool(boards)


def _refused(world: World) -> bool:
    world.refused_until = world.loop.now + world.random.uniform(1.0, 200.0)
    return True


def _slow(world: World) -> bool:
    world.slow_until = world.loop.now + world.random.uniform(5.0, 60.0)
    return True


def _hung(world: World) -> bool:
    for group in world.groups:
        if group.alive and group.begun:
            group._process.paused_until = math.inf
            return True
    return False


FAULTS: tuple[tuple[str, Callable[[World], bool]], ...] = (
    ("machine lost", _machine_lost),
    ("machines lost", _machines_lost),
    ("machine called back", _drained),
    ("driver killed", _driver_killed),
    ("driver stands still", _driver_paused),
    ("driver stopped", _stopped),
    ("second driver", _second_driver),
    ("lane killed", _lane_killed),
    ("board killed", _board_killed),
    ("bucket refuses", _refused),
    ("bucket is slow", _slow),
    ("group hangs", _hung),
)


def _judge(world: World, day: Day) -> None:
    day.wrong += _rows_wrong(world)
    alive = [one for one in world.drivers if one.process.alive and not one.over.done()]
    day.wrong += [f"group {one.name} is still there" for one in world.groups if one.alive and not alive]
    once = ("trials/", "evaluations/", "attempts/")
    day.wrong += [f"{name} was changed" for name in world.objects.changed if name.startswith(once)]


def _rows_wrong(world: World) -> Iterator[str]:
    world.refused_until = world.slow_until = 0.0
    summary = Summary(URI, note=lambda problem: None)
    trials = query.trials(summary, "simulated")
    rows = trials.to_pylist()
    answers = query.finished(trials).to_pylist()
    times = Counter(row["trial_id"] for row in rows if row["state"] in FINISHED and not row["micro_batch_next"])
    asked = {trial.trial_id: trial for trial in world.study.trials}
    for trial_id in asked.keys() - {row["trial_id"] for row in answers}:
        yield f"{trial_id} has no answer"
    yield from (f"{trial_id} has {count} answers" for trial_id, count in times.items() if count > 1)
    for trial_id in asked:
        attempts = sorted(row["attempt"] for row in rows if row["trial_id"] == trial_id)
        if attempts != list(range(1, len(attempts) + 1)):
            yield f"{trial_id} has attempts {attempts}"
    if lost := summary.lost_attempts("simulated"):
        yield f"{len(lost)} attempts without a row"
    yield from _curves_wrong(world, summary, {row["trial_id"]: row["state"] for row in answers})


def _curves_wrong(world: World, summary: Summary, states: dict[str, str]) -> Iterator[str]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in query.curves(query.evaluations(summary, "simulated")).to_pylist():
        curves.setdefault(row["trial_id"], []).append((row["update"], row["validation_loss"]))
    for trial in world.study.trials:
        total, every = int(trial.budget.amount), int(trial.budget.amount) // EVALUATIONS
        last = total // 2 if diverges(trial) else total
        expected = [(update, loss_at(trial, update)) for update in range(every, last + 1, every)]
        if diverges(trial):
            expected = [point for point in expected if point[0] < last]
        if states.get(trial.trial_id) in ("COMPLETED", "DIVERGED") and curves.get(trial.trial_id, []) != expected:
            yield f"{trial.trial_id}: {states[trial.trial_id]} with {curves.get(trial.trial_id)}, not {expected}"
