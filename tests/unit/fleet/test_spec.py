"""A fleet's file: what it may say, what it is refused for, and what `fleet render` makes of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cluster.cli.fleet import command
from cluster.fleet import render, spec
from trainer.errors import InputError


def parse(text: str) -> spec.FleetSpec:
    return spec.parse(text, where="fleet.yaml")


def rendered(**changes: Any) -> dict[str, Any]:
    fleet = spec.FleetSpec(fleet="wiki", region="eu-west-1", **changes)
    return yaml.safe_load(render.render(fleet, spec.placeholders(fleet)))


def test_two_lines_are_a_fleet() -> None:
    fleet = parse("fleet: wiki\nregion: us-east-1")
    assert (fleet.most_machines, fleet.spot, fleet.head_type) == (4, True, "m7i.large")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "give at least fleet and region"),
        ("fleet: wiki", "region is missing"),
        ("fleet: Wiki_1\nregion: us-east-1", 'fleet is "Wiki_1"'),
        ("fleet: wiki\nregion: us-east-1; rm -rf /", "region is"),
        ("fleet: wiki\nregion: us-east-1\nmost_machine: 3", "did you mean 'most_machines'"),
        ("fleet: wiki\nregion: us-east-1\nmost_machines: 0", "from 1 to 64"),
        ("fleet: wiki\nregion: us-east-1\nssh_from: 0.0.0.0/0", "too many"),
        ("fleet: wiki\nregion: us-east-1\nssh_from: home", "give a CIDR"),
        ("fleet: wiki\nregion: us-east-1\ndeadline_hours: .inf", "deadline_hours"),
        # The image's snapshot has 75 GB.
        ("fleet: wiki\nregion: us-east-1\ndisk_gb: 60", "from 75 to 1000"),
        ("fleet: wiki\nregion: us-east-1\ninstance_types: [g5.xlarge, g5.xlarge]", "listed twice"),
        ("fleet: wiki\nregion: us-east-1\nimage: 'a b; c'", "image is"),
        ("fleet: wiki\nregion: us-east-1\nread_buckets: ['s3://mine']", "read_buckets"),
        ("fleet: wiki\nregion: us-east-1\nread_buckets: [mine, mine]", "listed twice"),
        ("fleet: wiki\nregion: us-east-1\nkms_keys: [alias/mine]", "kms_keys"),
    ],
)
def test_what_a_fleet_is_refused_for(text: str, said: str) -> None:
    with pytest.raises(InputError) as problem:
        parse(text)
    assert said in str(problem.value)
    assert "fleet.yaml" in str(problem.value)


def test_types_of_one_shape_are_one_node_type_and_stand_in_for_each_other() -> None:
    fleet = spec.FleetSpec(
        fleet="wiki", region="eu-west-1", instance_types=("g6.2xlarge", "g6.xlarge", "g5.xlarge", "g6.12xlarge")
    )
    small, middle, large = spec.MachineShape(1, 4), spec.MachineShape(1, 8), spec.MachineShape(4, 48)
    shapes = {"g6.2xlarge": middle, "g6.xlarge": small, "g5.xlarge": small, "g6.12xlarge": large}
    found = yaml.safe_load(render.render(fleet, replace(spec.placeholders(fleet), shapes=shapes)))
    assert found["provider"]["offers"] == {
        "1gpu-8cpu": ["g6.2xlarge"],
        "1gpu-4cpu": ["g6.xlarge", "g5.xlarge"],
        "4gpu-48cpu": ["g6.12xlarge"],
    }
    types = found["available_node_types"]
    assert list(types) == ["head", "1gpu-8cpu", "1gpu-4cpu", "4gpu-48cpu"]
    assert [types[name]["priority"] for name in list(types)[1:]] == [3, 2, 1]
    assert types["1gpu-4cpu"]["node_config"]["InstanceType"] == "g6.xlarge"


def test_machines_agree_to_pay_for_reading_where_the_fleet_does() -> None:
    fleet = spec.FleetSpec(fleet="wiki", region="eu-west-1", requester_pays=True)
    paying = yaml.safe_load(render.render(fleet, spec.placeholders(fleet)))
    for found, agreed in ((paying, True), (rendered(), False)):
        for started in ("head_start_ray_commands", "worker_start_ray_commands"):
            assert any("AWS_REQUEST_PAYER=requester" in command for command in found[started]) is agreed


def test_whether_spot_is_asked_is_the_fleets_choice() -> None:
    assert rendered()["provider"]["spot"] is True
    assert rendered(spot=False)["provider"]["spot"] is False


def test_the_way_in_is_ssm_unless_a_place_is_named() -> None:
    closed = rendered()
    assert closed["auth"]["ssh_proxy_use_node_id"] is True
    assert closed["provider"]["use_internal_ips"] is True
    named = rendered(ssh_from="203.0.113.4/32")
    assert named["auth"] == {"ssh_user": "ubuntu"}
    assert named["provider"]["use_internal_ips"] is False


def test_an_image_replaces_the_installation() -> None:
    assert any("install" in one and "cuda.lock" in one for one in rendered()["worker_setup_commands"])
    assert not any("wheels install" in one and "cuda.lock" in one for one in rendered()["head_setup_commands"])
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/batchscope:0.1"
    with_image = rendered(image=image)
    assert with_image["docker"]["image"] == image
    assert with_image["head_setup_commands"] == with_image["worker_setup_commands"] == []
    assert any("docker login" in one for one in with_image["initialization_commands"])


def test_render_prints_it_and_says_no_without_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.fleet import aws
    from trainer.errors import NotReadyError

    file = tmp_path / "fleet.yaml"
    file.write_text("fleet: wiki\nregion: us-east-1\n")
    done = CliRunner().invoke(command, ["render", str(file), "--without-aws"])
    assert done.exit_code == 0
    assert yaml.safe_load(done.stdout)["cluster_name"] == "batchscope-wiki"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(aws, "SECONDS", 20.0)
    refused = CliRunner().invoke(command, ["render", str(file)])
    assert isinstance(refused.exception, NotReadyError)
    assert "credentials" in str(refused.exception)
    with pytest.raises(InputError, match="does not exist"):
        spec.load(tmp_path / "other.yaml")
