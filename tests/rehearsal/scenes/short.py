"""The short form: offers are refused, a machine is lost, cards are not seen; what nothing needs any more goes."""

import time

import yaml

from tests.rehearsal.day import Day

Curve = dict[tuple[str, int], float]
# The shortest that a fleet can be told to keep idle machines, and Ray's own looks on a busy machine.
SECONDS_TO_GO = 60 + 180


def refused_and_lost(day: Day, undisturbed: Curve) -> None:
    """No spot machine in any zone; a machine is lost in the middle of an update; cards that TensorFlow does not see."""
    day.region.refuses = lambda instance_type, market, zone: (
        "InsufficientInstanceCapacity" if market == "spot" else None
    )
    with day.reached():
        since = day.submit()
        lost, _ = day.workers(2)
        day.noted["submit to machines"] = max(one.began for one in day.region.machines.values()) - since
        day.wait_for_checkpoints(2)
        day.noted["submit to checkpoints"] = time.time() - since
        assert {one.market for one in day.region.alive("worker")} == {"on-demand"}
        at, asked = time.time(), len(day.region.asked)
        lost.lose()
        day.wait("another machine is asked for", lambda: len(day.region.asked) > asked, 120, 0.05)
        day.noted["loss to request"] = day.region.asked[asked][0] - at
        day.wait_for_end()
        day.check_bill()
        rows = day.rows()
        assert any(row["state"] == "LOST" for row in rows)
        # Each lane waited for its machine.
        assert all(row["seconds_waiting"] > 0 for row in rows if row["attempt"] == 1)
        assert all("g6.xlarge spot in" in row["refused"] for row in rows), [row["refused"] for row in rows]
        day.check(undisturbed)
        refuse_blind_workers(day)
        went = day.wait("no worker", lambda: not day.region.alive("worker"), SECONDS_TO_GO)
        day.noted["idle to gone"] = went
        assert len(day.region.alive("head")) == 1


def refuse_blind_workers(day: Day) -> None:
    """The machines list a card, but TensorFlow finds none there: nothing is trained on their CPUs at a card's price."""
    blind = {**day.study, "study": "blind", "resources": {"lanes": 1, "workers": 1, "gpus_per_worker": 1}}
    (day.laptop.home / "blind.yaml").write_text(yaml.safe_dump(blind))
    said = day.laptop.batchscope("submit", "blind.yaml", *day.reach, "--wait", status=3)
    assert "was given 1 GPU, but TensorFlow" in said.stdout, said.stdout
