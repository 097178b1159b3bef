"""The ledger: what an attempt's seconds were spent on, what they cost, and what a loss made it do again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster import prices
from cluster.lanes import ledger
from cluster.lanes.group import fit
from cluster.lanes.reports import Beat
from cluster.lanes.settings import LaneSettings
from cluster.lanes.station import Station

STARTED = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
STATION = Station(
    node_id="n",
    node_type="g5.xlarge",
    market="spot",
    region="us-east-1",
    cpus=4.0,
    gpus=1.0,
    ready_at=(STARTED + timedelta(seconds=60)).timestamp(),
)


def settings(**changes: Any) -> LaneSettings:
    nothing: dict[str, Any] = dict.fromkeys(LaneSettings.__dataclass_fields__)
    return LaneSettings(**{**nothing, "cpus_per_worker": 1.0, "gpus_per_worker": 0.0, **changes})


@pytest.fixture(autouse=True)
def _a_dollar_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    def hourly(instance_type: str, *, market: str, region: str) -> prices.Price:
        known = (instance_type, market, region) == ("g5.xlarge", "spot", "us-east-1")
        return prices.Price(1.0 if known else None, "pinned table" if known else "unknown", "2026-01" if known else "")

    monkeypatch.setattr(prices, "hourly", hourly)


def after(seconds: float) -> datetime:
    return STARTED + timedelta(seconds=seconds)


def test_an_attempt_waits_for_its_process_and_starts_until_its_first_update() -> None:
    clocks = ledger.clocks(STATION, STARTED, after(500), after(75).timestamp())
    assert clocks == {"seconds_waiting": 60.0, "seconds_starting": 15.0}
    # On a warm group the process was there before.
    warm = replace(STATION, ready_at=after(-1000).timestamp())
    clocks = ledger.clocks(warm, STARTED, after(500), after(0.5).timestamp())
    assert clocks == {"seconds_waiting": 0.0, "seconds_starting": 0.5}


def test_an_attempt_that_got_no_machine_waited_all_the_time_and_cost_nothing() -> None:
    assert ledger.clocks(None, STARTED, after(500), None) == {"seconds_waiting": 500.0, "seconds_starting": None}
    assert ledger.cost_usd(settings(), None, 1, STARTED, after(500)) == 0.0
    assert ledger.priced(None) == {}


@pytest.mark.parametrize(
    ("resources", "workers", "share"),
    [
        ({}, 1, 0.25),
        ({}, 2, 0.5),
        ({"gpus_per_worker": 1.0}, 1, 1.0),
        ({"gpus_per_worker": 0.25}, 2, 0.5),
        ({"cpus_per_worker": 8.0}, 1, 1.0),
    ],
)
def test_a_machine_is_paid_from_its_process_to_the_end_by_the_part_that_is_taken(
    resources: dict[str, float], workers: int, share: float
) -> None:
    found = ledger.cost_usd(settings(**resources), STATION, workers, STARTED, after(60 + 7200))
    assert found == pytest.approx(2.0 * share)


def test_what_has_no_price_has_no_cost() -> None:
    unknown = replace(STATION, node_type="x9.huge")
    assert ledger.cost_usd(settings(), unknown, 1, STARTED, after(100)) is None
    assert ledger.priced(unknown)["usd_per_hour"] is None
    assert ledger.priced(STATION)["price_source"] == "pinned table 2026-01"


def test_the_row_names_what_was_refused_before_the_machine_came() -> None:
    words = "g6.xlarge spot in 2 zones: InsufficientInstanceCapacity"
    assert ledger.priced(replace(STATION, refused=words))["refused"] == words
    assert ledger.priced(STATION)["refused"] is None


def test_what_is_repeated_lies_between_the_checkpoint_and_the_loss() -> None:
    reached = Beat(update=90, seconds_training=45.0)
    began = [Beat(update=60, seconds_training=30.0), Beat(update=200, seconds_training=100.0)]
    assert ledger.seconds_repeated(reached, began) == 15.0
    # It saved between its last beat and its end.
    assert ledger.seconds_repeated(reached, [Beat(update=91, seconds_training=45.5)]) == 0.0
    assert ledger.seconds_repeated(None, began) is None
    assert ledger.seconds_repeated(reached, []) is None


def test_workers_fit_where_a_whole_one_does() -> None:
    nodes = {"a": {"CPU": 2.0, "GPU": 0.5}, "b": {"CPU": 0.9}, "c": {"CPU": 5.0, "GPU": 2.0}}
    assert fit(nodes, {"CPU": 1.0}) == 7
    assert fit(nodes, {"CPU": 0.3}) == 6 + 3 + 16
    assert fit(nodes, {"CPU": 1.0, "GPU": 0.25}) == 2 + 5
    assert fit(nodes, {"GPU": 1.0}) == 2
    assert fit({}, {"CPU": 1.0}) == 0
    assert fit({"a": {"CPU": 0.30000000000000004 - 0.1}}, {"CPU": 0.1}) == 2
