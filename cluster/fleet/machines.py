"""The fleet's machines, which EC2 knows by their tag, and what each costs an hour."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cluster.fleet import aws
from cluster.fleet.node.offers import TAG_REFUSED
from cluster.fleet.render import TAG
from trainer.errors import NotReadyError

ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
BILLING = ("pending", "running", "stopping", "stopped")
SECONDS_TO_END = 5 * 60
SECONDS_BETWEEN_LOOKS = 5.0


@dataclass(frozen=True)
class Machine:
    """One machine. `role` is `head`, `worker` or empty; `in_use` is None if its Ray could not be asked.

    `refused` is what EC2 had refused when a worker was started in its place, and on the head what it refuses now.
    """

    instance_id: str
    role: str
    instance_type: str
    market: str
    state: str
    launched_at: datetime
    private_ip: str
    image_id: str
    refused: str = ""
    usd_per_hour: float | None = None
    in_use: str | None = None


def alive(fleet: str, region: str) -> list[Machine]:
    """The fleet's machines that are not terminated, the head first, then by age."""
    client = aws.client("ec2", region)
    filters = [{"Name": f"tag:{TAG}", "Values": [fleet]}, {"Name": "instance-state-name", "Values": list(ALIVE)}]
    pages = aws.ask(
        "ec2:DescribeInstances",
        lambda: list(client.get_paginator("describe_instances").paginate(Filters=filters)),
    )
    found = [_machine(each) for page in pages for group in page["Reservations"] for each in group["Instances"]]
    return sorted(found, key=lambda machine: (machine.role != "head", machine.launched_at, machine.instance_id))


def _machine(instance: dict[str, Any]) -> Machine:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    return Machine(
        instance_id=instance["InstanceId"],
        role=tags.get("ray-node-type", ""),
        instance_type=instance["InstanceType"],
        market="spot" if instance.get("InstanceLifecycle") == "spot" else "on-demand",
        state=instance["State"]["Name"],
        launched_at=instance["LaunchTime"],
        private_ip=instance.get("PrivateIpAddress", ""),
        image_id=instance["ImageId"],
        refused=tags.get(TAG_REFUSED, ""),
    )


def terminate(machines: Sequence[Machine], region: str) -> None:
    """Ask EC2 to end the machines."""
    ids = [machine.instance_id for machine in machines if machine.state in BILLING]
    if ids:
        client = aws.client("ec2", region)
        aws.ask("ec2:TerminateInstances", lambda: client.terminate_instances(InstanceIds=ids))


def wait_until_none(
    fleet: str, region: str, *, say: Callable[[str], None], pause: Callable[[float], None] = time.sleep
) -> None:
    """Wait until none of the fleet's machines is left.

    Raises:
        NotReadyError: some are left after SECONDS_TO_END.
    """
    waited = 0.0
    while left := alive(fleet, region):
        names = ", ".join(machine.instance_id for machine in left)
        if waited >= SECONDS_TO_END:
            raise NotReadyError(f"{names} did not end within {SECONDS_TO_END / 60:g} minutes: terminate them in AWS")
        if waited % 30 == 0:
            say(f"waiting for {names} to end")
        # This includes machines that were still starting when the others were told to end.
        terminate([machine for machine in left if machine.state != "stopping"], region)
        pause(SECONDS_BETWEEN_LOOKS)
        waited += SECONDS_BETWEEN_LOOKS
