"""Creating, updating, reading and deleting the CloudFormation stack of a fleet."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cluster.fleet import aws
from cluster.fleet.node.wheels import PREFIX
from cluster.fleet.spec import FleetSpec, MachineShape, Stack
from trainer.errors import InputError, NotReadyError

TEMPLATE = Path(__file__).parent / "cloudformation.yaml"
# Ubuntu 24.04 with NVIDIA's driver, Docker and the AWS CLI; the head runs it too.
# https://docs.aws.amazon.com/dlami/latest/devguide/find-dlami-id.html
IMAGE_PARAMETER = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
# Local and wavelength zones are of other kinds.
ZONE = "availability-zone"
MOST_ZONES = 6
SECONDS_TO_SETTLE = 15 * 60
SECONDS_BETWEEN_LOOKS = 5.0
# CloudFormation's one code for "there is no such stack" and for "there is nothing to update".
_ERRORS = ("ValidationError",)


def ensure(spec: FleetSpec, *, say: Callable[[str], None], pause: Callable[[float], None] = time.sleep) -> None:
    """Create the stack or bring it up to date, and wait until that is done.

    Raises:
        NotReadyError: AWS refused, failed, or took longer than SECONDS_TO_SETTLE.
    """
    from botocore.exceptions import ClientError

    client = aws.client("cloudformation", spec.region)
    partition, zones = client.meta.partition, _zones(spec.region)
    values = {
        "Fleet": spec.fleet,
        "InstanceTypes": ",".join(spec.instance_types),
        "Zones": str(len(zones)),
        "ZoneNames": ",".join(zones),
        "SshFrom": spec.ssh_from or "",
        "ReadBuckets": ",".join(f"arn:{partition}:s3:::{bucket}" for bucket in spec.read_buckets),
        "ReadObjects": ",".join(f"arn:{partition}:s3:::{bucket}/*" for bucket in spec.read_buckets),
        "KmsKeys": ",".join(spec.kms_keys),
        "AlarmEmail": spec.alarm_email or "",
        "AlarmUsd": f"{spec.alarm_usd:g}",
    }
    request = {
        "StackName": spec.stack,
        "TemplateBody": TEMPLATE.read_text(encoding="utf-8"),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        "Capabilities": ["CAPABILITY_IAM"],
        "Tags": [{"Key": "batchscope-fleet", "Value": spec.fleet}],
    }
    try:
        if _describe(client, spec.stack) is None:
            say(f"creating the stack {spec.stack} (network, bucket, roles: they cost nothing)")
            aws.ask("cloudformation:CreateStack", lambda: client.create_stack(**request), known=_ERRORS)
        else:
            aws.ask("cloudformation:UpdateStack", lambda: client.update_stack(**request), known=_ERRORS)
            say(f"bringing the stack {spec.stack} up to date")
    except ClientError as problem:
        message = problem.response["Error"].get("Message", "")
        if "No updates are to be performed" in message:
            return
        raise NotReadyError(f"the stack {spec.stack} could not be created or updated: {message}") from None
    _settle(client, spec.stack, pause)


def _zones(region: str) -> list[str]:
    """The names of a region's availability zones that this account may use, at most six.

    Raises:
        NotReadyError: AWS refused, or names only one.
    """
    client = aws.client("ec2", region)
    answer = aws.ask("ec2:DescribeAvailabilityZones", client.describe_availability_zones)
    zones = [zone["ZoneName"] for zone in answer["AvailabilityZones"] if zone.get("ZoneType", ZONE) == ZONE]
    if len(zones) < 2:
        raise NotReadyError(f"{region} has no two availability zones for this account: take another region")
    return sorted(zones)[:MOST_ZONES]


def _settle(client: Any, name: str, pause: Callable[[float], None]) -> None:
    waited = 0.0
    while waited < SECONDS_TO_SETTLE:
        found = _describe(client, name)
        state = found["StackStatus"] if found else "gone"
        if state in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return
        if not state.endswith("_IN_PROGRESS"):
            raise NotReadyError(
                f"the stack {name} is {state}: {_first_failure(client, name)}; fix that, delete the stack if it is "
                "ROLLBACK_COMPLETE, and run the command again"
            )
        pause(SECONDS_BETWEEN_LOOKS)
        waited += SECONDS_BETWEEN_LOOKS
    raise NotReadyError(f"the stack {name} took longer than {SECONDS_TO_SETTLE / 60:g} minutes: look at it in AWS")


def outputs(name: str, region: str) -> dict[str, str] | None:
    """The outputs of the stack `name`, or None if there is no such stack."""
    found = _describe(aws.client("cloudformation", region), name)
    return None if found is None else {pair["OutputKey"]: pair["OutputValue"] for pair in found.get("Outputs", [])}


def read(spec: FleetSpec, shapes: Mapping[str, MachineShape], *, image_id: str | None = None) -> Stack:
    """The fleet's stack as it is, with the `shapes` of its types; AWS is asked for the `image_id` if none is given.

    Raises:
        NotReadyError: there is no such stack, it is not complete, or AWS refused.
    """
    found = outputs(spec.stack, spec.region)
    if found is None:
        raise NotReadyError(f"there is no stack {spec.stack} in {spec.region}: `batchscope fleet up` creates it")
    try:
        return Stack(
            bucket=found["Bucket"],
            subnets=tuple(found["Subnets"].split(",")),
            security_group=found["SecurityGroup"],
            head_profile=found["HeadProfile"],
            worker_profile=found["WorkerProfile"],
            image_id=image_id or _image(spec.region),
            shapes=shapes,
        )
    except KeyError as missing:
        raise NotReadyError(f"the stack {spec.stack} has no output {missing}: `batchscope fleet up` adds it") from None


def delete(name: str, region: str, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Delete the stack and wait until it is gone.

    Raises:
        InputError: its bucket still holds data, which only their owner may delete.
        NotReadyError: AWS refused, failed, or took longer than SECONDS_TO_SETTLE.
    """
    bucket = (outputs(name, region) or {}).get("Bucket")
    if bucket:
        s3 = aws.client("s3", region)
        _delete_wheels(s3, bucket)
        listed = aws.ask("s3:ListBucket", lambda: s3.list_objects_v2(Bucket=bucket, MaxKeys=1))
        if listed.get("KeyCount", 0):
            raise InputError(
                f"the bucket {bucket} still holds data: keep what you need, empty it with "
                f"`aws s3 rm --recursive s3://{bucket}`, and run the command again"
            )
    client = aws.client("cloudformation", region)
    aws.ask("cloudformation:DeleteStack", lambda: client.delete_stack(StackName=name))
    waited = 0.0
    while (found := _describe(client, name)) is not None:
        if not found["StackStatus"].endswith("_IN_PROGRESS") or waited >= SECONDS_TO_SETTLE:
            reason = _first_failure(client, name)
            raise NotReadyError(f"the stack {name} is {found['StackStatus']}: {reason}; look at it in AWS")
        pause(SECONDS_BETWEEN_LOOKS)
        waited += SECONDS_BETWEEN_LOOKS


