"""A fleet's YAML file as a `FleetSpec`, with every value checked, and its stack's outputs as a `Stack`.

Two lines are enough for a fleet:

    fleet: wiki
    region: us-east-1
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from cluster.study import forms, reading
from cluster.study.reading import Strict

STATE_FOLDER = "~/.batchscope/fleets"
# Only the form of EC2's own names, because a shell on the head runs what is rendered.
_BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
_KEY = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[a-zA-Z0-9-]{1,64}$"
_TYPE = r"^[a-z][a-z0-9-]{0,15}\.[a-z0-9-]{1,16}$"


def _types(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("a type is listed twice, remove one")
    return values


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("one is listed twice, remove it")
    return values


def _cidr(value: str) -> str:
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        raise ValueError("give a CIDR such as 203.0.113.4/32, or leave it out") from None
    if network.version != 4 or network.prefixlen < 16:
        raise ValueError(
            "it opens port 22 to too many addresses: give an IPv4 CIDR of /16 to /32, such as 203.0.113.4/32"
        )
    return value


class FleetSpec(Strict):
    """One fleet: its name and region, and how many machines of which types it may have for how long."""

    fleet: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,29}[a-z0-9]$",
        description="a name of 2 to 31 lower-case letters, digits and '-', such as wiki",
    )
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="an AWS region, such as us-east-1")
    instance_types: Annotated[
        tuple[Annotated[str, Field(pattern=_TYPE)], ...],
        BeforeValidator(forms.listed),
        Field(min_length=1, max_length=6),
        AfterValidator(_types),
    ] = Field(
        default=("g6.xlarge", "g5.xlarge", "g4dn.xlarge"),
        description="a list of up to 6 instance types, the preferred one first, such as [g6.xlarge, g4dn.xlarge]",
    )
    most_machines: int = Field(default=4, ge=1, le=64, description="a whole number of workers from 1 to 64")
    spot: bool = Field(default=True, description="true (spot first, on-demand where EC2 has none) or false")
    idle_minutes: float = Field(
        default=5.0, ge=1, le=60, description="idle minutes from 1 to 60 after which a worker ends"
    )
    head_type: str = Field(default="m7i.large", pattern=_TYPE, description="an instance type, such as m7i.large")
    head_idle_minutes: float = Field(
        default=30.0, ge=10, le=1440, description="minutes from 10 to 1440 without a study after which all machines end"
    )
    deadline_hours: float = Field(
        default=24.0, ge=0.01, le=336, description="hours from 0.01 to 336 that a machine lives"
    )
    disk_gb: int = Field(default=100, ge=75, le=1000, description="a whole number of GB from 75 to 1000")
    image: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-zA-Z0-9._/:@-]{0,254}$",
        description="a Docker image built from deploy/Dockerfile, or leave it out to install with pip",
    )
    ssh_from: Annotated[str, AfterValidator(_cidr)] | None = Field(
        default=None, description="a CIDR such as 203.0.113.4/32, or leave it out to connect through SSM"
    )
    read_buckets: Annotated[
        tuple[Annotated[str, Field(pattern=_BUCKET)], ...],
        BeforeValidator(forms.listed),
        Field(max_length=20),
        AfterValidator(_distinct),
    ] = Field(
        default=(), description="a list of up to 20 names of buckets with your data, which machines may only read"
    )
    kms_keys: Annotated[
        tuple[Annotated[str, Field(pattern=_KEY)], ...],
        BeforeValidator(forms.listed),
        Field(max_length=20),
        AfterValidator(_distinct),
    ] = Field(default=(), description="a list of up to 20 ARNs of KMS keys that encrypt the data in read_buckets")
    requester_pays: bool = Field(
        default=False, description="true or false: whether this account pays for reading buckets that ask for that"
    )
    alarm_email: str | None = Field(
        default=None, pattern=r"^[^@\s]+@[^@\s]+$", description="an e-mail address, or leave it out for no alarm"
    )
    alarm_usd: float = Field(default=100.0, ge=1, le=1e9, description="USD a month from 1 to 1e9")

    @property
    def stack(self) -> str:
        """The name of the CloudFormation stack."""
        return f"batchscope-{self.fleet}"

    @property
    def folder(self) -> Path:
        """The folder of this machine with the fleet's token and rendered configuration."""
        return folder_of(self.fleet)


@dataclass(frozen=True)
class MachineShape:
    """What Ray's autoscaler counts of a type of machine: types of one shape stand in for each other."""

    gpus: int
    cpus: int


@dataclass(frozen=True)
class Stack:
    """What the fleet's machines take from AWS: its CloudFormation stack, their disk image, and the types' shapes."""

    bucket: str
    subnets: tuple[str, ...]
    security_group: str
    head_profile: str
    worker_profile: str
    image_id: str
    shapes: Mapping[str, MachineShape]


def placeholders(spec: FleetSpec) -> Stack:
    """What stands in for AWS where the configuration is only to be looked at; each type counts as alike."""
    return Stack(
        bucket="batchscope-example-000000000000",
        subnets=("subnet-00000000000000000", "subnet-11111111111111111"),
        security_group="sg-00000000000000000",
        head_profile="arn:aws:iam::000000000000:instance-profile/example-head",
        worker_profile="arn:aws:iam::000000000000:instance-profile/example-worker",
        image_id="ami-00000000000000000",
        shapes=dict.fromkeys(spec.instance_types, MachineShape(gpus=1, cpus=4)),
    )


def folder_of(fleet: str) -> Path:
    """The folder of this machine that belongs to the fleet of this name."""
    return Path(STATE_FOLDER).expanduser() / fleet


def parse(text: str, *, where: str) -> FleetSpec:
    """The fleet in the YAML `text`; `where` names it in errors.

    Raises:
        InputError: it is not a fleet; one line for each problem, with its place, value and remedy.
    """
    return reading.read(FleetSpec, text, where=where)


def load(path: str | os.PathLike[str]) -> FleetSpec:
    """The fleet in the YAML file at `path`.

    Raises:
        InputError: there is no such file, or it is not a fleet.
    """
    return reading.load(FleetSpec, path, kind="a fleet")
