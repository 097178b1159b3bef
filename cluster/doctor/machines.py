"""The checks of a cluster and of what it costs: the head's door and memory, the guards of a machine, the quotas."""

import subprocess

from cluster.doctor.finding import BewareError, NotHereError, Site, WrongError

SERVICE = "batchscope-node.service"
SECONDS = 30.0
# "Running On-Demand G and VT instances" and "All G and VT Spot Instance Requests", in vCPUs
# (https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html).
QUOTAS = {"on-demand": "L-DB2E81BA", "spot": "L-3819A6DF"}


def head(site: Site) -> str:
    """The cluster's head asks for a token."""
    from cluster.jobs.address import parse_address
    from cluster.jobs.head import require_token

    if site.address is None:
        raise NotHereError("no --address was given")
    address = parse_address(site.address)
    if not require_token(address):
        raise BewareError(f"{address.url} asks for no token: anybody who reaches it runs programs there")
    return f"{address.url} refuses who has no token (401)"


def guards(site: Site) -> str:
    """This machine ends by itself when nothing needs it, and its price is known."""
    from cluster import prices

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
