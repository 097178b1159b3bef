"""What fits on the machine: how many lanes at once, and how many rows go through the model at once. Pure decisions.

CPUs and GPUs are totals. A worker's part of a GPU is never spread over two GPUs, because Ray does not do so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from cluster.study.at_once import RowsAtOnce
from cluster.study.resources import Resources
from trainer.errors import InputError
from trainer.order.evaluation import EVALUATION_ROWS
from trainer.trial import TrialSpec

# What `micro_batch: auto` begins with. On a whole GPU, a step takes as long for few rows as for many, so it begins with
# so many that the card's cores have work, and on a part of one with that part of them; the size that fits is found
# from above, because what does not fit is halved for all lanes of the study. On a CPU, larger ones are hardly faster
# per row, and a small size lets rows of similar length meet.
_AUTO_MICRO_BATCH_GPU = 1024
_AUTO_MICRO_BATCH_CPU = 32


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How a study's trials are laid out.

    `workers` is the largest number of any trial; `cpus` and `gpus` are what all lanes take together;
    `threads_per_worker` are TensorFlow's. `note` is a sentence on why there are fewer lanes than asked for, or None.
    """

    lanes: int
    workers: int
    cpus: float
    gpus: float
    threads_per_worker: int
    note: str | None

    @property
    def ray_resources(self) -> dict[str, int]:
        """What a Ray on this machine alone needs, as arguments of `ray.init`: whole CPUs and GPUs."""
        return {"num_cpus": math.ceil(self.cpus), "num_gpus": math.ceil(self.gpus)}


def place(
    resources: Resources,
    trials: Sequence[TrialSpec],
    *,
    cpus: float,
    gpus: float,
    where: str = "this machine",
    carried: int | None = None,
) -> Placement:
    """The placement of one or more `trials` on a total of `cpus` and `gpus`, in at most `carried` lanes.

    Raises:
        InputError: no lane fits, or the micro-batch is larger than the largest global batch's share.
    """
    _check_micro_batch(resources, max(trial.global_batch for trial in trials))
    workers = max(resources.workers_at(trial.global_batch) for trial in trials)
    by_cpus = _slots(cpus, resources.cpus_per_worker) // workers
    by_gpus = _gpu_slots(gpus, resources.gpus_per_worker) // workers if resources.gpus_per_worker else by_cpus
    if not by_cpus:
        raise InputError(_refusal("cpus_per_worker", "CPU", workers, resources.cpus_per_worker, cpus, where))
    if not by_gpus:
        raise InputError(_refusal("gpus_per_worker", "GPU", workers, resources.gpus_per_worker, gpus, where))
    fit = min(by_cpus, by_gpus)
    wanted = min(resources.lanes or fit, fit, len(trials))
    lanes = wanted if carried is None else min(wanted, carried)
    return Placement(
        lanes=lanes,
        workers=workers,
        cpus=float(lanes * workers * _exact(resources.cpus_per_worker)),
        gpus=float(lanes * workers * _exact(resources.gpus_per_worker)),
        threads_per_worker=max(1, int(resources.cpus_per_worker)),
        note=_note(resources.lanes, fit, len(trials), where) if lanes == wanted else _carried(wanted, lanes),
    )


def rows_at_once(resources: Resources, fitting: int | None = None) -> RowsAtOnce:
    """The most rows that a worker computes at once in the beginning, if `fitting` rows with their gradient fit.

    `fitting` is None if nothing limits the worker. A micro-batch that the user gave is not changed.
    """
    given = resources.micro_batch if isinstance(resources.micro_batch, int) else None
    auto, evaluation = _auto_micro_batch(resources.gpus_per_worker), EVALUATION_ROWS
    if fitting is not None:
        auto, evaluation = min(auto, max(1, fitting)), min(evaluation, max(1, fitting))
    return RowsAtOnce(micro_batch=given or auto, evaluation=evaluation, shrinks=given is None)


def _auto_micro_batch(gpus_per_worker: float) -> int:
    """A power of two, because what does not fit is halved, and a size in between would only be another shape."""
    part = int(_AUTO_MICRO_BATCH_GPU * min(1.0, gpus_per_worker))
    return max(_AUTO_MICRO_BATCH_CPU, 1 << (part.bit_length() - 1)) if part else _AUTO_MICRO_BATCH_CPU


def micro_batch_rows(resources: Resources, global_batch: int) -> int:
    """The most rows that go through the model at once in a worker's share of `global_batch`."""
    share = -(-global_batch // resources.workers_at(global_batch))
    return min(share, rows_at_once(resources).micro_batch)


def _check_micro_batch(resources: Resources, global_batch: int) -> None:
    """Refuse a `micro_batch` that no trial can use, because it exceeds the share of the largest global batch."""
    workers = resources.workers_at(global_batch)
    share = -(-global_batch // workers)
    if isinstance(resources.micro_batch, int) and resources.micro_batch > share:
        raise InputError(
            f"resources.micro_batch {resources.micro_batch} is larger than the share of {_count(share, 'row')} "
            f"(global batch {global_batch} over {_count(workers, 'worker')}): give at most {share}, or auto"
        )


def _exact(number: float) -> Fraction:
    """The decimal number as it was written: 0.3 contains 0.1 three times, but not as floats."""
    return Fraction(repr(number))


def _slots(amount: float, per_worker: float) -> int:
    return int(_exact(amount) // _exact(per_worker))


def _gpu_slots(gpus: float, per_worker: float) -> int:
    if per_worker >= 1:
        return _slots(gpus, per_worker)
    return int(gpus) * _slots(1, per_worker)


def _refusal(key: str, unit: str, workers: int, per_worker: float, machine: float, where: str) -> str:
    needed = float(workers * _exact(per_worker))
    within = ", each worker's part within one GPU" if unit == "GPU" and per_worker < 1 and workers > 1 else ""
    return (
        f"a lane of {_count(workers, 'worker')} needs {_count(needed, unit)}{within}, "
        f"but {where} has {machine:g}: {_remedy(key, unit, workers, machine)}"
    )


def _remedy(key: str, unit: str, workers: int, machine: float) -> str:
    if unit == "CPU":
        part = _exact(machine) / workers
    elif machine >= workers:
        part = Fraction(int(machine) // workers)
    elif machine >= 1:
        part = Fraction(1, -(-workers // int(machine)))
    else:
        return f"set resources.{key}: 0, or use a machine with a GPU"
    # Ray counts to four decimals; rounding down makes sure that the suggested number fits.
    return f"set resources.{key}: {int(part * 10_000) / 10_000:g}"


def _carried(wanted: int, lanes: int) -> str:
    return (
        f"{wanted} lanes fit on the machines, but the memory of the cluster's head carries {lanes}: a larger head_type "
        "in the fleet's file carries more"
    )


def _note(asked: int | None, fit: int, trials: int, where: str) -> str | None:
    if asked is None or asked <= min(fit, trials):
        return None
    if fit <= trials:
        return f"{asked} lanes were asked for, but {where} holds {fit}"
    return f"{asked} lanes were asked for, but the study has only {_count(trials, 'trial')}"


def _count(number: float, thing: str) -> str:
    return f"{number:g} {thing}" + ("" if number == 1 else "s")
