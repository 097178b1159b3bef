"""One seed's world: its clock, bucket, machines and drivers, and what happened in it."""

import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cluster.drive import run as drive_run
from cluster.drive.events import StudyOpened
from cluster.lanes.events import TrialEvent
from cluster.prices import Price, Spending
from cluster.study import axes
from cluster.study.capacity import Capacity
from cluster.study.placement import Placement
from cluster.study.spec import parse
from cluster.study.study import Study
from tests.simulation.bucket import Bucket, Objects
from tests.simulation.clock import VirtualLoop
from tests.simulation.line import FaultyLine
from tests.simulation.plan import Plan
from tests.simulation.strands import Process, Strands
from tests.simulation.trainings import Group, Machines
from tests.simulation.work import Work
from trainer.data.manifest import Manifest, read
from trainer.data.store import Folder
from trainer.trial import TrialSpec

URI = "s3://simulated/summary"
SPEC = """\
study: simulated
data: s3://simulated/data
summary: {uri}
task: classification
axes: {{{axes}}}
budget: {{updates: {updates}}}
resources: {{workers: {workers}, lanes: 2}}
{protocol}
"""
# Four trials, half of which diverge; the same on two seeds; or a screen of three rates, and two confirmations.
KINDS = {
    "grid": ("global_batch: [16, 32], learning_rate: [0.01, 0.9], seeds: 1", ""),
    "seeds": ("global_batch: [16, 32], learning_rate: [0.01, 0.9], seeds: 2", ""),
    "protocol": ("global_batch: [16], learning_rate: [0.003, 0.01, 0.03], seeds: 2", "protocol: {}"),
}
CPUS = 4.0
PRICE = Price(0.4, "simulated", "2026-01-01")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def manifest() -> Manifest:
    """That of a tiny data set, which nobody reads here."""
    from tests.conftest import write_prepared

    with TemporaryDirectory() as folder:
        write_prepared(Path(folder) / "data")
        return read(Folder(f"{folder}/data"))


@cache
def study(kind: str, workers: int, updates: int) -> Study:
    """A study of a kind in two lanes."""
    axis, protocol = KINDS[kind]
    text = SPEC.format(uri=URI, axes=axis, workers=workers, updates=updates, protocol=protocol)
    spec = parse(text, where="simulated")
    trials = axes.trials(spec, data_hash=manifest().data_hash, train_rows=60)
    placed = Placement(lanes=2, workers=workers, cpus=CPUS, gpus=0.0, threads_per_worker=1, note=None)
    return Study(spec=spec, manifest=manifest(), trials=trials, placed=placed, capacity=Capacity(cpus=CPUS, gpus=0.0))


class Driver:
    """One run of the study's command: a process, what it said, and how it ended."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.process = Process(f"driver {len(world.drivers)}")
        self.process.deaths.append(self.end_rest)
        self.spending, world.spending = world.spending, None
        self.began_at, self.signals, self.signalled_at = world.loop.now, 0, float("inf")
        self.hold: Any = None
        self.seconds_stopping = 0.0
        self.board: Process | None = None
        self.lanes: list[Process] = []
        self.events: list[tuple[float, TrialEvent]] = []
        self.opened_at: list[float] = []
        world.drivers.append(self)
        world.note("begins", self.process.name)
        self.over = world.strands.start(self.process, self._run).over

    @property
    def runs(self) -> bool:
        """Whether it has neither ended nor died."""
        return self.process.alive and not self.over.done()

    def end_rest(self) -> None:
        """Let the lanes and the board end, as Ray does for a driver that is gone."""
        for one in [*self.lanes, *([self.board] if self.board else [])]:
            self.world.loop.call_later(self.world.random.uniform(0.1, 5.0), one.kill, self.world.loop.now)

    def _run(self) -> Any:
        try:
            result = drive_run.run(self.world.study, self._hear, address="simulated", spending=self.spending)
        except (Exception, KeyboardInterrupt) as problem:
            self.world.note("ends", f"{self.process.name}: {type(problem).__name__}: {problem}"[:200])
            raise
        self.world.note("ends", f"{self.process.name}: {result.end} {result.reason or ''}")
        return result

    def _hear(self, event: Any) -> None:
        if isinstance(event, StudyOpened):
            self.opened_at.append(self.world.loop.now)
        if isinstance(event, TrialEvent):
            self.events.append((self.world.loop.now, event))
            self.world.note("hears", f"{type(event).__name__} {getattr(event, 'state', '')} {event.trial.trial_id}")


class World:
    """Everything that one plan decides; `trace` is what happened, when, and to whom."""

    seconds_of_an_update = 0.4

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.random = random.Random(plan.seed)
        self.loop = VirtualLoop()
        self.strands = Strands(self.loop)
        self.trace: list[tuple[float, str, str, str]] = []
        self.line = FaultyLine(self.strands, random.Random(plan.seed), self.note)
        self.objects = Objects(self.line)
        self.study = study(plan.kind, plan.workers, plan.updates)
        self.machines = Machines(self, 2 * plan.workers)
        self.groups: list[Group] = []
        self.lanes: list[Process] = []
        self.drivers: list[Driver] = []
        self.works: list[Work] = []
        self.begun_by: dict[str, str] = {}
        self.attempts: Counter[str] = Counter()
        self.spending: Spending | None = None
        self.suggested = 0
        self.broken_until = self.damaged_until = 0.0
        self.limits: Counter[str] = Counter()

    def note(self, what: str, text: str) -> None:
        """Add to the trace."""
        strand = self.strands.current
        who = strand.process.name if strand else "the day"
        self.trace.append((self.loop.now, who, what, text))
        if text.startswith("attempts/"):
            self.attempts[text.rpartition("-")[0]] += text not in self.begun_by
            self.begun_by[text] = who

    def bucket(self, uri: str) -> Bucket:
        """The store at an address."""
        rest = uri.removeprefix(URI).strip("/")
        whole = Bucket(self.objects, URI)
        return whole.within(rest) if rest else whole

    def too_large(self, trial: TrialSpec, micro_batch: int) -> bool:
        """Whether a micro-batch does not fit."""
        return micro_batch > self.limits.get(trial.trial_id, math.inf)

    def wait(self, future: Any) -> Any:
        """As `ray.get`."""
        return self.strands.wait(future)

    def driver(self) -> Driver:
        """The driver in whose process the current strand is."""
        assert self.strands.current is not None
        [found] = [one for one in self.drivers if one.process is self.strands.current.process]
        return found

    def wall_clock(self, zone: Any = UTC) -> datetime:
        """The time of day."""
        return EPOCH + timedelta(seconds=self.loop.now)
