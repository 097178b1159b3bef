"""Types of machines that would be paid for and never train are refused before a fleet is made."""

from typing import Any

import pytest
from moto import mock_aws

from cluster.fleet.spec import FleetSpec, MachineShape
from cluster.fleet.types import shapes_of, unfit
from trainer.errors import InputError

A10G = {"Gpus": [{"Name": "A10G", "Manufacturer": "NVIDIA"}]}


def described(name: str, architecture: str = "x86_64", **more: Any) -> dict[str, Any]:
    return {"InstanceType": name, "ProcessorInfo": {"SupportedArchitectures": [architecture]}, **more}


def fleet(*types: str, head: str = "m7i.large") -> FleetSpec:
    return FleetSpec(fleet="wiki", region="us-east-1", instance_types=types, head_type=head)


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ([described("m7i.large"), described("g5.xlarge", GpuInfo=A10G)], None),
        ([described("m7i.large")], "has no machines of type g5.xlarge"),
        ([described("g5.xlarge", GpuInfo=A10G)], "has no machines of type m7i.large"),
        ([described("m7i.large", "arm64"), described("g5.xlarge", GpuInfo=A10G)], "m7i.large has another processor"),
        ([described("m7i.large"), described("g5.xlarge", "arm64", GpuInfo=A10G)], "g5.xlarge has another processor"),
        ([described("m7i.large"), described("g5.xlarge")], "g5.xlarge has no NVIDIA card"),
        (
            [described("m7i.large"), described("g5.xlarge", GpuInfo={"Gpus": [{"Manufacturer": "AMD"}]})],
            "g5.xlarge has no NVIDIA card",
        ),
        (
            [
                described("m7i.large"),
                described("g5.xlarge", GpuInfo={"Gpus": [{"Name": "V100", "Manufacturer": "NVIDIA"}]}),
            ],
            "the V100 of g5.xlarge is too old",
        ),
        (
            [
                described("m7i.large"),
                described("g5.xlarge", GpuInfo={"Gpus": [{"Name": "RTX PRO Server 6000", "Manufacturer": "NVIDIA"}]}),
            ],
            "no code for the RTX PRO Server 6000 of g5.xlarge",
        ),
    ],
)
def test_what_a_type_is_refused_for(types: list[dict[str, Any]], said: str | None) -> None:
    problem = unfit(fleet("g5.xlarge"), types)
    assert (problem is None) if said is None else (problem is not None and said in problem)


@pytest.mark.slow
def test_ec2_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")
    with mock_aws():
        alike = MachineShape(gpus=1, cpus=4)
        shapes = {"g4dn.xlarge": alike, "g5.xlarge": alike, "g4dn.12xlarge": MachineShape(gpus=4, cpus=48)}
        assert shapes_of(fleet(*shapes, head="g4dn.xlarge")) == shapes
        with pytest.raises(InputError, match=r"m5\.large has no NVIDIA card"):
            shapes_of(fleet("m5.large"))
        with pytest.raises(InputError, match="us-east-1 lacks a type of"):
            shapes_of(fleet("g99.xlarge"))
