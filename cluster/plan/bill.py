"""The machines that a study uses at once, and what they cost an hour: this one, or those of a growing cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster import prices
from cluster.study.capacity import Capacity
from cluster.study.placement import Placement
from cluster.study.resources import Resources


@dataclass(frozen=True)
class Machines:
    """A number of machines of one kind, with the price of one."""

    instance: prices.Instance
    count: int
    price: prices.Price


def machines(capacity: Capacity, placed: Placement, resources: Resources) -> list[Machines]:
    """The machines at work at once; none if they are not known.

    For a growing cluster these are the head and as many of its largest workers as the lanes need.
    """
    if capacity.fleet is None:
        return [_priced(prices.this_instance(), 1)] if capacity.where == "this machine" else []
    config = capacity.fleet
    types, head = config["available_node_types"], config["head_node_type"]
    region = str(config.get("provider", {}).get("region", ""))
    unit, each = ("GPU", resources.gpus_per_worker) if resources.gpus_per_worker else ("CPU", resources.cpus_per_worker)
    workers = {name: one.get("resources", {}).get(unit, 0) for name, one in types.items() if name != head}
    spot = bool(config.get("provider", {}).get("spot"))
    found = [_priced(_instance(types[head], region, spot=False), 1)]
    if workers:
        largest = max(workers, key=lambda name: workers[name])
        holds = max(1, int(workers[largest] / each))
        found.append(_priced(_instance(types[largest], region, spot=spot), -(-placed.lanes * placed.workers // holds)))
    return found


def usd(found: Sequence[Machines], *, seconds: float) -> float | None:
    """What the machines cost for this time; None if a price is not known."""
    costs = [prices.cost_usd(one.price, seconds=seconds, share=one.count) for one in found]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def _instance(node_type: Mapping[str, Any], region: str, *, spot: bool) -> prices.Instance:
    config = node_type.get("node_config", {})
    return prices.Instance(str(config.get("InstanceType", "unknown")), "spot" if spot else "on-demand", region)


def _priced(instance: prices.Instance, count: int) -> Machines:
    price = prices.hourly(instance.instance_type, market=instance.market, region=instance.region)
    return Machines(instance, count, price)
