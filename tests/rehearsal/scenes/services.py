"""S3 refuses for a minute; the machines' credentials expire again and again; machines come without their cards."""

import time

from tests.rehearsal.day import NAME, Day

Curve = dict[tuple[str, int], float]
SECONDS_REFUSED = 60.0
SECONDS_OF_CREDENTIALS = 20.0


def s3_refused(day: Day, undisturbed: Curve) -> None:
    """Every request to S3 is refused for a minute: what was to be written is written then."""
    with day.reached():
        day.submit()
        day.workers(2)
        day.wait_for_checkpoints(2)
        before = day.region.doors.turned_away
        day.region.doors.s3_is_closed = True
        time.sleep(SECONDS_REFUSED)
        day.region.doors.s3_is_closed = False
        day.noted["requests refused"] = day.region.doors.turned_away - before
        assert day.noted["requests refused"] > 0
        day.wait_for_end()
        day.check_bill()
        day.check(undisturbed)


def credentials_expire(day: Day, undisturbed: Curve) -> None:
    """The machines' credentials are good for seconds: a request refused for old ones is made again with new ones."""
    day.region.seconds_of_credentials = SECONDS_OF_CREDENTIALS
    with day.reached():
        day.submit()
        day.wait_for_end()
        day.check_bill()
    day.noted["credentials used"] = len(day.region.doors.keys)
    day.noted["requests refused"] = day.region.doors.turned_away
    assert len(day.region.doors.keys) > 2
    day.check(undisturbed)


def no_cards(day: Day, undisturbed: Curve) -> None:
    """The driver of every worker fails: none of them joins, each says why and ends itself; the study waits."""
    day.region.without_cards = True
    with day.reached():
        day.submit()
        [first, *_] = day.workers(1)
        day.noted["end of a machine without cards"] = day.wait("its end", lambda: first.ended is not None, 120)
        said = day.laptop.batchscope("fleet", "status", "fleet.yaml").stdout
        assert f"{first.instance_id} did not join" in said, said
        assert "nvidia-smi fails" in said, said
        assert not day.checkpoints()
        stopped = time.time()
        day.laptop.batchscope("stop", NAME, *day.reach)
        day.check_bill(stopped=stopped)
    assert not any(row["updates"] for row in day.rows())
