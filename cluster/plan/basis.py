"""What a plan is computed from: the costs of a study's trials, from their rows, a probe, a calibration, or a guess."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cluster.plan import bill, costs, costs_from_probe, costs_from_trials
from cluster.plan.costs_from_probe import Kind, kind_of
from cluster.plan.estimate import Lengths, Point, point, spread_of
from cluster.plan.so_far import SoFar
from cluster.study import memory
from cluster.study.capacity import this_machine
from cluster.study.fitting import GIB
from cluster.study.memory import MemoryModel
from cluster.study.study import sizes_of
from trainer.data.manifest import SPLITS
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from cluster.measure.calibration import Calibration
    from cluster.plan.costs import Costs
    from cluster.study.study import Study


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a study's plan is computed from; `source`, `why` and `measured_on` are those of its Plan."""

    lengths: Lengths
    costs_of: "Callable[[TrialSpec], Costs]"
    source: str
    why: str | None
    measured_on: str | None


def basis_of(
    study: "Study",
    done: SoFar | None = None,
    *,
    calibrated: bool,
    tell: Callable[[float], None],
    address: str | None = None,
) -> Basis:
    """The costs of a study's trials: from what is `done` of it, from its last probe, from a calibration, or guessed.

    Raises:
        InputError: the calibration shows that the study cannot work.
        NotReadyError: no cluster answers there.
    """
    from cluster.measure.processes import FailedError

    (lengths, costs_of), source, why, measured_on = _guess(study), "guess", None, None
    points = points_by_kind(study, lengths, costs_of)
    if done and (of_trials := _costs_of_trials(study, done, points, costs_of, lengths)):
        source, costs_of = "trials", of_trials
    elif probe := costs_from_probe.rows_of(study):
        shapes = frozenset().union(*(one.training_shapes | one.evaluation_shapes for one in points.values()))
        measured = costs_from_probe.costs_of(probe, study, costs_of, len(shapes))
        source, costs_of = "probe", _beside_ray(study, measured, *_here(study))
    elif calibrated and (why := _not_calibrated(study, address)) is None:
        try:
            found = _calibration(study, address, tell)
            lengths, measured = _fitted(study, found)
            costs_of = _beside_ray(study, measured, found.lanes, found.cpus)
            source, measured_on = "calibration", found.instance_type
        except FailedError as problem:
            why = f"the calibration failed ({problem})"
    return Basis(lengths=lengths, costs_of=costs_of, source=source, why=why, measured_on=measured_on)


def _costs_of_trials(
    study: "Study",
    done: SoFar,
    points: Mapping[Kind, Point],
    guessed: "Callable[[TrialSpec], Costs]",
    lengths: Lengths,
) -> "Callable[[TrialSpec], Costs] | None":
    if study.spec.resources.memory_gib is not None:
        # There, micro-batches follow from the memory, of which rows tell only a bound: a lane keeps what earlier trials
        # took.
        return None
    here = bill.machines(study.capacity, study.placed, study.spec.resources)
    node_types = {one.instance.instance_type for one in here} or None
    return costs_from_trials.costs_of(done.completed, points, guessed, longest=lengths.longest, node_types=node_types)


def _here(study: "Study") -> tuple[dict[int, int], float]:
    """The lanes that this machine holds at once, by their workers, and its CPUs."""
    from cluster.measure.calibration import lanes_here

    lanes = {workers: lanes_here(study, workers) for workers in set(study.workers.values())}
    return lanes, this_machine(with_gpus=False).cpus


def _calibration(study: "Study", address: str | None, tell: Callable[[float], None]) -> "Calibration":
    from cluster.measure.calibration import calibration
    from cluster.measure.calibration_there import calibration_there

    return calibration(study, tell) if address is None else calibration_there(study, address)


def _beside_ray(
    study: "Study", costs_of: "Callable[[TrialSpec], Costs]", lanes: Mapping[int, int], cpus: float
) -> "Callable[[TrialSpec], Costs]":
    """Costs that were measured without Ray on a machine of `cpus`, as they are with Ray's processes.

    `lanes` are those that it holds, by their workers.
    """

    def found(trial: TrialSpec) -> "Costs":
        workers = study.workers[trial.global_batch]
        slower = costs.slowdown(
            lanes=lanes[workers],
            cores_a_lane=workers * study.spec.resources.cpus_per_worker,
            cores=cpus,
        )
        return costs_of(trial).times(slower)

    return found


