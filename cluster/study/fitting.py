"""Refuses what cannot fit into a worker's memory, in one sentence with the nearest thing that can. Pure.

`run` and `plan` both use it. A guess is refused only if it is far over the limit: what is near the limit may well run,
and its memory is watched.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cluster.study.memory import MemoryModel
from cluster.study.study import Study
from trainer.errors import InputError
from trainer.trial import TrialSpec

GIB = 2**30
# A guess may be too high by this part of it.
GUESS_OFF = 1 / 3
# What is given should be more than what is needed.
ROOM = 1.12
SMALLEST_UNITS = 8
ModelOf = Callable[[TrialSpec], MemoryModel]


@dataclass(frozen=True)
class Limit:
    """A worker's memory in bytes, where that number comes from, and how to raise it to the `{gib}` that it needs."""

    bytes: float
    said: str
    more: str


def refuse_what_cannot_fit(study: Study, model_of: ModelOf) -> None:
    """Refuse a study of which a trial cannot fit into a worker's memory.

    Raises:
        InputError: a trial cannot fit.
    """
    limit = _limit(study)
    if limit is None:
        return
    batches = study.micro_batches
    if study.spec.resources.micro_batch == "auto":
        # An `auto` micro-batch shrinks as far as it must.
        batches = dict.fromkeys(batches, 1)
    check(study.trials, batches, model_of, limit, length=study.manifest.longest)


def check(
    trials: Sequence[TrialSpec], micro_batches: Mapping[int, int], model_of: ModelOf, limit: Limit, *, length: int
) -> None:
    """Refuse the first trial whose micro-batch of rows of `length` tokens needs more than a worker has.

    Raises:
        InputError: what does not fit, and the nearest thing that does.
    """
    for trial in {(one.global_batch, one.optimizer, one.dtype): one for one in trials}.values():
        model, rows = model_of(trial), micro_batches[trial.global_batch]
        surely = 1.0 if model.measured else 1 - GUESS_OFF
        if _line(model, rows, length) * surely > limit.bytes:
            raise InputError(_refusal(trial, model_of, rows, limit, length))


def _line(model: MemoryModel, rows: int, length: int) -> float:
    """Bytes of a micro-batch; evaluations do not count, as they take fewer rows where memory is short."""
    return replace(model, least_bytes=0.0).bytes_at(micro_batch=rows, length=length)


def _refusal(trial: TrialSpec, model_of: ModelOf, rows: int, limit: Limit, length: int) -> str:
    model = model_of(trial)
    needed = _line(model, rows, length)
    nearest = []
    if most := min(rows - 1, model.most_rows(limit_bytes=limit.bytes, length=length)):
        nearest.append(f"set resources.micro_batch: {most} (or auto)")
    elif (units := _fewer_units(trial, model_of, rows, limit, length)) is not None:
        nearest.append(f"set model.lstm_units: {units}")
    nearest.append(limit.more.format(gib=f"{needed * ROOM / GIB:.1f}"))
    return (
        f"global batch {trial.global_batch} ({trial.optimizer}, {trial.dtype}): a worker with a micro-batch of {rows} "
        f"row{'s' * (rows != 1)} of {length} tokens needs about {needed / GIB:.1f} GiB "
        f"({'measured' if model.measured else 'a guess'}), but {limit.said}: {', or '.join(nearest)}"
    )


def _fewer_units(trial: TrialSpec, model_of: ModelOf, rows: int, limit: Limit, length: int) -> int | None:
    """The largest half, quarter, ... of the LSTM's units with which the trial fits."""
    units = trial.model.lstm_units // 2 if trial.model.factory is None else 0
    while units >= SMALLEST_UNITS:
        smaller = replace(trial, model=replace(trial.model, lstm_units=units))
        if _line(model_of(smaller), rows, length) * ROOM <= limit.bytes:
            return units
        units //= 2
    return None


def _limit(study: Study) -> Limit | None:
    """A worker's memory; None where it is not known, as for a GPU or a cluster's machines."""
    resources, placed = study.spec.resources, study.placed
    if resources.memory_gib is not None:
        said = f"resources.memory_gib is {resources.memory_gib:g}"
        return Limit(resources.memory_gib * GIB, said, "set resources.memory_gib: {gib}")
    if study.capacity.memory_bytes is None or resources.gpus_per_worker:
        return None
    workers = placed.lanes * placed.workers
    said = f"this machine has {study.capacity.memory_bytes / GIB:.1f} GiB"
    fewer = "set resources.lanes: 1" if placed.lanes > 1 else "use a machine with more memory"
    each = f" for {workers} workers at once" if workers > 1 else ""
    return Limit(study.capacity.memory_bytes / workers, said + each, fewer)
