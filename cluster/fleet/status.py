"""What a fleet does and costs now: its machines, their prices and, if its Ray can be asked, how busy they are."""

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from cluster.fleet.machines import BILLING, Machine
from cluster.fleet.turned_away import TurnedAway
from cluster.process.deadline import within
from cluster.text.plain import plain

SCHEMA_VERSION = 1
SECONDS = 10.0


def priced(found: Sequence[Machine], region: str) -> list[Machine]:
    """The machines with their prices; a machine that is no longer billed costs nothing."""
    from cluster.prices import hourly

    def price(machine: Machine) -> float | None:
        if machine.state not in BILLING:
            return 0.0
        return hourly(machine.instance_type, market=machine.market, region=region).usd_per_hour

    return [replace(machine, usd_per_hour=price(machine)) for machine in found]


def with_use(found: Sequence[Machine], address: str, token: str) -> list[Machine]:
    """The machines with their used CPUs and GPUs, from the dashboard at `address`; unchanged if it does not answer.

    How long a machine has been idle, autoscaler v2 does not publish (ray 2.60: node_head.py).
    """
    try:
        data = nodes(address, token)
        used = data["nodeLogicalResources"]
        by_ip = {node["raylet"]["nodeManagerAddress"]: used.get(node["raylet"]["nodeId"]) for node in data["summary"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return list(found)
    return [replace(machine, in_use=_short(by_ip.get(machine.private_ip))) for machine in found]


def nodes(address: str, token: str) -> Any:
    """What the dashboard at `address` says of the cluster's machines: `summary`, and `nodeLogicalResources` by id.

    Raises:
        OSError, ValueError: it does not answer within SECONDS, refuses the token, or answers with something else.
    """
    return within(SECONDS, lambda: _nodes(address, token))


def _nodes(address: str, token: str) -> Any:
    ask = urllib.request.Request(
        f"{address.rstrip('/')}/nodes?view=summary", headers={"Authorization": f"Bearer {token}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(ask, timeout=SECONDS) as answer:
        return json.loads(answer.read(50_000_000))["data"]


def _short(text: str | None) -> str | None:
    """`0.0/4.0 CPU` and `0.25/1.0 GPU`, picked from all the lines that Ray returns."""
    lines = [line.strip() for line in (text or "").splitlines()]
    processors = [line for line in lines if line.endswith((" CPU", " GPU"))]
    return ", ".join(processors) or None


def total(found: Sequence[Machine]) -> float | None:
    """What all the machines cost an hour, in USD; None if the price of one of them is unknown."""
    prices = [machine.usd_per_hour for machine in found]
    known = [price for price in prices if price is not None]
    return sum(known) if len(known) == len(prices) else None


def to_json(fleet: str, found: Sequence[Machine], away: Sequence[TurnedAway] = ()) -> str:
    """The machines, and those that did not join, as JSON, in a stable form for programs."""
    rows = [{**asdict(machine), "launched_at": machine.launched_at.isoformat()} for machine in found]
    notes = [{**asdict(one), "at": one.at.isoformat()} for one in away]
    body = {"schema_version": SCHEMA_VERSION, "fleet": fleet, "machines": rows, "usd_per_hour": total(found)}
    return json.dumps({**body, "turned_away": notes}, indent=1) + "\n"


def to_text(found: Sequence[Machine], away: Sequence[TurnedAway] = ()) -> str:
    """The machines as an aligned table for a person, and below it what was refused and who did not join."""
    notes = [f"{one.instance_id} did not join, {one.at:%H:%M} UTC: {plain(one.why)}" for one in away]
    if not found:
        return "\n".join(["no machine is up: only the bucket costs money", *notes]) + "\n"
    head = ("machine", "role", "type", "market", "state", "launched UTC", "in use", "usd/hour")
    rows = [head, *(_row(machine) for machine in found)]
    sizes = [max(len(row[column]) for row in rows) for column in range(len(head))]
    # Only the price is a number.
    lines = ["  ".join([*map(str.ljust, row[:-1], sizes), row[-1].rjust(sizes[-1])]).rstrip() for row in rows]
    refused = [f"{_refused(machine)}: {machine.refused}" for machine in found if machine.refused]
    return "\n".join([*lines, f"total: {_usd(total(found))} usd/hour", *refused, *notes]) + "\n"


def _refused(machine: Machine) -> str:
    return "EC2 refused" if machine.role == "head" else f"EC2 refused before it gave {machine.instance_id}"


def _row(machine: Machine) -> tuple[str, ...]:
    launched = machine.launched_at.strftime("%Y-%m-%d %H:%M")
    place = (machine.instance_id, machine.role or "-", machine.instance_type, machine.market, machine.state, launched)
    return (*place, machine.in_use or "-", _usd(machine.usd_per_hour))


def _usd(price: float | None) -> str:
    return "?" if price is None else f"{price:.4f}"