def _not_calibrated(study: "Study", address: str | None) -> str | None:
    """Why one machine cannot stand in for the study's machines in a calibration; None if it can."""
    most = max(study.workers.values())
    if study.spec.resources.gpus_per_worker and address is None and not this_machine(with_gpus=True).gpus:
        return (
            "this machine has no GPU to calibrate on, so these are a CPU's figures, and a GPU is much faster; "
            "`--address` calibrates on a machine of a cluster"
        )
    if study.spec.resources.gpus_per_worker and most > 1:
        return (
            f"a lane of {most} workers has its cards on several machines, and one machine is calibrated, so these are "
            "a CPU's figures, and a GPU is much faster"
        )
    return None


def points_by_kind(study: "Study", lengths: Lengths, costs_of: "Callable[[TrialSpec], Costs]") -> dict[Kind, Point]:
    """A point for each kind of trial that the study's axes have."""
    found: dict[Kind, Point] = {}
    for trial in study.trials:
        if (kind := kind_of(trial)) not in found:
            one, workers = costs_of(trial), study.workers[trial.global_batch]
            rows, threads = _micro_batch(study, trial, one.memory), study.placed.threads_per_worker
            found[kind] = point(trial, lengths, one, workers=workers, micro_batch=rows, threads=threads)
    return found


def _micro_batch(study: "Study", trial: TrialSpec, known: MemoryModel) -> int:
    """The rows with which a worker begins; under a limit, `auto` uses what is known about its memory."""
    resources, rows = study.spec.resources, study.micro_batches[trial.global_batch]
    if resources.micro_batch != "auto" or resources.memory_gib is None:
        return rows
    first = known.first_rows(limit_bytes=resources.memory_gib * GIB, length=study.manifest.longest)
    return max(1, min(rows, first))


def guessed_memory(study: "Study", trial: TrialSpec) -> MemoryModel:
    """A worker's memory by arithmetic."""
    return memory.guess(trial, **sizes_of(trial, study.manifest))


def _guess(study: "Study") -> "tuple[Lengths, Callable[[TrialSpec], Costs]]":
    manifest = study.manifest
    split = manifest.splits
    drawn = {
        name: spread_of(
            split[name].length_histogram,
            rows=split[name].rows,
            tokens=split[name].tokens,
            longest=manifest.max_tokens,
        )
        for name in SPLITS
    }
    lengths = Lengths(**drawn, rows={name: split[name].rows for name in SPLITS})

    def costs_of(trial: TrialSpec) -> "Costs":
        sizes = sizes_of(trial, manifest)
        del sizes["length"]
        return costs.guess(trial, **sizes, memory=guessed_memory(study, trial))

    return lengths, costs_of


def _fitted(study: "Study", measured: "Calibration") -> "tuple[Lengths, Callable[[TrialSpec], Costs]]":
    from cluster.measure.calibration import kinds
    from cluster.plan import costs_from_calibration
    from cluster.plan.estimate import RAY_BYTES

    found: dict[tuple[int, str, str], Costs] = {}
    for workers, seen in measured.seen.items():
        of_these = [trial for trial in study.trials if study.workers[trial.global_batch] == workers]
        each = kinds(of_these)
        guesses = [guessed_memory(study, trial) for trial in each.values()]
        for number, kind in enumerate(each):
            fitted = costs_from_calibration.costs(seen, number, guesses, together=workers > 1)
            found[workers, *kind] = replace(fitted, memory=fitted.memory.above(RAY_BYTES))
    split = study.manifest.splits
    [first, *_] = measured.seen.values()
    lengths = Lengths(**first[0].lengths, rows={name: split[name].rows for name in SPLITS})
    return lengths, lambda trial: found[study.workers[trial.global_batch], trial.optimizer, trial.dtype]
