"""Faults struck one after another at studies that are run again until they end: run by run, until all have struck."""

import contextlib
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from cluster.summary import query
from tests.faults.catalogue import BEGINNING, BUCKET, ENDING, FOLDER, SET_BACK, TRAINING, Fault
from tests.faults.deeds import MissedError, Struck, WrongError, strike
from tests.faults.points import HURRIED
from tests.faults.stage import Stage, StuckError, staged
from tests.faults.verdict import STUDY, Answers, wrong_in
from tests.support import undisturbed
from tests.support.faults import Proxy, in_front_of

# A driver has come further when one of these is written. (A row is not: a lost attempt has one too.)
PROGRESS = ("after a checkpoint's facts", "after the last weights", "after a compacted table")
# The layouts and stores of runs, in turn.
TURNS = (("one worker", FOLDER), ("two workers", FOLDER), ("one worker", BUCKET))
RUNS_WITHOUT_A_FAULT = 4
# A machine with so much other work does nothing wrong.
TOO_BUSY = "Ray did not start on this machine"


@dataclass(frozen=True)
class Fired:
    """A fault that struck in a run, and what came of it."""

    fault: Fault
    run: int
    outcome: str
    seconds: float


@dataclass
class Campaign:
    """What is still to be struck, what has been, and what was wrong."""

    waiting: list[Fault]
    disks: bool
    say: Callable[[str], None] = print
    fired: list[Fired] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    runs: int = 0
    drivers: int = 0
    known: dict[str, Answers] = field(default_factory=dict)

    def play(self, turns: Sequence[tuple[str, str]] = TURNS) -> None:
        """Run studies until every fault has struck, or cannot."""
        fruitless = 0
        while self.waiting and fruitless < RUNS_WITHOUT_A_FAULT:
            layout, store = turns[self.runs % len(turns)]
            self.runs += 1
            before = len(self.fired)
            if any(fault.can_be_in(store) for fault in self.waiting):
                self._run(layout, store)
            fruitless = fruitless + 1 if len(self.fired) == before else 0
        self.wrong += [f"never struck: {fault.name}" for fault in self.waiting]

    def _run(self, layout: str, store: str) -> None:
        with contextlib.ExitStack() as stack:
            bucket, proxy, environment = stack.enter_context(_world(store))
            stage = stack.enter_context(staged(layout, disks=self.disks, bucket=bucket, **environment))
            try:
                _Run(self, stage, store, proxy).play()
            finally:
                self.drivers += stage.drivers


