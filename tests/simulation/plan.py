"""What goes wrong in a day, and when: drawn from the seed before the day begins, so that a fault can be left out."""

import random
from dataclasses import dataclass, replace

# How long a study of so many updates a trial is troubled, in seconds of the simulation.
TROUBLED = {10: 40.0, 25: 60.0, 60: 100.0}
MACHINES = ("machine lost", "machines lost", "machine called back")
PROCESSES = (
    "driver killed",
    "driver stands still",
    "driver suspended",
    "driver stopped",
    "driver stopped twice",
    "driver replaced",
    "second driver",
    "lane killed",
    "lane stands still",
    "board killed",
    "board stands still",
    "group hangs",
    "group stands still",
    "killed at a call",
    "killed at a call",
)
STORE = ("bucket refuses", "bucket is slow", "bucket loses answers", "bucket applies late", "bucket lists late")
STUDY = ("little memory", "code is broken", "data are damaged", "seconds are short", "dollars are short")
NAMES = (*MACHINES, *MACHINES, *PROCESSES, *STORE, *STORE, *STUDY)
# How long a fault lasts that lasts at all.
SECONDS = {
    "driver stands still": (1.0, 300.0),
    "driver suspended": (1.0, 300.0),
    "driver replaced": (130.0, 300.0),
    "driver stopped twice": (0.2, 20.0),
    "lane stands still": (1.0, 100.0),
    "board stands still": (1.0, 60.0),
    "group stands still": (1.0, 100.0),
    "bucket refuses": (1.0, 200.0),
    "bucket is slow": (5.0, 60.0),
    "bucket loses answers": (5.0, 60.0),
    "bucket applies late": (5.0, 60.0),
    "bucket lists late": (5.0, 60.0),
    "code is broken": (5.0, 60.0),
    "data are damaged": (5.0, 60.0),
    "seconds are short": (10.0, 60.0),
    "dollars are short": (10.0, 60.0),
}


@dataclass(frozen=True)
class Fault:
    """A fault: it strikes `at`, lasts `seconds` if it lasts, and `choice` (0 to 1) chooses whom it strikes."""

    at: float
    name: str
    seconds: float
    choice: float

    def __str__(self) -> str:
        """In words."""
        lasts = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:6.1f} {self.name}{lasts}"


@dataclass(frozen=True)
class Plan:
    """A study's shape, and the faults of its day in their order."""

    seed: int
    kind: str
    workers: int
    updates: int
    faults: tuple[Fault, ...]

    @property
    def troubled(self) -> float:
        """When the last fault has struck."""
        return max((fault.at for fault in self.faults), default=0.0)

    def without(self, fault: Fault) -> "Plan":
        """The same day, where this does not go wrong."""
        return replace(self, faults=tuple(one for one in self.faults if one is not fault))


def drawn(seed: int) -> Plan:
    """The plan of a seed."""
    draw = random.Random(f"plan {seed}")
    updates = draw.choice((10, 25, 60))
    faults = [_fault(draw, TROUBLED[updates]) for _ in range(draw.choice((0, 1, 2, 2, 3, 4, 5, 7)))]
    return Plan(
        seed=seed,
        kind=draw.choice(("grid", "grid", "grid", "seeds", "protocol", "protocol")),
        workers=draw.choice((1, 1, 2)),
        updates=updates,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
    )


def _fault(draw: random.Random, troubled: float) -> Fault:
    name = draw.choice(NAMES)
    return Fault(
        at=draw.uniform(0.0, troubled),
        name=name,
        seconds=draw.uniform(*SECONDS.get(name, (0.0, 0.0))),
        choice=draw.random(),
    )
