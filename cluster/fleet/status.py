"""What a fleet does and costs now: its machines with price and, if its Ray can be asked, what they are busy with."""

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from cluster.fleet.machines import BILLING, Machine
from cluster.process.deadline import within

SCHEMA_VERSION = 1
SECONDS = 10.0


def priced(found: Sequence[Machine], region: str) -> list[Machine]:
    """The machines with their price; one that has ended its billing costs nothing."""
    from cluster.prices import hourly

    def price(machine: Machine) -> float | None:
        if machine.state not in BILLING:
            return 0.0
        return hourly(machine.instance_type, market=machine.market, region=region).usd_per_hour

    return [replace(machine, usd_per_hour=price(machine)) for machine in found]


def with_use(found: Sequence[Machine], address: str, token: str) -> list[Machine]:
    """The machines with what is used of their CPUs and GPUs, by the dashboard at `address`; unchanged if it is silent.

    Autoscaler v2 tells nobody outside for how long a machine has been idle (ray 2.60: node_head.py), only this.
    """
    try:
        data = within(SECONDS, lambda: _nodes(address, token))
        used = data["nodeLogicalResources"]
        by_ip = {node["raylet"]["nodeManagerAddress"]: used.get(node["raylet"]["nodeId"]) for node in data["summary"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return list(found)
    return [replace(one, in_use=_short(by_ip.get(one.private_ip))) for one in found]


def _nodes(address: str, token: str) -> Any:
    ask = urllib.request.Request(
        f"{address.rstrip('/')}/nodes?view=summary", headers={"Authorization": f"Bearer {token}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(ask, timeout=SECONDS) as answer:
        return json.loads(answer.read(50_000_000))["data"]


def _short(text: str | None) -> str | None:
    """`0.0/4.0 CPU` and `0.25/1.0 GPU` of all the lines that Ray gives."""
    lines = [line.strip() for line in (text or "").splitlines()]
    kept = [line for line in lines if line.endswith((" CPU", " GPU"))]
    return ", ".join(kept) or None


def total(found: Sequence[Machine]) -> float | None:
    """USD an hour of all the machines; None if the price of one is not known."""
    prices = [one.usd_per_hour for one in found]
    known = [price for price in prices if price is not None]
    return sum(known) if len(known) == len(prices) else None


def to_json(fleet: str, found: Sequence[Machine]) -> str:
    """The stable form for programs."""
    rows = [{**asdict(one), "launched_at": one.launched_at.isoformat()} for one in found]
    body = {"schema_version": SCHEMA_VERSION, "fleet": fleet, "machines": rows, "usd_per_hour": total(found)}
    return json.dumps(body, indent=1) + "\n"


def to_text(found: Sequence[Machine]) -> str:
    """The aligned table for a person."""
    if not found:
        return "no machine is up: nothing bills but the bucket\n"
    head = ("machine", "role", "type", "market", "state", "launched UTC", "in use", "usd/hour")
    rows = [head, *(_row(one) for one in found)]
    sizes = [max(len(row[column]) for row in rows) for column in range(len(head))]
    # Only the price is a number.
    lines = ["  ".join([*map(str.ljust, row[:-1], sizes), row[-1].rjust(sizes[-1])]).rstrip() for row in rows]
    return "\n".join([*lines, f"total: {_usd(total(found))} usd/hour"]) + "\n"


def _row(one: Machine) -> tuple[str, ...]:
    launched = one.launched_at.strftime("%Y-%m-%d %H:%M")
    place = (one.instance_id, one.role or "-", one.instance_type, one.market, one.state, launched)
    return (*place, one.in_use or "-", _usd(one.usd_per_hour))


def _usd(price: float | None) -> str:
    return "?" if price is None else f"{price:.4f}"
