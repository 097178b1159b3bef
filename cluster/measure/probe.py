"""A whole probe of a study: the memory of each micro-batch, the speed of each global batch, as rows of `probes`."""

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cluster.measure import memory, peaks, throughput
from cluster.measure.memory import Memory
from cluster.measure.probe_worker import Held, LaneLayout, MeasuredBatch, MeasuredMachine
from cluster.measure.throughput import Speed
from cluster.study.placement import micro_batch_rows
from cluster.study.study import Study
from trainer.report import State
from trainer.trial import TrialSpec

Row = dict[str, Any]


def probe(
    study: Study,
    *,
    global_batches: Sequence[int] | None = None,
    micro_batches: Sequence[int] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Measure the study's own batches, or those given, on this machine; `say` reports each measurement.

    This is done for each dtype and optimizer of the study.
    """
    common = _common(study)
    rows: list[Row] = []
    cells: dict[MeasuredBatch, int] = {}
    for trial in _shapes(study):
        found = _memory(study, trial, micro_batches, say)
        rows += [common | row for row in _memory_rows(study, trial, found)]
        cells |= _cells(study, trial, found, global_batches)
    for speed in throughput.measure(
        {workers: _layout(study, workers) for workers in set(cells.values())},
        cells,
        lanes_at_once=study.placed.lanes,
        shrinks=study.spec.resources.micro_batch == "auto",
        say=say,
    ):
        rows += [common | row for row in _speed_rows(study, speed)]
    return rows


def _memory(study: Study, trial: TrialSpec, sizes: Sequence[int] | None, say: Callable[[str], None]) -> Memory:
    # The largest number of workers, whose sum holds a copy of the gradient, which a single worker does not need.
    workers = max(study.workers.values())
    share = max(-(-batch // study.workers[batch]) for batch in study.workers)
    rows = study.manifest.splits["train"].rows
    return memory.measure(_layout(study, workers), trial, sizes=sizes, largest_share=share, rows=rows, say=say)


def _common(study: Study) -> Row:
    """The columns that all rows of a probe have in common."""
    return {
        "study": study.spec.study,
        "probed_at": datetime.now(UTC),
        "threads": study.placed.threads_per_worker,
        "memory_limit_bytes": study.memory_bytes,
        "data_hash": study.manifest.data_hash,
        "spec_hash": study.spec_hash,
        "code_version": importlib.metadata.version("batchscope"),
    }


def _memory_rows(study: Study, trial: TrialSpec, found: Memory) -> list[Row]:
    common = {
        "dtype": trial.dtype,
        "optimizer": trial.optimizer,
        "lanes": 1,
        "workers": max(study.workers.values()),
        "fit_base_bytes": found.model.base_bytes if found.model else None,
        "fit_bytes_per_place": found.model.bytes_per_place if found.model else None,
    }
    rows = [
        common
        | {
            "kind": "memory",
            "state": str(one.state),
            "error": one.error,
            "micro_batch": one.micro_batch,
            "held_out": int(one.held_out),
            "fit_error": peaks.error(found.model, one.peak) if found.model and one.peak else None,
        }
        | _held_columns(one.held)
        for one in found.measured
    ]
    if found.evaluating:
        rows.append(common | {"kind": "evaluation", "state": str(State.COMPLETED)} | _held_columns(found.evaluating))
    return rows


def _held_columns(held: Held | None) -> Row:
    if held is None:
        return {}
    return {"length": held.length, "peak_memory_bytes": held.peak_bytes} | _machine_columns(held.machine)


def _machine_columns(machine: MeasuredMachine | None) -> Row:
    return {} if machine is None else dict(vars(machine))


def _speed_rows(study: Study, speed: Speed) -> list[Row]:
    """A row with reading, one without and, for the last cell of a probe, one with the speed of evaluating."""
    common = {
        "state": str(speed.state),
        "error": speed.error,
        "dtype": speed.cell.trial.dtype,
        "optimizer": speed.cell.trial.optimizer,
        "lanes": study.placed.lanes,
        "workers": speed.workers,
    } | _machine_columns(speed.machine)
    cell = {"kind": "throughput", "global_batch": speed.cell.trial.global_batch, "micro_batch": speed.cell.micro_batch}
    if speed.state is not State.COMPLETED:
        return [common | cell]
    rows = [common | cell | _speed_columns(speed, with_reading) for with_reading in (True, False)]
    if speed.evaluation and speed.evaluation.rows:
        seconds, evaluation = speed.evaluation.seconds, speed.evaluation
        rows.append(
            common
            | {
                "kind": "evaluation",
                "with_reading": 1,
                "processors_used": evaluation.processor_seconds / seconds,
                "examples_per_second": evaluation.rows / seconds,
                "tokens_per_second": evaluation.real_tokens / seconds,
                "padding_fraction": 1 - evaluation.real_tokens / evaluation.padded_tokens,
            }
        )
    return rows


def _speed_columns(speed: Speed, with_reading: bool) -> Row:
    timing, (real, padded) = speed.timing(with_reading), speed.tokens
    return {
        "with_reading": int(with_reading),
        "processors_used": speed.processors_used(with_reading),
        "blocks": len(speed.samples[with_reading]),
        "updates": speed.updates,
        "seconds_per_update": timing.median,
        "seconds_per_update_low": timing.low,
        "seconds_per_update_high": timing.high,
        "seconds_per_update_variation": timing.variation,
        "examples_per_second": speed.cell.trial.global_batch / timing.median,
        "tokens_per_second": real / speed.updates / timing.median,
        "padding_fraction": 1 - real / padded,
        "seconds_starting": speed.seconds_starting,
        "seconds_tracing": speed.seconds_tracing,
    }


def _layout(study: Study, workers: int) -> LaneLayout:
    return LaneLayout(
        data=study.spec.data,
        data_hash=study.manifest.data_hash,
        workers=workers,
        threads=study.placed.threads_per_worker,
        gpus_per_worker=study.spec.resources.gpus_per_worker,
        limit_bytes=study.memory_bytes,
    )


def _shapes(study: Study) -> list[TrialSpec]:
    """One trial for each dtype and optimizer."""
    return list({(trial.dtype, trial.optimizer): trial for trial in reversed(study.trials)}.values())[::-1]


def _cells(
    study: Study, trial: TrialSpec, memory: Memory, global_batches: Sequence[int] | None
) -> dict[MeasuredBatch, int]:
    """The global batches whose speed is measured with trials like this one, each with its number of workers."""
    resources = study.spec.resources
    most = memory.most_rows(study.memory_bytes) if resources.micro_batch == "auto" else None
    return {
        # The rate does not affect speed, and such a small one never diverges.
        MeasuredBatch(
            trial=replace(trial, global_batch=batch, learning_rate=1e-6),
            micro_batch=min(micro_batch_rows(resources, batch), most or batch),
        ): resources.workers_at(batch)
        for batch in sorted(set(global_batches or study.workers))
    }
