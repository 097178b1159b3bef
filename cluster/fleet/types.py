"""Whether a fleet's types of machines can do its work: the region has them, and the image drives the workers' cards.

The image has NVIDIA's open kernel modules, which drive cards since Turing and no older ones
(https://github.com/NVIDIA/open-gpu-kernel-modules), and programs for x86_64.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.fleet import aws
from cluster.fleet.spec import FleetSpec, MachineShape
from trainer.errors import InputError

TOO_OLD = ("K520", "K80", "M60", "V100")
# Blackwell: TensorFlow's wheel has code for cards up to Hopper (`tf.sysconfig.get_build_info()`, 2.21: sm_60 to sm_89
# and compute_90), so on a later one CUDA compiles each of its kernels first, on each new machine
# (https://docs.nvidia.com/cuda/blackwell-compatibility-guide).
TOO_NEW = ("B200", "B300", "GB200", "RTX PRO")
_UNKNOWN = ("InvalidInstanceType", "InvalidParameterValue")


def shapes_of(spec: FleetSpec) -> dict[str, MachineShape]:
    """The shapes of the workers' types, once every type is known to be fit for its work.

    A machine of a type that is not would start, be paid for, and never train.

    Raises:
        InputError: the region lacks a type, or its machines cannot do the work.
        NotReadyError: AWS refused or did not answer.
    """
    from botocore.exceptions import ClientError

    client = aws.client("ec2", spec.region)
    names = sorted({*spec.instance_types, spec.head_type})
    try:
        answer = aws.ask(
            "ec2:DescribeInstanceTypes", lambda: client.describe_instance_types(InstanceTypes=names), known=_UNKNOWN
        )
    except ClientError as problem:
        message = problem.response["Error"].get("Message", "")
        raise InputError(f"{spec.region} lacks a type of {', '.join(names)} ({message}): give others") from None
    reason = unfit(spec, answer["InstanceTypes"])
    if reason is not None:
        raise InputError(reason)
    return {
        one["InstanceType"]: _shape(one)
        for one in answer["InstanceTypes"]
        if one["InstanceType"] in spec.instance_types
    }


def _shape(described: Mapping[str, Any]) -> MachineShape:
    gpus = sum(card.get("Count", 1) for card in described["GpuInfo"]["Gpus"])
    return MachineShape(gpus=gpus, cpus=described["VCpuInfo"]["DefaultVCpus"])


def unfit(spec: FleetSpec, types: Sequence[Mapping[str, Any]]) -> str | None:
    """What is wrong with the fleet's types, by EC2's descriptions of them; None if nothing is."""
    known = {one["InstanceType"]: one for one in types}
    for name in (spec.head_type, *spec.instance_types):
        if name not in known:
            return f"{spec.region} has no machines of type {name}: give others"
        if "x86_64" not in known[name]["ProcessorInfo"]["SupportedArchitectures"]:
            return f"{name} has another processor than x86_64, for which the image is made: give others"
    for name in spec.instance_types:
        cards = known[name].get("GpuInfo", {}).get("Gpus", [])
        if not any(card.get("Manufacturer") == "NVIDIA" for card in cards):
            return f"instance_types: {name} has no NVIDIA card: give types such as g6.xlarge or g5.xlarge"
        if old := next((card["Name"] for card in cards if card.get("Name") in TOO_OLD), None):
            return f"instance_types: the {old} of {name} is too old for the image's driver: give g4dn, g5, g6 or newer"
        if new := next((card["Name"] for card in cards if card.get("Name", "").startswith(TOO_NEW)), None):
            return (
                f"instance_types: TensorFlow's wheel has no code for the {new} of {name}, and each machine would "
                "compile it first: give g6, g6e or p5"
            )
    return None
