"""The checks of a cluster and of what it costs: the head's door and memory, the guards of a machine, the quotas."""

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.doctor.finding import BewareError, NotHereError, Site, WrongError
from cluster.study import head as capacity

SERVICE = "batchscope-node.service"
SECONDS = 30.0
# "Running On-Demand G and VT instances" and "All G and VT Spot Instance Requests", in vCPUs
# (https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html).
QUOTAS = {"on-demand": "L-DB2E81BA", "spot": "L-3819A6DF"}


def head(site: Site) -> str:
    """The cluster's head asks for a token, Ray counts the cards that there are, and the head carries some lanes."""
    from cluster.fleet import status
    from cluster.jobs.address import find_token, parse_address
    from cluster.jobs.head import require_token

    if site.address is None:
        raise NotHereError("no --address was given")
    address = parse_address(site.address)
    if not require_token(address):
        raise BewareError(f"{address.url} asks for no token: anybody who reaches it runs programs there")
    said = f"{address.url} refuses who has no token (401)"
    token = find_token(site.token_file)
    if token is None:
        return f"{said}; its machines were not looked at: give --token-file"
    try:
        found = status.nodes(address.url, token)["summary"]
        return f"{said}; {_of_nodes(found)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise WrongError(f"{said}, but does not list its machines ({problem}): is the token the cluster's?") from None


def _of_nodes(nodes: Sequence[Mapping[str, Any]]) -> str:
    """What a cluster's machines have, by its dashboard's list of them.

    Raises:
        WrongError: Ray counts other cards on one than there are.
    """
    cards = 0
    for node in nodes:
        counted, there = int(node["raylet"]["resourcesTotal"].get("GPU", 0)), len(node.get("gpus") or ())
        if counted != there:
            name = node["raylet"]["nodeManagerAddress"]
            raise WrongError(
                f"{name} has {there} cards, Ray counts {counted}: trials would wait there, or share a card"
            )
        cards += there
    carried = [capacity.lanes_carried(node["mem"][0]) for node in nodes if node["raylet"].get("isHeadNode")]
    return f"{len(nodes)} machines, {cards} cards; the head carries {carried[0] if carried else 0} lanes"


def guards(site: Site) -> str:
    """This machine ends by itself when nothing needs it, and its price is known; a fleet's are gone once they stop."""
    from cluster import prices

    if site.fleet is not None:
        return _ends_when_stopped(site.fleet)
    here = prices.this_instance()
    if here.market == "local":
        raise NotHereError("this machine is not on EC2")
    state = subprocess.run(
        ["systemctl", "is-active", SERVICE], capture_output=True, text=True, timeout=SECONDS, check=False
    ).stdout.strip()
    if state != "active":
        raise WrongError(f"{SERVICE} is {state or 'not there'}: this machine would not end by itself, terminate it")
    price = prices.hourly(here.instance_type, market=here.market, region=here.region)
    if price.usd_per_hour is None:
        raise WrongError(
            f"the price of a {here.instance_type} ({here.market}) is unknown: --budget in usd cannot be kept"
        )
    return f"{SERVICE} is active; a {here.instance_type} ({here.market}) is {price.usd_per_hour:.3f} USD an hour"


def _ends_when_stopped(file: str) -> str:
    """Only AWS knows it, and the machines themselves may not ask."""
    from cluster.fleet import aws, machines, spec

    fleet = spec.load(file)
    client = aws.client("ec2", fleet.region)
    found = [machine.instance_id for machine in machines.alive(fleet.fleet, fleet.region)]
    if not found:
        raise NotHereError(f"no machine of {fleet.fleet} is up")
    kind = "instanceInitiatedShutdownBehavior"
    for name in found:
        answer = aws.ask(
            "ec2:DescribeInstanceAttribute",
            lambda name=name: client.describe_instance_attribute(InstanceId=name, Attribute=kind),  # type: ignore[misc]
        )
        if (does := answer["InstanceInitiatedShutdownBehavior"]["Value"]) != "terminate":
            raise WrongError(f"{name} would {does} instead of ending, and its disk would be paid for: terminate it")
    return f"each of {len(found)} machines of {fleet.fleet} ends once it stops"


def quotas(site: Site) -> str:
    """The account may run the fleet's machines."""
    from cluster.fleet import aws, spec

    if site.fleet is None:
        raise NotHereError("no --fleet was given")
    fleet = spec.load(site.fleet)
    client = aws.client("service-quotas", fleet.region)
    found = {
        market: aws.ask(
            "servicequotas:GetServiceQuota",
            lambda code=code: client.get_service_quota(ServiceCode="ec2", QuotaCode=code),  # type: ignore[misc]
        )["Quota"]["Value"]
        for market, code in QUOTAS.items()
        if fleet.spot or market == "on-demand"
    }
    said = ", ".join(f"{value:g} vCPUs {market}" for market, value in found.items())
    if not any(found.values()):
        raise WrongError(f"{said} of G and VT machines in {fleet.region}: ask for more in Service Quotas")
    return f"{said} of G and VT machines in {fleet.region}"
