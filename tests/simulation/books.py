"""The books of a day: what its machines really did, held against the ledger and the bills of its drivers."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from cluster.drive.result import End, RunResult
from cluster.lanes.events import TrialBegan
from tests.simulation.work import Work
from tests.simulation.world import CPUS, EPOCH, PRICE, Driver, World

Row = dict[str, Any]
# What a message and a call to a bucket that answers may take, in seconds.
SECONDS_BETWEEN = 0.2


def wrong(world: World, rows: Sequence[Row]) -> Iterator[str]:
    """What does not add up."""
    lanes = defaultdict(list)
    for row in rows:
        lane = world.begun_by.get(f"attempts/study=simulated/{row['trial_id']}-{row['attempt']}.json")
        if lane is None:
            yield f"{_name(row)} was never begun"
            continue
        lanes[lane].append(row)
        works = [one for one in world.works if one.lane == lane and _is_of(one, row)]
        yield from _row_wrong(row, works)
    for lane, own in lanes.items():
        yield from _overlapping(lane, own)
    for driver in world.drivers:
        names = {lane.name for lane in driver.lanes}
        yield from _bill_wrong(driver, [row for name in names for row in lanes.get(name, [])])


def usd(machine_seconds: float) -> float:
    """What one worker costs for so long: it takes one of its machine's CPUs."""
    assert PRICE.usd_per_hour is not None
    return PRICE.usd_per_hour * machine_seconds / 3600 / CPUS


def _row_wrong(row: Row, works: Sequence[Work]) -> Iterator[str]:
    """A row must bill all the work of its attempt, and no more time than its workers were there."""
    if row["cost_usd"] is None:
        return
    began, ended = _seconds(row["started_at"]), _seconds(row["ended_at"])
    worked = sum(one.workers * (one.until - one.began_at) for one in works)
    there = row["workers"] * (ended - max([began, *(one.ready_at for one in works)]))
    if row["cost_usd"] < usd(worked) - 1e-9:
        yield f"{_name(row)} bills {row['cost_usd']:.6f} usd, its workers cost {usd(worked):.6f}"
    if row["cost_usd"] > usd(there) + 1e-9:
        yield f"{_name(row)} bills {row['cost_usd']:.6f} usd, its workers were there for {usd(there):.6f}"
    if works and row["updates"] is not None and not works[0].first <= row["updates"] <= works[-1].update:
        yield f"{_name(row)} has {row['updates']} updates, not {works[0].first} to {works[-1].update}"
    if works and row["seconds_resumed"] is not None and row["seconds_resumed"] != works[0].first:
        yield f"{_name(row)} resumed at {row['seconds_resumed']}, not {works[0].first}"


def _overlapping(lane: str, rows: list[Row]) -> Iterator[str]:
    """A lane has one attempt at a time."""
    rows = sorted((row for row in rows if row["cost_usd"] is not None), key=lambda row: row["started_at"])
    for before, after in itertools.pairwise(rows):
        if after["started_at"] < before["ended_at"]:
            yield f"{lane} is billed for {_name(before)} and {_name(after)} at once"


def _bill_wrong(driver: Driver, rows: Sequence[Row]) -> Iterator[str]:
    """The bill of a driver that heard the end of each of its attempts is the sum of their rows.

    Rows without a cost are those of attempts that another driver took for lost, while their own stood still.
    """
    result = driver.over.result()[0] if driver.over.done() else None
    heard = [event for _, event in driver.events if not isinstance(event, TrialBegan)]
    if not isinstance(result, RunResult) or any(event.cost_usd is None for event in heard):
        return
    if any(row["cost_usd"] is None for row in rows):
        return
    ledger = sum(row["cost_usd"] or 0.0 for row in rows)
    if abs(ledger - result.cost_usd) > 1e-9:
        yield f"{driver.process.name} bills {result.cost_usd:.6f} usd, the ledger has {ledger:.6f}"
    spending = driver.spending
    if result.end is End.OUT_OF_BUDGET and spending and spending.usd is not None and result.cost_usd < spending.usd:
        yield f"{driver.process.name} ended at {result.cost_usd:.6f} of {spending.usd:.6f} usd"


def _is_of(work: Work, row: Row) -> bool:
    began, ended = _seconds(row["started_at"]), _seconds(row["ended_at"])
    return work.trial_id == row["trial_id"] and began <= work.began_at <= ended


def _seconds(moment: Any) -> float:
    return float((moment - EPOCH).total_seconds())


def _name(row: Row) -> str:
    return f"{row['trial_id']}-{row['attempt']} ({row['state']})"
