"""The ledger: what the seconds of an attempt were spent on, and what they cost.

An attempt waits until its first worker's process exists, starts until its first update begins, then trains, evaluates
and saves. Its machines are paid for from the start of that process to the attempt's end, each in proportion to the part
of it that a worker takes.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cluster import prices
from cluster.lanes.reports import Beat
from cluster.lanes.settings import LaneSettings
from cluster.lanes.station import Station


def clocks(
    station: Station | None, started_at: datetime, ended_at: datetime, first_update_at: float | None
) -> dict[str, float | None]:
    """`seconds_waiting` and `seconds_starting` of an attempt; `first_update_at` is a Unix time."""
    began = ended_at.timestamp() if station is None else max(station.ready_at, started_at.timestamp())
    waiting = max(0.0, began - started_at.timestamp())
    # Two machines' clocks may differ by milliseconds.
    starting = max(0.0, first_update_at - began) if first_update_at is not None else None
    return {"seconds_waiting": waiting, "seconds_starting": starting}


def seconds_repeated(reached: Beat | None, beats: Sequence[Beat]) -> float | None:
    """The seconds of training that the previous attempt had reached beyond the point where this attempt began.

    None if there was no previous attempt, if its driver was lost with it, or if this attempt never began.
    """
    if reached is None or not beats:
        return None
    return max(0.0, reached.seconds_training - beats[0].seconds_training)


def share_of_machine(settings: LaneSettings, station: Station) -> float:
    """The fraction of its machine that one worker takes: of the GPUs if it asks for any, otherwise of the CPUs."""
    if settings.gpus_per_worker and station.gpus:
        return min(1.0, settings.gpus_per_worker / station.gpus)
    return min(1.0, settings.cpus_per_worker / station.cpus) if station.cpus else 1.0


def cost_usd(
    settings: LaneSettings, station: Station | None, workers: int, started_at: datetime, ended_at: datetime | None
) -> float | None:
    """What an attempt's workers have cost up to `ended_at`, or up to now, if all machines are like rank 0's."""
    if station is None:
        return 0.0
    until = (ended_at or datetime.now(UTC)).timestamp()
    seconds = max(0.0, until - max(station.ready_at, started_at.timestamp()))
    share = workers * share_of_machine(settings, station)
    return prices.cost_usd(_price(station), seconds=seconds, share=share)


def priced(station: Station | None) -> dict[str, Any]:
    """The columns that name the machine, what an hour of it costs, and what EC2 refused before it gave this one."""
    if station is None:
        return {}
    price = _price(station)
    return {
        "node_type": station.node_type,
        "market": station.market,
        "region": station.region,
        "usd_per_hour": price.usd_per_hour,
        "price_source": f"{price.source} {price.as_of}".strip(),
        "refused": station.refused or None,
    }


def _price(station: Station) -> prices.Price:
    return prices.hourly(station.node_type, market=station.market, region=station.region)
