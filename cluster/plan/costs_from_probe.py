"""Costs from the last probe of a study: `batchscope probe` of this spec, in the layout in which it would run now.

A probe measures each global batch separately, which needs no fit: an update's seconds are the median of its blocks, and
their range is the quartiles. The time spent on tracing for all global batches is spread over all their shapes.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cluster.plan.costs import Costs, Line
from cluster.plan.costs_from_calibration import LEAST_SPREAD
from cluster.study.memory import MemoryModel
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.tables import COMPLETED
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from cluster.study.study import Study

Row = Mapping[str, Any]
Kind = tuple[int, str, str]


def rows_of(study: "Study") -> list[Row]:
    """The rows of the last probe that measured this study as it would run now; empty if there is no such probe."""
    summary, spec_hash = Summary(study.spec.summary), study.spec_hash
    every = [row for row in query.probes(summary, study.spec.study).to_pylist() if row["spec_hash"] == spec_hash]
    last = max((row["probed_at"] for row in every), default=None)
    found = [row for row in every if row["probed_at"] == last]
    wanted = {kind_of(trial) for trial in study.trials}
    same = all(
        row["data_hash"] == study.manifest.data_hash and row["threads"] == study.placed.threads_per_worker
        for row in found
    )
    return found if same and wanted <= _speeds(found, study.placed.lanes).keys() else []


def kind_of(trial: TrialSpec) -> Kind:
    """The kind of trial that a probe measures separately."""
    return trial.global_batch, trial.optimizer, trial.dtype


def costs_of(
    rows: list[Row], study: "Study", guessed: Callable[[TrialSpec], Costs], shapes: int
) -> Callable[[TrialSpec], Costs]:
    """The costs of each trial from these rows; `guessed` supplies what was not measured.

    `shapes` is the number of shapes of all global batches of a kind together.
    """
    speeds = _speeds(rows, study.placed.lanes)
    traced = sum(row["seconds_tracing"] or 0.0 for row in speeds.values())
    kinds = len({kind[1:] for kind in speeds})
    compiling = traced / kinds / max(1, shapes)

    def found(trial: TrialSpec) -> Costs:
        row, guess = speeds[kind_of(trial)], guessed(trial)
        median = row["seconds_per_update"]
        return Costs(
            seconds_per_update=median,
            training=Line(each=0.0, token=0.0, place=0.0, packed=0.0),
            evaluation=_evaluation(rows) or guess.evaluation,
            seconds_tracing=0.0,
            seconds_compiling=compiling,
            seconds_compiling_forward=compiling,
            seconds_importing=row["seconds_starting"] or guess.seconds_importing,
            low=min(row["seconds_per_update_low"] / median, 1 / (1 + LEAST_SPREAD)),
            high=max(row["seconds_per_update_high"] / median, 1 + LEAST_SPREAD),
            memory=_memory(rows, trial) or guess.memory,
            bytes_per_shape=0.0,
            idle=1.0,
            measured=True,
        )

    return found


def _speeds(rows: list[Row], lanes: int) -> dict[Kind, Row]:
    return {
        (row["global_batch"], row["optimizer"], row["dtype"]): row
        for row in rows
        if row["kind"] == "throughput" and row["state"] == COMPLETED and row["with_reading"] and row["lanes"] == lanes
    }


def _evaluation(rows: list[Row]) -> Line | None:
    for row in rows:
        if row["kind"] == "evaluation" and row["tokens_per_second"]:
            seconds = (1 - (row["padding_fraction"] or 0.0)) / row["tokens_per_second"]
            return Line(each=0.0, token=0.0, place=seconds, packed=0.0)
    return None


def _memory(rows: list[Row], trial: TrialSpec) -> MemoryModel | None:
    of_kind = [row for row in rows if (row["optimizer"], row["dtype"]) == (trial.optimizer, trial.dtype)]
    evaluating = [row["peak_memory_bytes"] or 0 for row in of_kind if row["kind"] == "evaluation"]
    for row in of_kind:
        if row["kind"] == "memory" and row["fit_base_bytes"] is not None:
            return MemoryModel(
                base_bytes=row["fit_base_bytes"],
                bytes_per_place=row["fit_bytes_per_place"],
                measured=True,
                least_bytes=float(max(evaluating, default=0)),
            )
    return None
