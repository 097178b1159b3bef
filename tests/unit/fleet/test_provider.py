"""Our node provider over an EC2 that refuses: the next offer is asked for, as Ray's own autoscaler calls it."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from moto import mock_aws
from ray.autoscaler._private.aws.utils import client_cache, resource_cache
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.instance_manager.node_provider import NodeProviderAdapter

from cluster.fleet import render, spec
from cluster.fleet.node import offers
from cluster.fleet.node.provider import OffersProvider

pytestmark = pytest.mark.slow
FLEET = spec.FleetSpec(fleet="wiki", region="us-east-1")
SHAPE = "1gpu-4cpu"
TAGS = {"ray-node-type": "worker", "ray-user-node-type": SHAPE, "ray-launch-config": "x"}
NONE_LEFT = "InsufficientInstanceCapacity"


class Ec2:
    """EC2 by moto, which refuses what `code_for` has a code for and notes what it was asked."""

    def __init__(self, region: str) -> None:
        self.meta = boto3.resource("ec2", region)
        self.asked: list[tuple[str, str, str]] = []
        self.code_for: Callable[[str, str, str], str | None] = lambda *offer: None
        self.has = 100

    def create_instances(self, *, MaxCount: int, **request: Any) -> Any:
        market = "spot" if "InstanceMarketOptions" in request else "on-demand"
        self.asked.append((request["InstanceType"], market, request["SubnetId"]))
        code = self.code_for(*self.asked[-1])
        if code is not None:
            raise ClientError({"Error": {"Code": code, "Message": "not now"}}, "RunInstances")
        return self.meta.create_instances(MaxCount=min(MaxCount, self.has), **request)


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")
    # Ray keeps clients for the life of a process.
    resource_cache.cache_clear()
    client_cache.cache_clear()
    with mock_aws():
        client = boto3.client("ec2", "us-east-1")
        subnets = client.describe_subnets()["Subnets"][:2]
        group = client.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        place = spec.placeholders(FLEET)
        text = render.render(FLEET, place).replace(place.image_id, client.describe_images()["Images"][0]["ImageId"])
        for old, new in zip(place.subnets, subnets, strict=True):
            text = text.replace(old, new["SubnetId"])
        found = yaml.safe_load(text.replace(place.security_group, group))
        for one in found["available_node_types"].values():
            # moto looks the profile up.
            del one["node_config"]["IamInstanceProfile"]
        yield found
    resource_cache.cache_clear()
    client_cache.cache_clear()


@pytest.fixture
def provider(config: dict[str, Any]) -> OffersProvider:
    made = OffersProvider(config["provider"], config["cluster_name"])
    made.ec2_fail_fast = Ec2("us-east-1")
    return made


def start(provider: OffersProvider, config: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
    """The machines, as EC2 knows them."""
    made = provider.create_node(config["available_node_types"][SHAPE]["node_config"], dict(TAGS), count)
    found = provider.ec2.meta.client.describe_instances(InstanceIds=list(made))["Reservations"]
    return [one for group in found for one in group["Instances"]]


def tag(machine: dict[str, Any], name: str) -> str | None:
    return {one["Key"]: one["Value"] for one in machine["Tags"]}.get(name)


def test_spot_refused_everywhere_is_followed_by_on_demand(provider: OffersProvider, config: dict[str, Any]) -> None:
    ec2 = provider.ec2_fail_fast
    ec2.code_for = lambda _, market, subnet: NONE_LEFT if market == "spot" else None
    [machine] = start(provider, config)
    assert machine["InstanceType"] == "g6.xlarge"
    assert "InstanceLifecycle" not in machine
    # Each spot offer once, in each zone.
    assert len(ec2.asked) == len(set(ec2.asked)) == 3 * 2 + 1
    assert tag(machine, offers.TAG_REFUSED) == "; ".join(
        f"{name} spot in 2 zones: {NONE_LEFT}" for name in FLEET.instance_types
    )
    assert tag(machine, "batchscope-fleet") == "wiki"
    assert tag(machine, "ray-cluster-name") == "batchscope-wiki"

    ec2.asked.clear()
    start(provider, config)
    # What was refused a moment ago is not asked for again.
    assert [market for _, market, _ in ec2.asked] == ["on-demand"]


def test_a_refused_type_is_followed_by_the_next(provider: OffersProvider, config: dict[str, Any]) -> None:
    provider.ec2_fail_fast.code_for = lambda kind, *_: "Unsupported" if kind == "g6.xlarge" else None
    [machine] = start(provider, config)
    assert (machine["InstanceType"], machine["InstanceLifecycle"]) == ("g5.xlarge", "spot")


def test_beyond_the_quota_no_other_zone_is_asked(provider: OffersProvider, config: dict[str, Any]) -> None:
    ec2 = provider.ec2_fail_fast
    ec2.code_for = lambda _, market, subnet: "MaxSpotInstanceCountExceeded" if market == "spot" else None
    start(provider, config)
    assert [(kind, market) for kind, market, _ in ec2.asked] == [
        ("g6.xlarge", "spot"),
        ("g5.xlarge", "spot"),
        ("g4dn.xlarge", "spot"),
        ("g6.xlarge", "on-demand"),
    ]


def test_no_offer_left_is_told_on_the_head_and_to_ray(provider: OffersProvider, config: dict[str, Any]) -> None:
    node = config["available_node_types"]["head"]["node_config"]
    [head] = provider.create_node(node, {"ray-node-type": "head", "ray-launch-config": "x"}, 1)
    provider.non_terminated_nodes({})
    provider.ec2_fail_fast.code_for = lambda *_: NONE_LEFT
    with pytest.raises(NodeLaunchException, match=r"started 0 of 1; refused: g6\.xlarge spot in 2 zones"):
        start(provider, config)
    [found] = provider.ec2.meta.client.describe_instances(InstanceIds=[head])["Reservations"]
    assert NONE_LEFT in str(tag(found["Instances"][0], offers.TAG_REFUSED))


def test_what_is_no_refusal_is_not_tried_elsewhere(provider: OffersProvider, config: dict[str, Any]) -> None:
    ec2 = provider.ec2_fail_fast
    ec2.code_for = lambda *_: "UnauthorizedOperation"
    with pytest.raises(NodeLaunchException, match="UnauthorizedOperation"):
        start(provider, config)
    assert len(ec2.asked) == 1


def test_workers_come_where_workers_are(provider: OffersProvider, config: dict[str, Any]) -> None:
    subnets = config["available_node_types"][SHAPE]["node_config"]["SubnetIds"]
    provider.ec2_fail_fast.code_for = lambda _, market, subnet: NONE_LEFT if subnet == subnets[0] else None
    start(provider, config)
    provider.non_terminated_nodes({})
    provider.ec2_fail_fast.code_for = lambda *_: None
    provider._refused.clear()
    [machine] = start(provider, config)
    assert machine["SubnetId"] == subnets[1]


def test_rays_autoscaler_gets_all_it_asked_for(provider: OffersProvider, config: dict[str, Any]) -> None:
    """As its instance manager asks (ray/autoscaler/v2): two machines, of which each offer has one."""
    ec2 = provider.ec2_fail_fast
    ec2.has = 1
    ec2.code_for = lambda _, market, subnet: NONE_LEFT if ec2.asked[:-1].count(ec2.asked[-1]) else None

    class Reader:
        def get_cached_autoscaling_config(self) -> AutoscalingConfig:
            return AutoscalingConfig(prepare_config(config), skip_content_hash=True)

    adapter = NodeProviderAdapter(provider, Reader())
    adapter.launch({SHAPE: 2}, "request")
    ends = time.monotonic() + 60
    while len(found := adapter.get_non_terminated()) < 2 and time.monotonic() < ends:
        time.sleep(0.1)
    assert {one.node_type for one in found.values()} == {SHAPE}
    assert len(found) == 2
    assert adapter.poll_errors() == []
