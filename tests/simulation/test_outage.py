"""A summary that nobody can reach for minutes: its driver loses the study and goes on by itself, but only once."""

import asyncio
from functools import partial
from typing import Any

import pytest

from cluster.drive.result import End
from tests.simulation.doubles import played
from tests.simulation.plan import Plan
from tests.simulation.world import Driver, World
from trainer.errors import NotReadyError

pytestmark = pytest.mark.slow
SEEDS = range(6)
# Longer than a lease is held without a renewal, and than a call to a store is tried again.
SECONDS_AWAY = 230.0


def driven(seed: int, outages: list[float], seconds: float = SECONDS_AWAY) -> tuple[Any, BaseException | None]:
    """How one driver ends, of whose seconds those in `outages` begin an outage."""
    with played(Plan(seed=seed, kind="seeds", workers=1, updates=60, faults=())) as world:
        for second in outages:
            world.loop.call_at(second, partial(_outage, world, seconds))

        async def main() -> Any:
            driver = Driver(world)
            while not driver.over.done():
                await asyncio.sleep(1.0)
            return driver.over.result()

        found: tuple[Any, BaseException | None] = world.loop.run_until_complete(world.loop.create_task(main()))
        return found


def _outage(world: World, seconds: float) -> None:
    world.line.until["bucket refuses"] = world.loop.now + seconds


# Those about as long as a lease is held and as a call is tried again are the ones in which either may end first.
@pytest.mark.parametrize("seconds", [60.0, 105.0, 118.0, 125.0, 135.0, SECONDS_AWAY])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_driver_that_lost_its_study_goes_on_by_itself(seed: int, seconds: float) -> None:
    result, problem = driven(seed, [8.0], seconds)
    assert problem is None
    assert result.end is End.COMPLETED


def test_it_does_so_once() -> None:
    ends = [driven(seed, [8.0, 8.0 + SECONDS_AWAY + 130.0])[1] for seed in SEEDS]
    assert any(isinstance(problem, NotReadyError) for problem in ends), ends