def _delete_wheels(s3: Any, bucket: str) -> None:
    """Delete what the head put there for other machines to install, which is nobody's data."""
    found = aws.ask("s3:ListBucket", lambda: s3.list_objects_v2(Bucket=bucket, Prefix=PREFIX))
    for one in found.get("Contents", []):
        aws.ask("s3:DeleteObject", partial(s3.delete_object, Bucket=bucket, Key=one["Key"]))


def _describe(client: Any, name: str) -> Any | None:
    from botocore.exceptions import ClientError

    try:
        found = aws.ask("cloudformation:DescribeStacks", lambda: client.describe_stacks(StackName=name), known=_ERRORS)
    except ClientError as problem:
        if "does not exist" in problem.response["Error"].get("Message", ""):
            return None
        raise
    state = found["Stacks"][0]
    return None if state["StackStatus"] == "DELETE_COMPLETE" else state


def _first_failure(client: Any, name: str) -> str:
    events = aws.ask("cloudformation:DescribeStackEvents", lambda: client.describe_stack_events(StackName=name))
    failed = [event for event in events["StackEvents"] if event["ResourceStatus"].endswith("_FAILED")]
    if not failed:
        return "no resource says why"
    return f"{failed[-1]['LogicalResourceId']}: {failed[-1].get('ResourceStatusReason', 'no reason given')}"


def _image(region: str) -> str:
    ssm = aws.client("ssm", region)
    found = aws.ask("ssm:GetParameter", lambda: ssm.get_parameter(Name=IMAGE_PARAMETER))
    return str(found["Parameter"]["Value"])
