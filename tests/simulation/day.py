"""A day: a plan is played in its world, where the study is run again and again until it is whole, and judged."""

import asyncio
from dataclasses import dataclass, field

from cluster.drive.result import End, RunResult
from tests.simulation import faults, invariants, verdict
from tests.simulation.doubles import played
from tests.simulation.plan import Plan, drawn
from tests.simulation.world import Driver, World
from trainer.errors import UserError

# In seconds of the simulation.
LONGEST, STEP = 20_000.0, 1.0
RUNS_AT_MOST = 15


@dataclass
class Day:
    """What happened: the faults that struck, and what was found to be wrong."""

    plan: Plan
    faults: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    trace: list[tuple[float, str, str, str]] = field(default_factory=list)
    runs: int = 0
    seconds: float = 0.0


def play(seed: int) -> Day:
    """Play a seed's day, and judge it."""
    return play_plan(drawn(seed))


def play_plan(plan: Plan) -> Day:
    """Play a plan's day, and judge it."""
    day = Day(plan)
    with played(plan) as world:
        for fault in plan.faults:
            world.loop.call_at(fault.at, _strike, world, day, fault)
        try:
            world.loop.run_until_complete(world.loop.create_task(_main(world, day)))
        except Exception as problem:
            day.wrong.append(f"{type(problem).__name__}: {problem}")
        day.seconds, day.trace = world.loop.now, world.trace
        if not day.wrong:
            day.wrong += verdict.wrong(world)
    return day


def _strike(world: World, day: Day, fault: faults.Fault) -> None:
    if faults.strike(world, fault):
        day.faults.append(fault.name)


async def _main(world: World, day: Day) -> None:
    """Run the study again and again until it is complete."""
    for _ in range(RUNS_AT_MOST):
        day.runs += 1
        driver = Driver(world)
        while driver.runs:
            await asyncio.sleep(STEP)
            day.wrong += invariants.wrong(world)
            assert not day.wrong, day.wrong[0]
            assert world.loop.now < LONGEST, "it has no end"
        if driver.over.done() and _is_whole(*driver.over.result()) and world.loop.now > world.plan.troubled:
            await asyncio.sleep(30.0)
            return
        await asyncio.sleep(world.random.uniform(1.0, 40.0))
    raise AssertionError(f"not complete after {RUNS_AT_MOST} runs")


def _is_whole(result: object, problem: BaseException | None) -> bool:
    if problem is not None and not isinstance(problem, UserError | KeyboardInterrupt):
        raise AssertionError(f"the driver ended with {type(problem).__name__}: {problem}") from problem
    return isinstance(result, RunResult) and result.end is End.COMPLETED and not result.failed
