"""Every fault of the campaign: at which point it strikes, what it does, and what may follow."""

import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Where a run's driver is when a point is reached: about to begin, training, or about to end.
BEGINNING, TRAINING, ENDING = "beginning", "training", "ending"
FOLDER, BUCKET = "folder", "bucket"
# What may follow. A driver that goes on was not disturbed, or mended it; one that ends has one of these exit codes.
GOES_ON = frozenset({0})
KILLED = frozenset({-signal.SIGKILL})
ENDS = frozenset({3})
# Trials of a lane that was killed have failed; the same command trains them again.
FAILED = frozenset({3, 4})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong: `deed` is done when somebody comes to `point`, to `whom` or to the place `where`.

    `codes` are the exit codes of a driver that ends, and `says` what it must say then; a driver may also go on if it
    `survives`, and must otherwise end. `needs` is what a machine must have for it.
    """

    deed: str
    point: str
    when: str = TRAINING
    whom: str = ""
    where: str = ""
    seconds: float = 0.0
    stores: frozenset[str] = frozenset({FOLDER, BUCKET})
    codes: frozenset[int] = GOES_ON
    survives: bool = True
    needs: str = ""
    says: str = ""

    def can_be_in(self, store: str) -> bool:
        """Whether it can strike a study whose summary is there. S3 has no inside of a write."""
        return store in self.stores and not (store == BUCKET and self.point.startswith("inside"))

    @property
    def group(self) -> str:
        """What it is, for a table."""
        return " ".join(part for part in (self.deed, self.whom or self.where) if part)

    @property
    def name(self) -> str:
        """What it is and where it strikes."""
        return f"{self.group} {self.point}" + (f" ({self.seconds:g} s)" if self.seconds else "")


OBJECTS_OF_WORKERS = ("a checkpoint's archive", "a checkpoint's facts", "the best weights", "the last weights")
OBJECTS_OF_LANES = ("an attempt's marker", "evaluations", "a row")
# Of the ways in which a store's requests fail, in `tests.support.faults`.
REFUSED, SILENT, RESET, UNHEARD = (
    "503 SlowDown",
    "4 bytes a second",
    "reset before the request is applied",
    ("reset after the request is applied"),
)
SET_BACK = "back with what it had before"
LONG_SECONDS = 20.0


def every_fault() -> list[Fault]:
    """All of them, each once."""
    return [*_kills(), *_signals(), *_pauses(), *_disks(), *_stores(), *_clocks(), *_others()]


def _around(*objects: str) -> Iterator[str]:
    for name in objects:
        yield from (f"before {name}", f"inside {name}", f"after {name}")


def _kills() -> Iterator[Fault]:
    working = ("an update", "a sum over workers", "an evaluation")
    for point in (
        *_around(*OBJECTS_OF_WORKERS),
        *(f"{side} {what}" for side in ("before", "after") for what in working),
    ):
        yield Fault(deed="kill", whom="worker", point=point)
    yield Fault(deed="kill", whom="worker", point="after deleting a checkpoint's archive")
    for point in (*_around(*OBJECTS_OF_LANES), "before taking a trial"):
        yield Fault(deed="kill", whom="lane", point=point, codes=FAILED)
    for point in ("a post on the board", "a take from the board", "a report to the board", "a beat to the board"):
        yield Fault(
            deed="kill", whom="board", point=f"before {point}", codes=ENDS, survives=False, says="the study's board"
        )
    for point in ("an update", "a row"):
        for role, name in (("gcs", "gcs_server"), ("raylet", "raylet")):
            says = f"Ray's {name} on this machine has ended"
            yield Fault(deed="kill", whom=role, point=f"before {point}", codes=ENDS, survives=False, says=says)
    beginning = (*_around("a study's row"), "before the start of Ray", "after the start of Ray")
    ending = (*_around("a compacted table"), "before the closing of a study")
    for when, points in (
        (BEGINNING, (*beginning, "after the start of lanes")),
        (TRAINING, ("before an update", "inside a checkpoint's archive", "inside a row")),
        (ENDING, (*ending, "after deleting a row", "after deleting evaluations")),
    ):
        for point in points:
            yield Fault(deed="kill", whom="driver", point=point, when=when, codes=KILLED, survives=False)
    for point in ("after an update", "inside a checkpoint's facts", "after evaluations", "before a row"):
        yield Fault(deed="kill", whom="all", point=point, codes=KILLED, survives=False)


def _signals() -> Iterator[Fault]:
    points = (
        (BEGINNING, "after a study's row"),
        (BEGINNING, "before the start of Ray"),
        (BEGINNING, "after the start of lanes"),
        (TRAINING, "before an update"),
        (TRAINING, "inside a checkpoint's archive"),
        (TRAINING, "inside a row"),
        (ENDING, "before the closing of a study"),
        (ENDING, "inside a compacted table"),
    )
    for number, (when, point) in enumerate(points):
        for deed in ("once", "twice"):
            name = ("SIGINT", "SIGTERM", "SIGHUP")[(number + (deed == "twice")) % 3]
            code = 130 if name == "SIGINT" else 143
            # The end of a study may come first.
            codes = frozenset({code, 0}) if when == ENDING else frozenset({code})
            says = "the same command goes on from here" if when == TRAINING and deed == "once" else ""
            yield Fault(
                deed=f"{name} {deed}", whom="driver", point=point, when=when, codes=codes, survives=False, says=says
            )


def _pauses() -> Iterator[Fault]:
    for role in ("worker", "lane", "board", "raylet", "gcs", "driver", "all"):
        for point in ("after an update", "before a checkpoint's facts", "before a row"):
            yield Fault(deed="pause", whom=role, point=point, seconds=6.0 if role == "all" else 3.0)


def _disks() -> Iterator[Fault]:
    for point in ("before a checkpoint's archive", "before evaluations", "before a row", "before an attempt's marker"):
        yield Fault(
            deed="disk full",
            where="summary",
            point=point,
            seconds=3,
            codes=ENDS,
            stores=frozenset({FOLDER}),
            needs="disks",
        )
    for name in ("TMPDIR", "Ray's folder"):
        for point in ("before an update", "before a row"):
            yield Fault(deed="disk full", where=name, point=point, seconds=3, codes=ENDS, needs="disks")
        yield Fault(
            deed="disk full",
            where=name,
            point="before the start of Ray",
            when=BEGINNING,
            seconds=20,
            codes=ENDS,
            needs="disks",
        )
    yield Fault(
        deed="disk full", where="cache", point="before the start of lanes", when=BEGINNING, seconds=15, codes=ENDS,
        stores=frozenset({BUCKET}), needs="disks",
    )  # fmt: skip


def _stores() -> Iterator[Fault]:
    bucket = frozenset({BUCKET})
    for where in (REFUSED, SILENT, RESET, UNHEARD):
        for point in ("before a checkpoint's archive", "before a row", "before a lease"):
            yield Fault(deed="store", where=where, point=point, seconds=4, stores=bucket, codes=ENDS)
    for where in (REFUSED, SILENT):
        for point in ("before an update", "before evaluations"):
            yield Fault(deed="store", where=where, point=point, seconds=LONG_SECONDS, stores=bucket, codes=ENDS)
    for point in ("after a checkpoint's facts", "after a row"):
        yield Fault(deed="store", where=SET_BACK, point=point, codes=frozenset({0, 3}))


def _clocks() -> Iterator[Fault]:
    for seconds in (-3600.0, -5.0, 5.0, 3600.0):
        yield Fault(deed="clock jumps", point="before an update", seconds=seconds)


def _others() -> Iterator[Fault]:
    yield Fault(deed="asleep while another takes over", point="before an update", stores=frozenset({BUCKET}))
    for when, point in ((TRAINING, "before an update"), (ENDING, "inside a compacted table")):
        yield Fault(deed="second driver", point=point, when=when)
    for point in ("before an update", "before a row"):
        yield Fault(
            deed="summary removed",
            point=point,
            codes=ENDS,
            survives=False,
            stores=frozenset({FOLDER}),
            says="was deleted or replaced while study 'tiny' ran",
        )


# What CI strikes: in one study, of every kind that needs no bucket.
DOZEN = (
    "SIGINT once driver after a study's row",
    "SIGHUP once driver after the start of lanes",
    "kill worker inside a checkpoint's archive",
    "kill worker before an evaluation",
    "pause worker after an update (3 s)",
    "pause board after an update (3 s)",
    "pause raylet after an update (3 s)",
    "pause driver before a checkpoint's facts (3 s)",
    "second driver before an update",
    "disk full summary before evaluations (3 s)",
    "kill gcs before an update",
    "kill driver before an update",
    "kill lane inside a row",
    "kill driver inside a compacted table",
)


def dozen(*, has: Sequence[str]) -> list[Fault]:
    """The faults that CI strikes, but for what this machine cannot do."""
    by_name = {fault.name: fault for fault in every_fault()}
    return [fault for name in DOZEN if not (fault := by_name[name]).needs or fault.needs in has]


def drawn(seed: int, count: int, *, has: Sequence[str], only: str | None = None) -> tuple[list[Fault], list[Fault]]:
    """As many faults, each once before one comes twice; and those that nothing here can do."""
    chosen = [fault for fault in every_fault() if only is None or only in fault.name]
    possible = [fault for fault in chosen if not fault.needs or fault.needs in has]
    chance, found = random.Random(seed), list[Fault]()
    while possible and len(found) < count:
        found += chance.sample(possible, min(len(possible), count - len(found)))
    return found, [fault for fault in chosen if fault not in possible]
