"""What cannot fit into a worker's memory, in one sentence with the nearest thing that can: for `run` and `plan` alike.

Pure. A guess is refused only where it is far over the limit: what is near it may well run, and is watched.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from cluster.study.memory import MemoryModel
from trainer.errors import InputError
from trainer.trial import TrialSpec

GIB = 2**30
# A guess may be too high by this part of it.
GUESS_OFF = 1 / 3
SMALLEST_UNITS = 8


def check(
    trials: Sequence[TrialSpec],
    micro_batches: Mapping[int, int],
    model_of: Callable[[TrialSpec], MemoryModel],
    *,
    limit_gib: float,
    limit_said: str,
    length: int,
) -> None:
    """Refuse the first trial whose micro-batch of rows of `length` tokens needs more than a worker has.

    `limit_said` is what limits a worker, such as `resources.memory_gib is 2`.

    Raises:
        InputError: what does not fit, and the nearest thing that does.
    """
    for trial in {(one.global_batch, one.optimizer, one.dtype): one for one in trials}.values():
        model, rows = model_of(trial), micro_batches[trial.global_batch]
        surely = 1.0 if model.measured else 1 - GUESS_OFF
        needed = model.bytes_at(micro_batch=rows, length=length)
        if needed * surely > limit_gib * GIB:
            raise InputError(_said(trial, model, model_of, rows, needed, limit_gib, limit_said, length))


def _said(
    trial: TrialSpec,
    model: MemoryModel,
    model_of: Callable[[TrialSpec], MemoryModel],
    rows: int,
    needed: float,
    limit_gib: float,
    limit_said: str,
    length: int,
) -> str:
    how = "measured" if model.measured else "guessed"
    nearest = []
    if most := min(rows, model.most_rows(limit_bytes=limit_gib * GIB, length=length)):
        nearest.append(f"set resources.micro_batch: {most}")
    elif (units := _fewer_units(trial, model_of, rows, limit_gib, length)) is not None:
        nearest.append(f"set model.lstm_units: {units}")
    least = model.bytes_at(micro_batch=1, length=length) / GIB * 1.12
    nearest.append(f"give each worker {max(needed / GIB * 1.12, least):.1f} GiB")
    return (
        f"global batch {trial.global_batch}, {trial.optimizer}, {trial.dtype}: a worker with a micro-batch of {rows} "
        f"row{'s' * (rows != 1)} of {length} tokens needs about {needed / GIB:.1f} GiB ({how}), {limit_said}: "
        f"{', or '.join(nearest)}"
    )


def _fewer_units(
    trial: TrialSpec, model_of: Callable[[TrialSpec], MemoryModel], rows: int, limit_gib: float, length: int
) -> int | None:
    """The largest half, quarter, ... of the LSTM's units with which it fits."""
    if trial.model.factory is not None:
        return None
    units = trial.model.lstm_units // 2
    while units >= SMALLEST_UNITS:
        smaller = replace(trial, model=replace(trial.model, lstm_units=units))
        if model_of(smaller).bytes_at(micro_batch=rows, length=length) <= limit_gib * GIB * 0.9:
            return units
        units //= 2
    return None
