"""The plan of what is left of a study: its points, its outlooks and its price (`cluster.plan.basis` has the costs)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from cluster.plan import bill, phases
from cluster.plan.basis import Basis, basis_of, points_by_kind
from cluster.plan.bill import Machines
from cluster.plan.costs_from_probe import Kind, kind_of
from cluster.plan.estimate import Outlook, Point, outlook, without_extensions
from cluster.plan.phases import AT_MOST, Phase
from cluster.plan.remaining import remaining
from cluster.plan.so_far import SoFar, so_far
from cluster.study.fitting import GIB, refuse_what_cannot_fit
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from cluster.study.study import Study

# The part of the trials that early stopping may end that is expected to be trained: halfway between all and the least.
HALFWAY = 0.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is left of a study, and what it takes; the `finished` trials have an answer and are not part of it.

    `source` is `trials` (its own), `probe`, `calibration` or `guess`; `why_guessed` is why nothing was measured.
    `machines` are those at work at once; empty if they are not known. `measured_on` is the type of the cluster's
    machine that was calibrated; None if it was this machine, or none. `measured_in` are the studies of the trials.
    """

    # What a notebook shows of a plan has no room for its whole study.
    study: "Study" = field(repr=False)
    points: list[Point] = field(repr=False)
    longest: int
    phases: list[Phase] = field(repr=False)
    expected: Outlook
    low: Outlook
    high: Outlook
    source: str
    why_guessed: str | None
    machines: list[Machines]
    measured_on: str | None = None
    finished: int = 0
    measured_in: tuple[str, ...] = ()

    @property
    def busy(self) -> float:
        """The part of the workers' time that other work on the machine took during the calibration."""
        return 1 - min(one.costs.idle for one in self.points)

    def trials(self, point: Point) -> int:
        """The number of trials of a point up to the first look, if no best rate is at an edge."""
        expected = chain.from_iterable(phase.trials for phase in self.phases if phase.name not in AT_MOST)
        return sum(kind_of(trial) == kind_of(point.trial) for trial in expected)

    def bytes_held(self, point: Point) -> float:
        """The bytes of a worker, which a limit may reduce."""
        gib = self.study.spec.resources.memory_gib
        return point.memory_bytes if gib is None else min(point.memory_bytes, gib * GIB)

    def usd(self, outlook: Outlook) -> float | None:
        """What the machines cost from the command's start to its end."""
        return bill.usd(self.machines, seconds=outlook.seconds)


def planned(study: "Study", *, calibrated: bool, tell: Callable[[float], None], address: str | None = None) -> Plan:
    """The plan of what is left of `study`; `tell` is called with the progress of its calibration, from 0 to 1.

    With `address`, a machine of the Ray cluster there is calibrated, and `tell` is not called.

    Raises:
        InputError: the calibration shows that the study cannot fit or work.
        NotReadyError: no cluster answers there, or the summary's store does not.
    """
    done = so_far(study)
    calibrated = calibrated and bool(_left(study, done))
    return planned_from(study, basis_of(study, done, calibrated=calibrated, tell=tell, address=address), done)


def planned_from(study: "Study", known: Basis, done: SoFar | None = None) -> Plan:
    """The plan of `study` from what is `known` of it, or of a study with the same layout and more batch sizes.

    Raises:
        InputError: the study cannot fit.
    """
    points_of = points_by_kind(study, known.lengths, known.costs_of)
    # A guess proves nothing, and what has run has fitted.
    if known.source not in ("guess", "trials"):
        refuse_what_cannot_fit(study, lambda trial: known.costs_of(trial).memory)
    return _with_outlooks(study, points_of, known, done)


def _left(study: "Study", done: SoFar | None) -> list[Phase]:
    """The phases of the study that are ahead of it."""
    margin = study.spec.margin.validation_loss if study.spec.margin else None
    every = phases.phases(study.trials, study.spec.protocol, margin)
    return remaining(every, done.wanted, done.answered) if done else every


def _with_outlooks(study: "Study", points_of: Mapping[Kind, Point], known: Basis, done: SoFar | None) -> Plan:
    rules, wanted = study.spec.protocol, _left(study, done)
    lanes = min(study.placed.lanes, len(study.expected()))

    def least(phase: Phase) -> float:
        return without_extensions(phase, of_looks=0.0) * phases.least_part(phase, rules)

    def usual(phase: Phase) -> float:
        return without_extensions(phase, of_looks=HALFWAY) * (1 - HALFWAY * (1 - phases.least_part(phase, rules)))

    def point_of(trial: TrialSpec) -> Point:
        return points_of[kind_of(trial)]

    expected = outlook(wanted, point_of, lanes=lanes, part=usual)
    low = outlook(wanted, point_of, lanes=lanes, factor=lambda one: one.low, part=least)
    high = outlook(wanted, point_of, lanes=lanes, factor=lambda one: one.high)
    return Plan(
        study=study,
        points=list(points_of.values()),
        longest=known.lengths.longest,
        phases=wanted,
        expected=expected,
        # Shorter trials can pack worse onto lanes and end later (Graham 1969); a range must not show that.
        low=min(low, expected, key=lambda one: one.seconds),
        high=max(high, expected, key=lambda one: one.seconds),
        source=known.source,
        why_guessed=known.why,
        machines=bill.machines(study.capacity, study.placed, study.spec.resources),
        measured_on=known.measured_on,
        finished=done.finished if done else 0,
        measured_in=done.measured_in if done and known.source == "trials" else (),
    )
