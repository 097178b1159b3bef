"""The fleet against moto's server: the stack, Ray's own AWS provider with what is rendered, up, down and status."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cluster.cli.fleet import command
from cluster.fleet import aws, lifecycle, machines, render, spec, stack
from trainer.errors import InputError, NotReadyError

REGION = "us-east-1"
IMAGE = "ami-12c6146b"  # one that moto knows


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An empty account on a local server, and a home of its own."""
    from moto.server import ThreadedMotoServer
    from ray.autoscaler._private.aws import utils

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "fake-key",
        "AWS_SECRET_ACCESS_KEY": "fake-secret",
        "AWS_DEFAULT_REGION": REGION,
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    from urllib.request import Request, urlopen

    urlopen(Request(f"{address}/moto-api/reset", method="POST"), timeout=10).close()
    # Ray keeps clients for the life of a process; these know this server's address.
    utils.resource_cache.cache_clear()
    utils.client_cache.cache_clear()
    monkeypatch.setattr(stack, "_image", lambda region: IMAGE)
    monkeypatch.setattr(stack, "SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(machines, "SECONDS_BETWEEN_LOOKS", 0.1)
    yield address
    server.stop()


FLEET = spec.FleetSpec(fleet="wiki", region=REGION)
SHAPES = spec.placeholders(FLEET).shapes


def quiet(_: str) -> None:
    pass


def test_ray_takes_the_configuration_and_launches_a_head_and_a_spot_worker(account: str, tmp_path: Path) -> None:
    from ray.autoscaler._private.providers import _get_node_provider_cls
    from ray.autoscaler._private.util import prepare_config, validate_config

    stack.ensure(FLEET, say=quiet)
    stack.ensure(FLEET, say=quiet)  # nothing to do is no error
    made = stack.read(FLEET, SHAPES)
    # One in each of the region's zones.
    assert len(set(made.subnets)) == 6
    config = prepare_config(yaml.safe_load(render.render(FLEET, made)))
    provider_class = _get_node_provider_cls(config["provider"])
    config = provider_class.fillout_available_node_types_resources(config)
    validate_config(config)
    assert config["available_node_types"]["1gpu-4cpu"]["resources"]["GPU"] == 1
    assert config["available_node_types"]["head"]["resources"]["CPU"] == 0
    config = provider_class.bootstrap_config(config)
    assert (tmp_path / ".ssh/batchscope-wiki.pem").stat().st_mode & 0o777 == 0o600
    provider = provider_class(config["provider"], config["cluster_name"])
    for name, kind in (("head", "head"), ("1gpu-4cpu", "worker")):
        node = config["available_node_types"][name]["node_config"]
        tags = {"ray-node-type": kind, "ray-launch-config": "x", "ray-user-node-type": name}
        assert len(provider.create_node(node, tags, 1)) == 1

    ec2 = aws.client("ec2", REGION)
    head, worker = machines.alive("wiki", REGION)
    assert (head.role, head.instance_type, head.market) == ("head", "m7i.large", "on-demand")
    assert (worker.role, worker.instance_type, worker.market) == ("worker", "g6.xlarge", "spot")
    for one, profile in ((head, made.head_profile), (worker, made.worker_profile)):
        (raw,) = ec2.describe_instances(InstanceIds=[one.instance_id])["Reservations"][0]["Instances"]
        assert raw["IamInstanceProfile"]["Arn"] == profile
        assert raw["MetadataOptions"]["HttpTokens"] == "required"
        assert raw["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        assert [group["GroupId"] for group in raw["SecurityGroups"]] == [made.security_group]
        assert raw["SubnetId"] in made.subnets
        disks = [disk["Ebs"]["VolumeId"] for disk in raw["BlockDeviceMappings"]]
        assert all(disk["Encrypted"] for disk in ec2.describe_volumes(VolumeIds=disks)["Volumes"])
        ending = ec2.describe_instance_attribute(
            InstanceId=one.instance_id, Attribute="instanceInitiatedShutdownBehavior"
        )
        assert ending["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"


def test_the_group_lets_in_only_itself(account: str) -> None:
    stack.ensure(FLEET, say=quiet)
    ec2 = aws.client("ec2", REGION)
    group = stack.read(FLEET, SHAPES).security_group
    (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert [rule["IpRanges"] + rule.get("Ipv6Ranges", []) for rule in found["IpPermissions"]] == [[]]
    assert [pair["GroupId"] for rule in found["IpPermissions"] for pair in rule["UserIdGroupPairs"]] == [group]


def test_machines_read_the_buckets_that_the_fleet_names_and_no_others(account: str) -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd"
    iam = aws.client("iam", REGION)

    def allowed() -> dict[str, Any]:
        """What the workers' role may do, by statement."""
        profile = stack.read(FLEET, SHAPES).worker_profile.rpartition("/")[2]
        (role,) = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
        name = role["RoleName"]
        policies = [
            iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        ]
        return {one["Sid"]: one["Resource"] for policy in policies for one in policy["Statement"]}

    stack.ensure(FLEET, say=quiet)
    assert not {"BucketsOfOthers", "ObjectsOfOthers", "Decrypt"} & set(allowed())
    stack.ensure(FLEET.model_copy(update={"read_buckets": ("articles", "more"), "kms_keys": (key,)}), say=quiet)
    found = allowed()
    assert found["BucketsOfOthers"] == ["arn:aws:s3:::articles", "arn:aws:s3:::more"]
    assert found["ObjectsOfOthers"] == ["arn:aws:s3:::articles/*", "arn:aws:s3:::more/*"]
    assert found["Decrypt"] == [key]


class FakeRay:
    """`ray up`, `ray down` and the tunnel, with machines in moto instead; `head` is what is asked for its token."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails: bool = False, lets_anyone_in: bool = False) -> None:
        self.calls: list[str] = []
        self._fails = fails
        monkeypatch.setattr(lifecycle, "ray_up", self)
        monkeypatch.setattr(lifecycle, "require_authentication", self._asked)
        self._lets_anyone_in = lets_anyone_in

    def require_tools(self, fleet: spec.FleetSpec) -> None:
        pass

    def up(self, config: Path) -> None:
        self.calls.append("up")
        tags = [{"Key": "batchscope-fleet", "Value": "wiki"}]
        for role in ("head", "worker"):
            marked = [*tags, {"Key": "ray-node-type", "Value": role}]
            aws.client("ec2", REGION).run_instances(
                ImageId=IMAGE,
                MinCount=1,
                MaxCount=1,
                InstanceType="g4dn.xlarge",
                TagSpecifications=[{"ResourceType": "instance", "Tags": marked}],
            )
        if self._fails:
            raise NotReadyError("`ray up` ended with 1")

    def down(self, config: Path) -> None:
        self.calls.append("down")
        raise NotReadyError("`ray down` took longer than 5 minutes")

    @contextlib.contextmanager
    def tunnel(self, config: Path) -> Iterator[str]:
        self.calls.append("tunnel")
        yield "http://127.0.0.1:1"

    def _asked(self, address: str) -> None:
        if self._lets_anyone_in:
            raise NotReadyError("lets anyone in")


def test_up_twice_status_and_down_to_nothing(account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch)
    monkeypatch.setattr("cluster.prices.hourly", lambda kind, *, market, region: _price(0.526))
    file = tmp_path / "fleet.yaml"
    file.write_text(f"fleet: wiki\nregion: {REGION}\n")

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(command, list(arguments), catch_exceptions=False)

    up = run("up", str(file))
    token = (tmp_path / ".batchscope/fleets/wiki/token").read_text()
    assert "batchscope submit" in up.stdout
    assert token not in up.stdout + up.stderr
    assert run("up", str(file)).exit_code == 0
    assert ray.calls == ["up", "tunnel", "tunnel"]  # the second did not restart Ray
    with pytest.raises(InputError, match="with other settings"):
        lifecycle.up(FLEET.model_copy(update={"disk_gb": 200}), say=quiet)
    shown = run("status", str(file)).stdout.splitlines()
    assert shown[0].split()[:3] == ["machine", "role", "type"]
    assert shown[-1] == "total: 1.0520 usd/hour"
    told = json.loads(run("status", str(file), "--format", "json").stdout)
    assert (told["schema_version"], told["usd_per_hour"], len(told["machines"])) == (1, 1.052, 2)
    down = run("down", str(file))
    assert machines.alive("wiki", REGION) == []
    assert "bucket s3://batchscope-wiki-123456789012" in down.stdout
    assert not (tmp_path / ".batchscope/fleets/wiki/token").exists()
    assert "only the bucket costs money" in run("status", str(file)).stdout
    assert run("down", str(file)).exit_code == 0


@pytest.mark.parametrize("wrong", [{"fails": True}, {"lets_anyone_in": True}])
def test_what_fails_on_the_way_up_leaves_no_machine(
    account: str, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, bool]
) -> None:
    FakeRay(monkeypatch, **wrong)
    with pytest.raises(NotReadyError):
        lifecycle.up(FLEET, say=quiet)
    assert machines.alive("wiki", REGION) == []


def test_the_stack_goes_only_with_an_empty_bucket(
    account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Moto cannot delete the network in CloudFormation's order: the bucket alone.
    FakeRay(monkeypatch)
    whole = stack.TEMPLATE.read_text()
    parameters = whole[whole.index("Parameters:") : whole.index("Conditions:")]
    bucket = whole[whole.index("  Bucket:\n") : whole.index("  BucketRules:")]
    others = "".join(
        f"  {name}: {{Value: x}}\n" for name in ("Subnets", "SecurityGroup", "HeadProfile", "WorkerProfile")
    )
    small = tmp_path / "small.yaml"
    small.write_text(f"{parameters}Resources:\n{bucket}Outputs:\n  Bucket: {{Value: !Ref Bucket}}\n{others}")
    monkeypatch.setattr(stack, "TEMPLATE", small)
    stack.ensure(FLEET, say=quiet)
    bucket, s3 = stack.read(FLEET, SHAPES).bucket, aws.client("s3", REGION)
    s3.put_object(Bucket=bucket, Key="summary/x", Body=b"x")
    # What machines install is nobody's data, and goes with the stack.
    s3.put_object(Bucket=bucket, Key="wheels/base-1.tar", Body=b"x")
    with pytest.raises(InputError, match="aws s3 rm --recursive"):
        lifecycle.down(FLEET, delete_stack=True, say=quiet)
    s3.delete_object(Bucket=bucket, Key="summary/x")
    assert lifecycle.down(FLEET, delete_stack=True, say=quiet) == []
    assert stack.outputs(FLEET.stack, REGION) is None
    with pytest.raises(NotReadyError, match="there is no stack"):
        stack.read(FLEET, SHAPES)


def _price(usd: float) -> Any:
    from cluster.prices import Price

    return Price(usd, "test", "2026-11")
