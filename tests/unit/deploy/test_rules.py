"""Rules over what is deployed, each shown to find one bad variant; and cfn-lint, which finds nothing."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.fleet import render, spec, stack

ROOT = Path(__file__).parents[3]
# Actions that change nothing, or for which AWS knows no resource (Session Manager's tunnel).
READS = ("Describe", "Get", "List")
WITHOUT_RESOURCE = "ssmmessages:"


class Tags(yaml.SafeLoader):
    """CloudFormation's short tags as plain data: `!Ref X` is {"!Ref": "X"}."""


def _tag(loader: Any, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {f"!{suffix}": node.value}
    build = loader.construct_sequence if isinstance(node, yaml.SequenceNode) else loader.construct_mapping
    return {f"!{suffix}": build(node, deep=True)}


Tags.add_multi_constructor("!", _tag)


def template() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(stack.TEMPLATE.read_text(), Tags)
    return found


def config() -> dict[str, Any]:
    fleet = spec.load(ROOT / "deploy/fleet.yaml")
    return yaml.safe_load(render.render(fleet, spec.placeholders(fleet)))


def of_kind(found: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one["Properties"] for one in found["Resources"].values() if one["Type"] == kind]


def statements(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for policy in of_kind(found, "AWS::IAM::Policy"):
        yield from policy["PolicyDocument"]["Statement"]


def actions(statement: dict[str, Any]) -> list[str]:
    listed = statement["Action"]
    return listed if isinstance(listed, list) else [listed]


def nodes(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [one["node_config"] for one in found["available_node_types"].values()]


# Rules over the stack.


def no_open_ingress(found: dict[str, Any]) -> bool:
    rules = of_kind(found, "AWS::EC2::SecurityGroupIngress")
    inline = [one for one in of_kind(found, "AWS::EC2::SecurityGroup") if "SecurityGroupIngress" in one]
    open_to = [one["CidrIp"] for one in rules if "CidrIp" in one] + [one for one in rules if "CidrIpv6" in one]
    return not inline and open_to == [{"!Ref": "SshFrom"}] and found["Parameters"]["SshFrom"]["Default"] == ""


def no_star_where_something_changes(found: dict[str, Any]) -> bool:
    return not [
        action
        for one in statements(found)
        if one["Resource"] == "*"
        for action in actions(one)
        if not action.split(":")[1].startswith(READS) and not action.startswith(WITHOUT_RESOURCE)
    ]


def no_star_action(found: dict[str, Any]) -> bool:
    return not [action for one in statements(found) for action in actions(one) if "*" in action]


def launches_are_tagged(found: dict[str, Any]) -> bool:
    run = [one for one in statements(found) if "ec2:RunInstances" in actions(one) and "instance/*" in str(one)]
    tag = "aws:RequestTag/batchscope-fleet"
    return bool(run) and all(tag in one.get("Condition", {}).get("StringEquals", {}) for one in run)


def ends_only_its_own(found: dict[str, Any]) -> bool:
    end = [one for one in statements(found) if "ec2:TerminateInstances" in actions(one)]
    return bool(end) and all("aws:ResourceTag/batchscope-fleet" in str(one.get("Condition")) for one in end)


def passes_only_the_workers_role(found: dict[str, Any]) -> bool:
    passing = [one for one in statements(found) if "iam:PassRole" in actions(one)]
    return [one["Resource"] for one in passing] == [{"!GetAtt": "WorkerRole.Arn"}]


def workers_cannot_launch(found: dict[str, Any]) -> bool:
    of_workers = [one for one in of_kind(found, "AWS::IAM::Policy") if {"!Ref": "WorkerRole"} in one["Roles"]]
    said = [action for one in of_workers for rule in one["PolicyDocument"]["Statement"] for action in actions(rule)]
    return bool(said) and not [
        action for action in said if action.startswith(("ec2:", "iam:")) and "Describe" not in action
    ]


def bucket_wants_tls(found: dict[str, Any]) -> bool:
    (policy,) = of_kind(found, "AWS::S3::BucketPolicy")
    return any(
        one["Effect"] == "Deny" and one.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for one in policy["PolicyDocument"]["Statement"]
    )


def bucket_is_private(found: dict[str, Any]) -> bool:
    (bucket,) = of_kind(found, "AWS::S3::Bucket")
    block = bucket.get("PublicAccessBlockConfiguration", {})
    return len(block) == 4 and all(value is True for value in block.values())


def bucket_is_encrypted(found: dict[str, Any]) -> bool:
    return all("BucketEncryption" in one for one in of_kind(found, "AWS::S3::Bucket"))


def uploads_are_aborted(found: dict[str, Any]) -> bool:
    return all("AbortIncompleteMultipartUpload" in str(one) for one in of_kind(found, "AWS::S3::Bucket"))


# Rules over the machines.


def metadata_wants_a_token(found: dict[str, Any]) -> bool:
    return all(one["MetadataOptions"].get("HttpTokens") == "required" for one in nodes(found))


def metadata_stays_on_the_machine(found: dict[str, Any]) -> bool:
    return all(one["MetadataOptions"].get("HttpPutResponseHopLimit") == 1 for one in nodes(found))


def disks_are_encrypted(found: dict[str, Any]) -> bool:
    disks = [disk["Ebs"] for one in nodes(found) for disk in one["BlockDeviceMappings"]]
    return all(disk["Encrypted"] and disk["DeleteOnTermination"] for disk in disks)


def shutting_down_is_ending(found: dict[str, Any]) -> bool:
    ends = all(one["InstanceInitiatedShutdownBehavior"] == "terminate" for one in nodes(found))
    return ends and found["provider"]["cache_stopped_nodes"] is False


def switches_are_on_every_machine(found: dict[str, Any]) -> bool:
    return all("batchscope-node.service" in one["UserData"] and "- -P" in one["UserData"] for one in nodes(found))


def other_buckets_are_only_read(found: dict[str, Any]) -> bool:
    rules = [found["Resources"][name] for name in ("ReadPolicy", "KeyPolicy")]
    listed = [
        action for rule in rules for one in rule["Properties"]["PolicyDocument"]["Statement"] for action in actions(one)
    ]
    named = [one["Resource"] for rule in rules for one in rule["Properties"]["PolicyDocument"]["Statement"]]
    return (
        set(listed) == {"s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject", "kms:Decrypt"}
        and named == [{"!Ref": "ReadBuckets"}, {"!Ref": "ReadObjects"}, {"!Ref": "KmsKeys"}]
        and all("Condition" in rule for rule in rules)
    )


def keys_of_the_account_only_through_ec2(found: dict[str, Any]) -> bool:
    head = found["Resources"]["HeadPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    ours = [one for one in head if any(action.startswith("kms:") for action in actions(one))]
    grants = [one for one in ours if "kms:CreateGrant" in actions(one)]
    through = {"kms:ViaService": {"!Sub": "ec2.${AWS::Region}.amazonaws.com"}}
    return bool(grants) and all(
        one["Condition"]["StringEquals"] == through
        and (one not in grants or one["Condition"].get("Bool") == {"kms:GrantIsForAWSResource": "true"})
        for one in ours
    )


def token_is_on(found: dict[str, Any]) -> bool:
    starts = found["head_start_ray_commands"] + found["worker_start_ray_commands"]
    return all("RAY_AUTH_MODE=token" in one for one in starts if "ray start" in one)


def aws_is_asked_patiently_and_by_region(found: dict[str, Any]) -> bool:
    starts = found["head_start_ray_commands"] + found["worker_start_ray_commands"]
    region = found["provider"]["region"]
    wanted = ["AWS_METADATA_SERVICE_NUM_ATTEMPTS=5", f"AWS_DEFAULT_REGION={region};", "unset LD_LIBRARY_PATH;"]
    return all(words in one for one in starts if "ray start" in one for words in wanted)


def articles_are_cached_on_a_disk_of_the_machine(found: dict[str, Any]) -> bool:
    starts = [one for one in found["worker_start_ray_commands"] if "ray start" in one]
    return all("export BATCHSCOPE_CACHE=/opt/dlami/nvme/" in one for one in starts)


def dashboard_is_on_loopback(found: dict[str, Any]) -> bool:
    return any("--dashboard-host=127.0.0.1" in one for one in found["head_start_ray_commands"])


def head_computes_nothing(found: dict[str, Any]) -> bool:
    head = found["available_node_types"][found["head_node_type"]]
    return head["resources"]["CPU"] == 0 and head["resources"]["head"] >= 1 and head["max_workers"] == 0


def head_is_on_demand(found: dict[str, Any]) -> bool:
    return "InstanceMarketOptions" not in found["available_node_types"]["head"]["node_config"]


def change(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(found: Any) -> None:
        for part in path[:-1]:
            found = found[part]
        found[path[-1]] = to

    return spoil


def statement(role: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(found: dict[str, Any]) -> None:
        rules = found["Resources"]["HeadPolicy"]["Properties"]["PolicyDocument"]["Statement"]
        next(one for one in rules if one["Sid"] == role).update(changes)

    return spoil


_BUCKET = ("Resources", "Bucket", "Properties")
_READ = ("Resources", "ReadPolicy", "Properties", "PolicyDocument", "Statement")
_HEAD = ("available_node_types", "head", "node_config")
_WORKER = ("available_node_types", "1gpu-4cpu", "node_config")
OVER_THE_STACK = [
    (no_open_ingress, change("Resources", "FromEachOther", "Properties", "CidrIp", to="0.0.0.0/0")),
    (no_star_where_something_changes, statement("OwnMachines", Resource="*")),
    (no_star_action, statement("OwnMachines", Action="ec2:*")),
    (launches_are_tagged, statement("LaunchTagged", Condition={})),
    (ends_only_its_own, statement("OwnMachines", Condition={})),
    (passes_only_the_workers_role, statement("HandWorkersTheirRole", Resource={"!GetAtt": "HeadRole.Arn"})),
    (workers_cannot_launch, change("Resources", "HeadPolicy", "Properties", "Roles", to=[{"!Ref": "WorkerRole"}])),
    (bucket_wants_tls, change("Resources", "BucketRules", "Properties", "PolicyDocument", "Statement", to=[])),
    (bucket_is_private, change(*_BUCKET, "PublicAccessBlockConfiguration", "BlockPublicAcls", to=False)),
    (bucket_is_encrypted, change(*_BUCKET, to={})),
    (other_buckets_are_only_read, change(*_READ, 1, "Action", to=["s3:GetObject", "s3:PutObject"])),
    (other_buckets_are_only_read, change(*_READ, 1, "Resource", to="*")),
    (keys_of_the_account_only_through_ec2, statement("HandDisksTheKey", Condition={"StringEquals": {}})),
    (uploads_are_aborted, change(*_BUCKET, "LifecycleConfiguration", to={})),
]
OVER_THE_MACHINES = [
    (metadata_wants_a_token, change(*_HEAD, "MetadataOptions", "HttpTokens", to="optional")),
    (metadata_stays_on_the_machine, change(*_WORKER, "MetadataOptions", "HttpPutResponseHopLimit", to=2)),
    (disks_are_encrypted, change(*_WORKER, "BlockDeviceMappings", 0, "Ebs", "Encrypted", to=False)),
    (shutting_down_is_ending, change(*_WORKER, "InstanceInitiatedShutdownBehavior", to="stop")),
    (switches_are_on_every_machine, change(*_WORKER, "UserData", to="")),
    (token_is_on, change("worker_start_ray_commands", 1, to="ray start --address=$RAY_HEAD_IP:6379")),
    (aws_is_asked_patiently_and_by_region, change("worker_start_ray_commands", 1, to="export X=1; ray start")),
    (articles_are_cached_on_a_disk_of_the_machine, change("worker_start_ray_commands", 1, to="ray start")),
    (dashboard_is_on_loopback, change("head_start_ray_commands", to=["ray start --head --dashboard-host=0.0.0.0"])),
    (head_computes_nothing, change("available_node_types", "head", "resources", "CPU", to=2)),
    (head_is_on_demand, change(*_HEAD, "InstanceMarketOptions", to={"MarketType": "spot"})),
]


@pytest.mark.parametrize(("rule", "spoil"), OVER_THE_STACK, ids=lambda one: getattr(one, "__name__", ""))
def test_the_stack_keeps_the_rule_and_a_bad_one_does_not(rule: Any, spoil: Any) -> None:
    good = template()
    assert rule(good)
    bad = copy.deepcopy(good)
    spoil(bad)
    assert not rule(bad)


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "spoil"), OVER_THE_MACHINES, ids=lambda one: getattr(one, "__name__", ""))
def test_the_machines_keep_the_rule_and_a_bad_one_does_not(rule: Any, spoil: Any) -> None:
    good = config()
    assert rule(good)
    bad = copy.deepcopy(good)
    spoil(bad)
    assert not rule(bad)


@pytest.mark.slow
def test_cfn_lint_finds_nothing() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--regions", "us-east-1", "eu-west-1", "--", str(stack.TEMPLATE)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")


def test_what_is_in_deploy_is_what_the_commands_use() -> None:
    assert (ROOT / "deploy/cloudformation.yaml").resolve() == stack.TEMPLATE
    fleet = spec.load(ROOT / "deploy/fleet.yaml")
    assert (ROOT / "deploy/ray-cluster.yaml").read_text() == render.render(fleet, spec.placeholders(fleet))
