"""How each fault of a plan strikes the world; one that finds nobody to strike does nothing."""

import math
from collections.abc import Callable, Iterable

from cluster.prices import Spending
from tests.simulation.line import DOOMS
from tests.simulation.plan import STORE, Fault
from tests.simulation.strands import Process
from tests.simulation.world import PRICE, Driver, World

Strike = Callable[[World, Fault], bool]


def strike(world: World, fault: Fault) -> bool:
    """Let it strike; whether it struck anybody."""
    struck = STRIKES[fault.name](world, fault)
    if struck:
        world.note("strikes", str(fault))
    return struck


def _machines_lost(world: World, fault: Fault) -> bool:
    there = [*world.machines.used, *world.machines.free][: 1 if fault.name == "machine lost" else 2]
    for one in there:
        world.machines.lose(one)
    return bool(there)


def _machine_drained(world: World, fault: Fault) -> bool:
    there = list(world.machines.used)[:1]
    for one in there:
        world.machines.drain(one)
    return bool(there)


def _drivers(world: World) -> list[Process]:
    return [one.process for one in world.drivers if one.runs]


def _lanes(world: World) -> list[Process]:
    return [lane for driver in world.drivers if driver.runs for lane in driver.lanes if lane.alive]


def _boards(world: World) -> list[Process]:
    return [one.board for one in world.drivers if one.runs and one.board is not None and one.board.alive]


def _groups(world: World) -> list[Process]:
    return [group.process for group in world.groups if group.alive and group.begun]


def _one(processes: list[Process], fault: Fault) -> list[Process]:
    return [processes[int(fault.choice * len(processes))]] if processes else []


def _killed(among: Callable[[World], list[Process]]) -> Strike:
    def kill(world: World, fault: Fault) -> bool:
        chosen = _one(among(world), fault)
        for process in chosen:
            process.kill(world.loop.now)
        return bool(chosen)

    return kill


def _paused(among: Callable[[World], list[Process]], *, clock: bool = False) -> Strike:
    def pause(world: World, fault: Fault) -> bool:
        chosen = _one(among(world), fault)
        for process in chosen:
            seconds = fault.seconds or math.inf
            process.paused_until = max(process.paused_until, world.loop.now + seconds)
            process.stood_still += seconds if clock else 0.0
        return bool(chosen)

    return pause


def _signalled(world: World, fault: Fault) -> bool:
    there = [one for one in world.drivers if one.runs]
    for one in there:
        one.signals += 1
        one.signalled_at = min(one.signalled_at, world.loop.now)
        if fault.name == "driver stopped twice":
            world.loop.call_later(fault.seconds, setattr, one, "signals", 2)
    return bool(there)


def _doomed(world: World, fault: Fault) -> bool:
    world.line.doomed.append(DOOMS[int(fault.choice * len(DOOMS))])
    return True


def _of_bucket(world: World, fault: Fault) -> bool:
    world.line.until[fault.name] = world.loop.now + fault.seconds
    return True


def _little_memory(world: World, fault: Fault) -> bool:
    trials = world.study.trials
    world.limits[trials[int(fault.choice * len(trials))].trial_id] = 8 if fault.choice * 1000 % 2 < 1 else 4
    return True


def _until(name: str) -> Strike:
    def begin(world: World, fault: Fault) -> bool:
        setattr(world, name, world.loop.now + fault.seconds)
        return True

    return begin


def _spending(world: World, fault: Fault) -> bool:
    if fault.name == "seconds are short":
        world.spending = Spending(usd=None, seconds=fault.seconds)
    else:
        assert PRICE.usd_per_hour is not None
        world.spending = Spending(usd=fault.seconds * PRICE.usd_per_hour / 3600, seconds=None)
    return True


def _replaced(world: World, fault: Fault) -> bool:
    """Its machine stands still, and somebody begins the study elsewhere."""
    pause = _paused(_drivers, clock=fault.choice < 0.5)
    return pause(world, fault) and _second_driver(world, fault)


def _second_driver(world: World, fault: Fault) -> bool:
    Driver(world)
    return True


def _strikes() -> Iterable[tuple[str, Strike]]:
    yield "machine lost", _machines_lost
    yield "machines lost", _machines_lost
    yield "machine called back", _machine_drained
    yield "driver killed", _killed(_drivers)
    yield "driver stands still", _paused(_drivers)
    yield "driver suspended", _paused(_drivers, clock=True)
    yield "driver stopped", _signalled
    yield "driver stopped twice", _signalled
    yield "driver replaced", _replaced
    yield "second driver", _second_driver
    yield "lane killed", _killed(_lanes)
    yield "lane stands still", _paused(_lanes)
    yield "board killed", _killed(_boards)
    yield "board stands still", _paused(_boards)
    yield "group hangs", _paused(_groups)
    yield "group stands still", _paused(_groups)
    yield "killed at a call", _doomed
    for name in STORE:
        yield name, _of_bucket
    yield "little memory", _little_memory
    yield "code is broken", _until("broken_until")
    yield "data are damaged", _until("damaged_until")
    yield "seconds are short", _spending
    yield "dollars are short", _spending


STRIKES: dict[str, Strike] = dict(_strikes())
