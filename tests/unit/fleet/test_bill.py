"""What a fleet costs: whole lives of machines, their disks and addresses, whatever trains on them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cluster.fleet import bill, machines, render, spec
from cluster.fleet.bill import Life
from cluster.fleet.machines import Machine
from cluster.fleet.meter import Meter, meter_of
from trainer.errors import NotReadyError

HOUR = 3600.0
BESIDE = 100 * bill.USD_A_GB_MONTH / bill.HOURS_A_MONTH + bill.USD_AN_ADDRESS_HOUR


def machine(name: str, at: float, usd_per_hour: float | None, state: str = "running") -> Machine:
    return Machine(
        instance_id=name,
        role="worker",
        instance_type="g6.xlarge",
        market="spot",
        state=state,
        launched_at=datetime.fromtimestamp(at, UTC),
        private_ip="",
        image_id="",
        usd_per_hour=usd_per_hour,
    )


def test_a_life_is_billed_within_the_time_that_is_asked_for() -> None:
    lives = [Life(1.0, since=0.0), Life(2.0, since=2 * HOUR, until=3 * HOUR), Life(9.0, since=0.0, until=HOUR)]
    found = bill.usd(lives, since=HOUR, now=4 * HOUR, disk_gb=100)
    assert found == pytest.approx(3 * (1.0 + BESIDE) + 1 * (2.0 + BESIDE))


def test_a_price_that_is_unknown_matters_only_while_its_machine_lived() -> None:
    lives = [Life(None, since=0.0, until=HOUR), Life(1.0, since=0.0)]
    assert bill.usd(lives, since=0.0, now=2 * HOUR, disk_gb=0) is None
    assert bill.usd(lives, since=HOUR, now=2 * HOUR, disk_gb=0) is not None


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 10)), max_size=6), st.floats(0, 1e5))
def test_a_bill_in_two_parts_is_the_bill(lives: list[tuple[float, float, float]], cut: float) -> None:
    found = [Life(price, since=begin, until=begin + lasts) for begin, lasts, price in lives]
    whole = bill.usd(found, since=0.0, now=3e5, disk_gb=100)
    parts = [bill.usd(found, since=0.0, now=cut, disk_gb=100), bill.usd(found, since=cut, now=3e5, disk_gb=100)]
    assert whole == pytest.approx(sum(part or 0.0 for part in parts), abs=1e-6)


def test_a_meter_counts_from_its_beginning_and_remembers_who_is_gone() -> None:
    now, fleet = [10 * HOUR], [machine("head", 0.0, 0.1), machine("old", 9 * HOUR, 1.0)]
    asked: list[bool] = []

    def look() -> Sequence[Machine]:
        asked.append(True)
        if len(asked) == 3:
            raise NotReadyError("AWS does not answer")
        return fleet

    found = Meter(look, disk_gb=0.0, clock=lambda: now[0])
    found.look()
    now[0] += HOUR
    fleet[:] = [fleet[0], replace(fleet[1], state="shutting-down"), machine("new", now[0], 2.0)]
    found.look()
    now[0] += HOUR
    found.look()
    beside = bill.USD_AN_ADDRESS_HOUR
    # The old one went within the first hour: for all that is known, in its middle.
    assert found.usd() == pytest.approx(2 * (0.1 + beside) + 0.5 * (1.0 + beside) + 1 * (2.0 + beside))


def test_only_a_fleet_of_ours_has_a_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = spec.FleetSpec(fleet="wiki", region="eu-west-1")
    config = yaml.safe_load(render.render(fleet, spec.placeholders(fleet)))
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(machines, "alive", lambda *place: asked.append(place) or [])
    found = meter_of(config)
    assert found is not None
    found.look()
    assert asked == [("wiki", "eu-west-1")]
    assert found.usd() == 0.0
    assert meter_of(None) is None
    assert meter_of({**config, "cluster_name": "other"}) is None
