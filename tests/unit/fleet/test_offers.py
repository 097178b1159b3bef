"""Where EC2 refuses a machine, the next offer is asked for; what was refused rests for a while."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.fleet.node import offers
from cluster.fleet.node.offers import Offer, Refusal

TYPES = ("g6.xlarge", "g5.xlarge")
ZONES = ("a", "b")
NO_PRICES: dict[tuple[str, str], float] = {}


def named(found: list[Offer]) -> list[tuple[str, str, str]]:
    return [(one.instance_type, one.market, one.subnet) for one in found]


def test_spot_comes_first_then_the_types_as_listed_then_the_cheapest_zone() -> None:
    prices = {("g6.xlarge", "a"): 0.4, ("g6.xlarge", "b"): 0.3, ("g5.xlarge", "a"): 0.1}
    assert named(offers.in_order(TYPES, spot=True, subnets=ZONES, prices=prices)) == [
        ("g6.xlarge", "spot", "b"),
        ("g6.xlarge", "spot", "a"),
        ("g5.xlarge", "spot", "a"),
        ("g5.xlarge", "spot", "b"),
        ("g6.xlarge", "on-demand", "a"),
        ("g6.xlarge", "on-demand", "b"),
        ("g5.xlarge", "on-demand", "a"),
        ("g5.xlarge", "on-demand", "b"),
    ]


def test_workers_come_to_the_zone_where_workers_are() -> None:
    prices = {("g6.xlarge", "a"): 0.4, ("g6.xlarge", "b"): 0.3}
    first = offers.in_order(TYPES, spot=True, subnets=ZONES, prices=prices, together=["a"])[0]
    assert first == Offer("g6.xlarge", "spot", "a")


def test_no_spot_where_none_is_wanted() -> None:
    found = offers.in_order(TYPES, spot=False, subnets=ZONES, prices=NO_PRICES)
    assert {one.market for one in found} == {"on-demand"}
    assert len(found) == 4


def test_what_was_refused_rests_and_comes_back() -> None:
    found = offers.in_order(TYPES, spot=True, subnets=ZONES, prices=NO_PRICES)
    refused = {found[0]: Refusal("InsufficientInstanceCapacity", 100.0)}
    assert offers.open_ones(found, refused, 100.0 + offers.SECONDS_REFUSED - 1) == found[1:]
    assert offers.open_ones(found, refused, 100.0 + offers.SECONDS_REFUSED) == found


@pytest.mark.parametrize(("code", "closed"), [("InsufficientInstanceCapacity", 1), ("VcpuLimitExceeded", 2)])
def test_a_quota_closes_all_zones_and_a_lack_of_machines_one(code: str, closed: int) -> None:
    found = offers.in_order(TYPES, spot=True, subnets=ZONES, prices=NO_PRICES)
    shut = offers.closed_by(found[0], code, found)
    assert len(shut) == closed
    assert {(one.instance_type, one.market) for one in shut} == {("g6.xlarge", "spot")}


def test_what_was_refused_is_told_by_type_market_and_reason() -> None:
    refused = {
        Offer("g6.xlarge", "spot", "a"): Refusal("InsufficientInstanceCapacity", 1.0),
        Offer("g6.xlarge", "spot", "b"): Refusal("InsufficientInstanceCapacity", 2.0),
        Offer("g5.xlarge", "spot", "a"): Refusal("Unsupported", 2.0),
        Offer("g5.xlarge", "spot", "b"): Refusal("Unsupported", -1000.0),
    }
    assert offers.in_words(refused, 3.0) == (
        "g6.xlarge spot in 2 zones: InsufficientInstanceCapacity; g5.xlarge spot in 1 zone: Unsupported"
    )


@given(
    st.dictionaries(
        st.builds(
            Offer, st.text("abc.", min_size=1, max_size=30), st.sampled_from(["spot", "on-demand"]), st.text("ab")
        ),
        st.builds(Refusal, st.sampled_from(sorted(offers.NO_CAPACITY)), st.just(0.0)),
        max_size=12,
    ),
    st.integers(10, 256),
)
def test_words_fit_into_a_tag(refused: dict[Offer, Refusal], most: int) -> None:
    assert len(offers.in_words(refused, 1.0, most=most)) <= most
