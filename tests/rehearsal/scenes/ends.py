"""Nobody is there: the head is lost, the laptop is gone, the deadline has come; nothing bills on, nothing is lost."""

from tests.rehearsal.day import Day

Curve = dict[tuple[str, int], float]
MINUTE = 60.0


def head_lost(day: Day, undisturbed: Curve) -> None:
    """The head is lost: 15 minutes later no machine is alive, and on a new fleet the study goes on."""
    with day.reached():
        day.submit()
        day.workers(2)
        day.wait_for_checkpoints(2)
        # The driver ends with its head, and with it what it would say at the end.
        day.check_bill_so_far()
        [head] = day.region.alive("head")
        head.lose()
    for one in day.region.alive("worker"):
        one.shift_clock(15 * MINUTE)
    day.noted["alive after 15 minutes"] = gone(day)
    day.noted["up again"] = day.laptop.batchscope("fleet", "up", "fleet.yaml").seconds
    with day.reached():
        day.submit()
        day.wait_for_end()
        assert any((row["seconds_resumed"] or 0) > 0 for row in day.rows())
        day.check(undisturbed)
        day.check_bill()


def laptop_gone(day: Day, undisturbed: Curve) -> None:
    """The laptop goes away after `submit`: the study ends, and half an hour later the fleet has ended itself."""
    with day.reached():
        day.submit()
    day.wait("the study's last row", lambda: completed(day) == 2, 420, 2.0)
    # Its driver is not at its end yet, and the half hour counts from there: somebody looks, from elsewhere.
    with day.reached():
        day.wait_for_end()
        day.check_bill()
    day.check(undisturbed)
    for one in day.region.alive():
        one.shift_clock(31 * MINUTE)
    day.noted["alive half an hour later"] = gone(day)


def deadline(day: Day, undisturbed: Curve) -> None:
    """A fleet whose day is over ends itself, whatever runs on it."""
    with day.reached():
        day.submit()
        day.workers(2)
        day.wait_for_checkpoints(2)
        day.check_bill_so_far()
    for one in day.region.alive():
        one.shift_clock(24 * 60 * MINUTE)
    day.noted["alive after the deadline"] = gone(day)


def completed(day: Day) -> int:
    """How many trials have their answer, by what is in the bucket."""
    return sum(row["state"] == "COMPLETED" for row in day.rows())


def gone(day: Day) -> float:
    """Wait until every machine has ended itself: how many are left."""
    day.wait("the end of all machines", lambda: not day.region.alive(), 90)
    return float(len(day.region.alive()))
