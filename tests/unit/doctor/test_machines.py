"""The checks of a cluster's head, of a machine's guards and of an account's quotas."""

from pathlib import Path
from typing import Any

import pytest

from cluster import prices
from cluster.doctor import machines
from cluster.doctor.finding import BewareError, NotHereError, Site, WrongError
from cluster.fleet import aws

HERE = Path()


def test_a_head_that_lets_anyone_in_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(HERE, address="http://127.0.0.1:8265")
    monkeypatch.setattr("cluster.jobs.head.require_token", lambda address: True)
    assert "401" in machines.head(site)
    monkeypatch.setattr("cluster.jobs.head.require_token", lambda address: False)
    with pytest.raises(BewareError, match="asks for no token"):
        machines.head(site)
    with pytest.raises(NotHereError, match="--address"):
        machines.head(Site(HERE))


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
