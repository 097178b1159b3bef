"""What must hold at every step of a day: one driver acts, whatever was begun has a living owner, what must end ends."""

import json
from collections.abc import Iterator

from tests.simulation.world import Driver, World

# A group that hangs holds up the saving until it counts as hanging, a refused bucket for up to 200 s.
SECONDS_TO_STOP = 1300.0
SECONDS_TO_FOLLOW = 12.0
# A day has at most seven faults, and a driver gives a trial up after three losses.
ATTEMPTS_AT_MOST = 30
# A driver whose machine stood still with its clock finds its lease taken at the next renewal, if the bucket answers.
SECONDS_TO_WAKE = 130.0


def wrong(world: World) -> list[str]:
    """What does not hold now."""
    found = [f"{name} was begun {count} times" for name, count in world.attempts.items() if count > ATTEMPTS_AT_MOST]
    return [*found, *_drivers(world), *_orphans(world)]


def _drivers(world: World) -> Iterator[str]:
    now = world.loop.now
    moving = [one for one in world.drivers if one.runs and one.hold is not None and one.process.paused_until <= now]
    for one in moving:
        one.seconds_stopping += 1.0 if one.signals or _is_overdue(one, now) else 0.0
        if one.seconds_stopping > SECONDS_TO_STOP:
            yield f"{one.process.name} goes on after a stop"
    awake = [one for one in moving if not one.process.stood_still or now > one.process.paused_until + SECONDS_TO_WAKE]
    if sum(one.hold.lost() is None and not _has_given_back(one) for one in awake) > 1:
        yield f"{', '.join(one.process.name for one in awake)} hold the study at once"


def _has_given_back(driver: Driver) -> bool:
    """Whether its lease is given back; the answer to that call may be lost, so that the driver has not ended yet."""
    lease = driver.world.objects.content.get(f"drivers/study=simulated/{driver.hold._number:09d}.json", b"{}")
    return bool(json.loads(lease).get("renewals") == -1)


def _is_overdue(driver: Driver, now: float) -> bool:
    seconds = driver.spending.seconds if driver.spending else None
    return seconds is not None and now > driver.began_at + seconds


def _orphans(world: World) -> Iterator[str]:
    now = world.loop.now
    for group in world.groups:
        if group.alive and now > group.owner.died_at + SECONDS_TO_FOLLOW:
            yield f"{group.process.name} has no lane"
    for driver in world.drivers:
        if now > driver.process.died_at + SECONDS_TO_FOLLOW:
            yield from (f"{lane.name} has no driver" for lane in driver.lanes if lane.alive)
