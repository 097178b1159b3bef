"""The checks of a cluster's head, of a machine's guards and of an account's quotas."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cluster import prices
from cluster.doctor import machines
from cluster.doctor.finding import BewareError, NotHereError, Site, WrongError
from cluster.fleet import aws

HERE = Path()


def test_a_head_that_lets_anyone_in_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Where Ray looks for a token.
    monkeypatch.setenv("HOME", str(tmp_path))
    site = Site(HERE, address="http://127.0.0.1:8265")
    monkeypatch.setattr("cluster.jobs.head.require_token", lambda address: True)
    assert "401" in machines.head(site)
    monkeypatch.setattr("cluster.jobs.head.require_token", lambda address: False)
    with pytest.raises(BewareError, match="asks for no token"):
        machines.head(site)
    with pytest.raises(NotHereError, match="--address"):
        machines.head(Site(HERE))


def node(address: str, *, counted: float, cards: int, head: bool = False) -> dict[str, Any]:
    """A machine as Ray's dashboard describes it (ray 2.60: dashboard/modules/node/datacenter.py)."""
    raylet = {"nodeManagerAddress": address, "resourcesTotal": {"CPU": 4.0} | ({"GPU": counted} if counted else {})}
    return {"raylet": raylet | {"isHeadNode": head}, "gpus": [{}] * cards, "mem": [8 * 2**30, 2**30, 10.0, 2**30]}


def test_cards_that_ray_counts_and_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cluster.jobs.head.require_token", lambda address: True)
    (tmp_path / "token").write_text("a" * 40)
    site = Site(HERE, address="http://127.0.0.1:8265", token_file=str(tmp_path / "token"))
    found = [node("10.0.0.2", counted=0, cards=0, head=True), node("10.0.0.3", counted=4, cards=4)]
    monkeypatch.setattr("cluster.fleet.status.nodes", lambda address, token: {"summary": found})
    assert machines.head(site).endswith("2 machines, 4 cards; the head carries 20 lanes")
    found[1]["gpus"].pop()
    with pytest.raises(WrongError, match=r"10\.0\.0\.3 has 3 cards, Ray counts 4"):
        machines.head(site)
    del found[1]["raylet"]
    with pytest.raises(WrongError, match="does not list its machines"):
        machines.head(site)


@mock_aws
def test_a_fleets_machine_that_would_only_stop_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "pretend")
    file = tmp_path / "fleet.yaml"
    file.write_text("fleet: wiki\nregion: us-east-1\n")
    site = Site(HERE, fleet=str(file))
    with pytest.raises(NotHereError, match="no machine of wiki is up"):
        machines.guards(site)
    ec2 = boto3.client("ec2", region_name="us-east-1")

    def start(does: str) -> None:
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "batchscope-fleet", "Value": "wiki"}]}]
        one = {"ImageId": "ami-12c6146b", "MinCount": 1, "MaxCount": 1, "TagSpecifications": tags}
        ec2.run_instances(**one, InstanceInitiatedShutdownBehavior=does)

    start("terminate")
    assert machines.guards(site) == "each of 1 machines of wiki ends once it stops"
    start("stop")
    with pytest.raises(WrongError, match="would stop instead of ending"):
        machines.guards(site)


def test_a_machine_without_its_watch_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match="not on EC2"):
        machines.guards(Site(HERE))
    monkeypatch.setattr(prices, "this_instance", lambda: prices.Instance("g6.xlarge", "spot", "us-east-1"))
    monkeypatch.setattr(prices, "hourly", lambda name, **_: prices.Price(0.4, "test", "2026-11"))
    program = tmp_path / "systemctl"
    monkeypatch.setenv("PATH", str(tmp_path))
    for state, said in (("active", None), ("failed", "is failed")):
        program.write_text(f"#!/bin/sh\necho {state}\n")
        program.chmod(0o755)
        if said is None:
            assert "0.400 USD an hour" in machines.guards(Site(HERE))
        else:
            with pytest.raises(WrongError, match=said):
                machines.guards(Site(HERE))


def test_a_quota_of_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Client:
        value = 8.0

        def get_service_quota(self, **_: str) -> dict[str, Any]:
            return {"Quota": {"Value": self.value}}

    monkeypatch.setattr(aws, "client", lambda service, region: Client())
    file = tmp_path / "fleet.yaml"
    file.write_text("fleet: wiki\nregion: us-east-1\n")
    assert machines.quotas(Site(HERE, fleet=str(file))) == (
        "8 vCPUs on-demand, 8 vCPUs spot of G and VT machines in us-east-1"
    )
    Client.value = 0.0
    with pytest.raises(WrongError, match="Service Quotas"):
        machines.quotas(Site(HERE, fleet=str(file)))
    with pytest.raises(NotHereError, match="--fleet"):
        machines.quotas(Site(HERE))
