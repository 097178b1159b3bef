"""EC2 refuses: the spot market in every zone, the preferred type everywhere; the next offer is asked for."""

from tests.rehearsal.day import Day

Curve = dict[tuple[str, int], float]


def spot_is_refused(day: Day, undisturbed: Curve) -> None:
    """No spot machine in any zone: on-demand ones come."""
    day.region.refuses = lambda instance_type, market, zone: (
        "InsufficientInstanceCapacity" if market == "spot" else None
    )
    trained(day, undisturbed)
    assert {one.market for one in day.region.machines.values() if one.role == "worker"} == {"on-demand"}
    assert "InsufficientInstanceCapacity" in day.laptop.batchscope("fleet", "status", "fleet.yaml").stdout


def preferred_type_is_refused(day: Day, undisturbed: Curve) -> None:
    """The account may have no more of the preferred type, on either market: machines of the next type come."""
    codes = {"spot": "MaxSpotInstanceCountExceeded", "on-demand": "VcpuLimitExceeded"}
    day.region.refuses = lambda instance_type, market, zone: codes[market] if instance_type == "g6.xlarge" else None
    trained(day, undisturbed)
    assert {one.instance_type for one in day.region.machines.values() if one.role == "worker"} == {"g5.xlarge"}


def trained(day: Day, undisturbed: Curve) -> None:
    """The study from its submission to its end; offers were refused meanwhile, and others taken soon."""
    with day.reached():
        day.submit()
        day.wait_for_end()
        day.check_bill()
        refused, asked = day.region.refused, day.region.asked
        assert refused
        waits = [min(at - one[0] for at, *_ in asked if at > one[0]) for one in refused]
        day.noted["refusal to next offer"] = max(waits)
        day.check(undisturbed)
