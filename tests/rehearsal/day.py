"""A fleet's day, as RUNBOOK has it: up, data, a study, its results, and back to nothing; and what must be true then.

Every step is the real command. What a scene does in between is its fault; afterwards every answer is there once, the
curves are those of a run that nothing disturbed, the bill is what the pretend account says, and nothing is left.
"""

import contextlib
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from cluster.fleet import bill
from cluster.fleet.bill import Life
from cluster.prices import hourly
from cluster.summary import query
from cluster.summary.store import Summary
from tests.rehearsal.disk import HERE
from tests.rehearsal.laptop import DASHBOARD, Laptop
from tests.rehearsal.machines import Machine
from tests.rehearsal.region import ACCOUNT, REGION, Region

FLEET = {
    "fleet": "wiki",
    "region": REGION,
    "instance_types": ["g6.xlarge", "g5.xlarge"],
    "most_machines": 2,
    "idle_minutes": 1,
}
BUCKET = f"batchscope-wiki-{ACCOUNT}"
ROOT = f"s3://{BUCKET}"
NAME = "rehearsed"
UPDATES, EVALUATIONS = 1200, 10
STUDY: dict[str, Any] = {
    "study": NAME,
    "data": f"{ROOT}/prepared",
    "summary": f"{ROOT}/summary",
    "task": "classification",
    "model": {"factory": "paced:build"},
    "axes": {"global_batch": [17], "learning_rate": 0.01, "seeds": 2, "dtype": "float64"},
    "budget": {"updates": UPDATES},
    "evaluate_every": {"updates": UPDATES // EVALUATIONS},
    "checkpoint_every_seconds": 1.0,
    # Of the four cores that the fleet takes its machines to have, so that each lane has a machine of its own.
    "resources": {"lanes": 2, "workers": 1, "cpus_per_worker": 3},
}
ON_TWO_MACHINES = {"lanes": 1, "workers": 2, "cpus_per_worker": 3}
SECONDS_OF_A_STUDY = 420.0
# A driver says its progress every 15 s.
SECONDS_OF_A_LINE = 60.0
OVER = ("SUCCEEDED", "FAILED", "STOPPED")
EMPTY = f"""
import boto3
bucket = boto3.resource("s3").Bucket("{BUCKET}")
bucket.object_versions.all().delete()
"""


@dataclass
class Day:
    """One fleet with one study; `noted` is what the scene measured, in seconds.

    `bills` are in USD: the least and the most that the fleet cost when its driver said what it cost, and what it said.
    """

    region: Region
    laptop: Laptop
    study: dict[str, Any] = field(default_factory=lambda: STUDY)
    fleet: dict[str, Any] = field(default_factory=lambda: FLEET)
    noted: dict[str, float] = field(default_factory=dict)
    bills: list[tuple[float, float, float]] = field(default_factory=list)
    submitted: float | None = None

    @property
    def cluster(self) -> Path:
        """The configuration that `fleet up` wrote."""
        return self.laptop.home / ".batchscope/fleets/wiki/cluster.yaml"

    @property
    def reach(self) -> list[str]:
        """How commands reach the head through the tunnel."""
        return ["--address", DASHBOARD, "--token-file", str(self.cluster.with_name("token"))]

    def begin(self) -> None:
        """Bring the fleet up and the articles into its bucket."""
        (self.laptop.home / "fleet.yaml").write_text(yaml.safe_dump(self.fleet))
        (self.laptop.home / "study.yaml").write_text(yaml.safe_dump(self.study))
        self.noted["up"] = self.laptop.batchscope("fleet", "up", "fleet.yaml").seconds
        self.prepare(self.study["data"])

    def prepare(self, place: str) -> None:
        """Prepare the articles at a place, and write the study's model."""
        shutil.copy(HERE / "tests/rehearsal/paced.py", self.laptop.home)
        (self.laptop.home / "articles.jsonl").write_text("".join(json.dumps(row) + "\n" for row in articles()))
        self.laptop.batchscope("prepare", "articles.jsonl", place, "--text", "text", "--label", "label")

    @contextlib.contextmanager
    def reached(self) -> Iterator[None]:
        """A tunnel to the head during the block."""
        with self.laptop.tunnel(self.cluster):
            self.wait("the head's answer", lambda: self.state() is not None, 60)
            yield

    def submit(self, *options: str) -> float:
        """Hand the study over; returns when, in Unix seconds."""
        began = time.time()
        self.submitted = began
        self.laptop.batchscope("submit", "study.yaml", *self.reach, "--budget", "5usd", *options)
        return began

    def state(self) -> dict[str, Any] | None:
        """The study's newest job; an empty one if there is none, None if the head does not answer."""
        try:
            said = self.laptop.batchscope("status", *self.reach, "--format", "json")
        except AssertionError:
            return None
        jobs = json.loads(said.stdout)["rows"]
        return jobs[0] if jobs else {}

    def wait_for_end(self, state: str = "SUCCEEDED") -> None:
        """Wait until the job is over, which must be in that state."""
        found: list[str] = []

        def over() -> bool:
            found.append((self.state() or {}).get("state", ""))
            return found[-1] in OVER

        self.wait("the study's end", over, SECONDS_OF_A_STUDY, 5.0)
        assert found[-1] == state, self.log()[-4000:]

    def wait_for_checkpoints(self, count: int = 1) -> None:
        """Wait until that many trials have a checkpoint that was not there."""
        before = set(self.checkpoints())
        self.wait(
            "checkpoints",
            lambda: len({name.rpartition("/")[0] for name in set(self.checkpoints()) - before}) >= count,
            SECONDS_OF_A_STUDY,
        )

    def checkpoints(self) -> list[str]:
        """The names of the checkpoints from which trials could go on."""
        from cluster.stores.bucket import Bucket

        found = Bucket(self.study["summary"]).names("checkpoints/")
        return [name for name in found if name.endswith(".json") and "resume-" in name]

    def wait(self, what: str, true: Callable[[], bool], seconds: float, pause: float = 0.3) -> float:
        """Wait until something is true: after how many seconds it was."""
        began = time.monotonic()
        while not true():
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"{what}: not within {seconds:g} s")
            time.sleep(pause)
        return time.monotonic() - began

    def workers(self, count: int) -> list[Machine]:
        """That many workers, waited for."""
        self.wait(f"{count} workers", lambda: len(self.region.alive("worker")) >= count, 120)
        return self.region.alive("worker")

    def log(self) -> str:
        """What the study's driver said."""
        return self.laptop.batchscope("logs", NAME, *self.reach).stdout

    def rows(self) -> list[dict[str, Any]]:
        """The attempts, oldest first."""
        found = query.trials(Summary(self.study["summary"]), NAME).to_pylist()
        return sorted(found, key=lambda row: (row["started_at"], row["attempt"]))

    def check(self, undisturbed: dict[tuple[str, int], float], *, to_the_digit: bool = True) -> None:
        """Every trial has one answer, and its curve is that of the run that nothing disturbed."""
        completed = [row["trial_id"] for row in self.rows() if row["state"] == "COMPLETED"]
        trials = {trial for trial, _ in undisturbed}
        assert sorted(completed) == sorted(trials), self.rows()
        found = curve(self.study["summary"])
        assert found.keys() == undisturbed.keys()
        apart = max(abs(found[key] - undisturbed[key]) for key in found)
        assert apart == 0 if to_the_digit else apart < 1e-4, apart
        self.note_first_update()

    def note_first_update(self) -> None:
        """Note the time from submission to the first update, and its parts, unless the first trials were all lost.

        The first machine is asked for, it boots and installs until a worker is there, and that worker starts.
        """
        rows = self.rows()
        # A later trial begins on a group that is there already.
        began = [row for row in rows if row["started_at"] < min(one["ended_at"] for one in rows)]
        made = [row for row in began if row["seconds_starting"] is not None]
        if not made or self.submitted is None:
            return
        first = min(made, key=lambda row: row["started_at"].timestamp() + row["seconds_waiting"])
        asked = next(at for at, *_ in self.region.asked if at > self.submitted)
        there = first["started_at"].timestamp() + first["seconds_waiting"]
        self.noted |= {
            "submit to first update": there + first["seconds_starting"] - self.submitted,
            "to request": asked - self.submitted,
            "to worker": there - asked,
            "to update": first["seconds_starting"],
        }

    def check_bill(self, *, stopped: float | None = None) -> None:
        """Note what the fleet cost while the newest job ran its study, and what its driver said that it cost.

        The driver adds up at some moment between the end of the last trial, or when it was `stopped`, in Unix seconds,
        and the end of its job.
        """
        job = self.state() or {}
        since = datetime.fromisoformat(job["submitted_at"]).timestamp()
        last = stopped or max(row["ended_at"] for row in self.rows()).timestamp()
        [said] = re.findall(r"([\d.]+) usd for the whole fleet meanwhile", self.log())[-1:]
        self._note_bill(since, (last, since + job["seconds"]), float(said))

    def check_bill_so_far(self) -> None:
        """Note the same of a job that runs, by the next line that its driver says of its progress."""

        def said() -> list[str]:
            return re.findall(r"([\d.]+) usd for the whole fleet so far", self.log())

        lines, before = said(), time.time()
        ends = before + SECONDS_OF_A_LINE
        while len(found := said()) == len(lines):
            assert time.time() < ends, f"no line for {SECONDS_OF_A_LINE:g} s: {found}"
            before = time.time()
        after = time.time()
        since = datetime.fromisoformat((self.state() or {})["submitted_at"]).timestamp()
        self._note_bill(since, (before, after), float(found[-1]))

    def _note_bill(self, since: float, moments: tuple[float, float], said: float) -> None:
        """Note the bill from `since` to each of the two moments between which the driver said its own."""
        lives = [
            Life(hourly(one.instance_type, market=one.market, region=REGION).usd_per_hour, one.began, one.ended)
            for one in self.region.machines.values()
        ]
        low, high = (bill.usd(lives, since=since, now=moment, disk_gb=100) or 0.0 for moment in moments)
        self.bills.append((low, high, said))
        self.noted |= {"bill": low, "bill at the end": high, "said": said}

    def end(self) -> None:
        """Take everything down; nothing of it is left."""
        self.laptop.run(sys.executable, "-c", EMPTY)
        self.laptop.batchscope("fleet", "down", "--delete-stack", "fleet.yaml")
        assert self.region.alive() == []
        assert self.region.left() == []


def articles() -> Iterator[dict[str, str]]:
    """Short texts of three kinds."""
    for number in range(120):
        kind = number % 3
        words = [f"w{(number * 7 + place * (kind + 1)) % 23}" for place in range(number % 9 + 2)]
        yield {"text": " ".join(words), "label": "abc"[kind]}


def curve(summary: str) -> dict[tuple[str, int], float]:
    """The validation loss of each trial at each update."""
    table = query.curves(query.evaluations(Summary(summary), NAME))
    return {(row["trial_id"], row["update"]): row["validation_loss"] for row in table.to_pylist()}
