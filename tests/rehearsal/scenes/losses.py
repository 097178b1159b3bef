"""Machines go: called back, lost two at once in the middle of an update, cut off from the network for a while."""

import time

from tests.rehearsal.day import Day

Curve = dict[tuple[str, int], float]
# Too short for Ray to give a machine up, and long enough that it is replaced.
SECONDS_OF_A_BLINK, SECONDS_CUT_OFF = 2.0, 60.0


def spot_notice(day: Day, undisturbed: Curve) -> None:
    """EC2 takes a spot machine back, as it advised: its trial saves, moves, and goes on where it was.

    The advice alone moves nothing: many such machines live on, and the notice leaves ten times as long as saving takes.
    """
    with day.reached():
        day.submit()
        called, _ = day.workers(2)
        day.wait_for_checkpoints(1)
        called.advise()
        day.wait_for_checkpoints(2)
        assert not any(row["state"] == "LOST" for row in day.rows())
        began = time.monotonic()
        called.give_notice(120)
        day.wait("the drained trial's row", lambda: any(row["state"] == "LOST" for row in day.rows()), 120)
        day.noted["notice to saved"] = time.monotonic() - began
        called.lose()
        day.wait_for_end()
        day.check_bill()
        [left] = [row for row in day.rows() if row["state"] == "LOST"]
        assert "called back" in left["error"], left["error"]
        day.check(undisturbed)


def two_machines_lost(day: Day, undisturbed: Curve) -> None:
    """Both machines of a lane are lost in the middle of an update: others are asked for, and the trial goes on."""
    with day.reached():
        day.submit()
        both = day.workers(2)
        day.wait_for_checkpoints()
        lost, asked = time.time(), len(day.region.asked)
        for one in both:
            one.lose()
        day.wait("another machine is asked for", lambda: len(day.region.asked) > asked, 120, 0.05)
        day.noted["loss to request"] = day.region.asked[asked][0] - lost
        day.wait_for_end()
        day.check_bill()
        assert any(row["state"] == "LOST" for row in day.rows())
        # Two workers add in another order than one.
        day.check(undisturbed, to_the_digit=False)


def cut_off(day: Day, undisturbed: Curve) -> None:
    """A machine is out of reach for two seconds, which nobody notices, and for a minute: its trial moves."""
    with day.reached():
        day.submit()
        away, _ = day.workers(2)
        day.wait_for_checkpoints(2)
        away.cut_off()
        time.sleep(SECONDS_OF_A_BLINK)
        away.plug_in()
        day.wait_for_checkpoints(2)
        assert not any(row["state"] == "LOST" for row in day.rows())
        away.cut_off()
        time.sleep(SECONDS_CUT_OFF)
        # Ray has a machine that it gave up ended.
        if away.ended is None:
            away.plug_in()
        day.wait_for_end()
        day.check_bill()
        assert any(row["state"] == "LOST" for row in day.rows())
        day.check(undisturbed)