@dataclass
class _Run:
    """A study from its begin to its end."""

    campaign: Campaign
    stage: Stage
    store: str
    proxy: Proxy | None
    struck: list[Fault] = field(default_factory=list)
    # What a driver that went on after a fault may still end with.
    owed: set[int] = field(default_factory=set)
    # What killed drivers left, until one makes such folders of its own.
    orphaned: set[str] = field(default_factory=set)

    def play(self) -> None:
        """Strike while there is something to strike; then let the study end, and look at what is there."""
        try:
            while not self._turn():
                pass
        except StuckError as problem:
            self._wrong(str(problem))
            self.stage.clear()
            return
        self._judge()

    def _turn(self) -> bool:
        """Strike once, or let the driver end; whether the study is over."""
        stage = self.stage
        if not stage.runs():
            begins = self._next(BEGINNING)
            if begins is not None:
                stage.order(begins.point)
            stage.start()
            self.owed = set()
            if begins is not None and (found := stage.reach(begins.point)):
                self._strike(begins, found[1])
                return False
        chosen = {one.point: one for when in (ENDING, TRAINING) if (one := self._next(when))}
        if chosen and (found := stage.reach(*chosen)):
            self._strike(chosen[found[0]], found[1])
            return False
        return self._ended(None) == 0

    def _next(self, when: str) -> Fault | None:
        waiting = (one for one in self.campaign.waiting if one.when == when and one.can_be_in(self.store))
        return next(waiting, None)

    def _strike(self, fault: Fault, pid: int) -> None:
        """Strike, and wait until the driver has come further, or has ended as it may."""
        campaign, began = self.campaign, time.monotonic()
        campaign.waiting.remove(fault)
        try:
            strike(Struck(fault, self.stage, pid, self.proxy))
        except MissedError:
            self.stage.release()
            campaign.waiting.append(fault)
            return
        except WrongError as problem:
            self._wrong(f"{fault.name}: {problem}")
        self.struck.append(fault)
        self.owed |= fault.codes if fault.survives else set()
        outcome = "went on"
        if not fault.survives or self.stage.reach(*PROGRESS) is None:
            code = self._ended(fault)
            outcome = f"ended with {code}, went on in another run"
            if code == 0:
                outcome = "went on to its end"
        self.stage.release()
        seconds = time.monotonic() - began
        campaign.fired.append(Fired(fault, campaign.runs, outcome, seconds))
        campaign.say(f"{len(campaign.fired):4} run {campaign.runs:2} {seconds:6.1f} s  {fault.name}: {outcome}")

    def _ended(self, fault: Fault | None) -> int:
        """Wait for the driver's end: its exit code. What it left or said must be as promised."""
        stage = self.stage
        code, name = stage.ended(), fault.name if fault else "no fault"
        said = stage.said()
        allowed = {*self.owed, *(fault.codes if fault else ()), *({0} if fault is None or fault.survives else ())}
        if code == 3 and TOO_BUSY in said:
            self.campaign.say("     the machine was too busy for Ray to start")
        elif code not in allowed:
            # Of a crash, where it was; else what was said last.
            crash = said.find("Fatal Python error")
            last = said[crash : crash + 6000] if crash >= 0 else said[-1500:]
            self._wrong(f"{name}: a driver ended with {code}, not {sorted(allowed)}: {last}{self._failed()}")
        if fault and code != 0 and fault.says not in " ".join(said.split()):
            self._wrong(f"{name}: a driver ended with {code}, and did not say {fault.says!r}: {said[-1500:]}")
        if "Traceback" in said or "internal error" in said:
            self._wrong(f"{name}: {said[-3000:]}")
        left = set(stage.leftovers())
        if code == -signal.SIGKILL:
            self.orphaned |= left
        elif left - self.orphaned:
            self._wrong(f"{name}: left behind: {sorted(left - self.orphaned)}")
        return code

    def _failed(self) -> list[str]:
        """What rows say of attempts that failed."""
        rows = query.trials(self.stage.summary, STUDY).to_pylist()
        return [f"{row['trial_id']}-{row['attempt']}: {row['error']}" for row in rows if row["error"]]

    def _judge(self) -> None:
        campaign = self.campaign
        lost = any(one.deed in ("summary removed", "store") for one in self.struck)
        clocks = not any(one.deed == "clock jumps" for one in self.struck)
        kept = not any(one.where == SET_BACK for one in self.struck)
        expected = campaign.known.get(self.stage.layout) or self._undisturbed()
        for line in wrong_in(self.stage.summary, expected, complete=not lost, clocks=clocks, kept=kept):
            self._wrong(line)

    def _undisturbed(self) -> Answers:
        """What each trial gives when nothing happens to it, once for each layout."""
        workers = 2 if self.stage.layout == "two workers" else 1
        here = self.campaign.known
        here[self.stage.layout] = undisturbed.answers(self.stage.file, workers=workers)
        return here[self.stage.layout]

    def _wrong(self, line: str) -> None:
        text = f"run {self.campaign.runs} ({self.stage.layout}, {self.store}): {line}"
        self.campaign.wrong.append(text)
        self.campaign.say(f"WRONG {text}")


@contextlib.contextmanager
def _world(store: str) -> Iterator[tuple[str | None, Proxy | None, dict[str, str]]]:
    """A bucket on this machine and a proxy in front of it, or nothing; and what a driver's environment says of it."""
    if store != BUCKET:
        yield None, None, {}
        return
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address, name = f"http://{host}:{port}", f"bucket-{uuid.uuid4().hex}"
    keys = {
        "AWS_ACCESS_KEY_ID": "fake-key",
        "AWS_SECRET_ACCESS_KEY": "fake-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    os.environ.update({**keys, "AWS_ENDPOINT_URL": address})
    try:
        with in_front_of(address) as proxy:
            boto3.client("s3").create_bucket(Bucket=name)
            yield name, proxy, {**keys, "AWS_ENDPOINT_URL": proxy.address, HURRIED: "1"}
    finally:
        server.stop()
        for key in (*keys, "AWS_ENDPOINT_URL"):
            os.environ.pop(key, None)
