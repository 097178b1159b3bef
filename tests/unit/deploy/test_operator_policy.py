"""The policy for whoever brings a fleet up: it allows all that the commands ask of AWS, and changes only their own."""

import fnmatch
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
STATEMENTS = json.loads((ROOT / "deploy/operator-policy.json").read_text())["Statement"]
# What `ray up` and `ray down` ask for (ray/autoscaler/_private/aws).
OF_RAY = {
    *("ec2:DescribeKeyPairs", "ec2:CreateKeyPair", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups"),
    *("ec2:DescribeInstanceTypes", "ec2:RunInstances", "ec2:DescribeInstances", "ec2:CreateTags"),
    *("ec2:TerminateInstances", "ssm:StartSession", "iam:PassRole"),
}
# What a resource of each kind takes to be made and deleted, by one action that nothing else needs.
OF_KINDS = {
    "AWS::EC2::VPC": "ec2:CreateVpc",
    "AWS::EC2::InternetGateway": "ec2:CreateInternetGateway",
    "AWS::EC2::VPCGatewayAttachment": "ec2:AttachInternetGateway",
    "AWS::EC2::RouteTable": "ec2:CreateRouteTable",
    "AWS::EC2::Route": "ec2:CreateRoute",
    "AWS::EC2::Subnet": "ec2:CreateSubnet",
    "AWS::EC2::SubnetRouteTableAssociation": "ec2:AssociateRouteTable",
    "AWS::EC2::VPCEndpoint": "ec2:CreateVpcEndpoint",
    "AWS::EC2::SecurityGroup": "ec2:CreateSecurityGroup",
    "AWS::EC2::SecurityGroupIngress": "ec2:AuthorizeSecurityGroupIngress",
    "AWS::S3::Bucket": "s3:CreateBucket",
    "AWS::S3::BucketPolicy": "s3:PutBucketPolicy",
    "AWS::IAM::Role": "iam:CreateRole",
    "AWS::IAM::InstanceProfile": "iam:CreateInstanceProfile",
    "AWS::IAM::Policy": "iam:PutRolePolicy",
    "AWS::Budgets::Budget": "budgets:ModifyBudget",
}


def actions(statement: dict[str, Any]) -> list[str]:
    """A statement's actions, which may be one."""
    found = statement["Action"]
    return [found] if isinstance(found, str) else found


def allowed(action: str) -> bool:
    """Whether some statement has the action."""
    return any(fnmatch.fnmatchcase(action, pattern) for one in STATEMENTS for pattern in actions(one))


def test_whatever_the_commands_ask_for_is_allowed() -> None:
    asked = OF_RAY | {
        action
        for file in (ROOT / "cluster/fleet").glob("*.py")
        for action in re.findall(r'ask\(\s*"(\w+:\w+)"', file.read_text())
    }
    assert len(asked) > 15
    assert [action for action in sorted(asked) if not allowed(action)] == []


def test_every_kind_of_the_stack_can_be_made() -> None:
    kinds = set(re.findall(r"Type: (AWS::\w+::\w+)", (ROOT / "deploy/cloudformation.yaml").read_text()))
    assert kinds == set(OF_KINDS)
    assert [action for action in OF_KINDS.values() if not allowed(action)] == []


def test_nothing_is_changed_everywhere_without_a_condition() -> None:
    """But starting machines, whose image, subnet and group have no tag of a fleet."""
    free = [one for one in STATEMENTS if one["Resource"] == "*" and "Condition" not in one]
    assert {one["Sid"] for one in free} == {"LookAround", "StartTheHead"}
    assert all(re.search(r":(Describe|Get|List)", action) for action in actions(free[0]))
    assert not [action for one in STATEMENTS for action in actions(one) if action.endswith(":*") or action == "*"]
