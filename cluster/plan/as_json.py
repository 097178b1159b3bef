"""A plan as JSON for programs: `schema_version` counts changes of meaning; keys are only ever added."""

from typing import Any

from cluster.plan import work
from cluster.plan.estimate import Outlook, Point
from cluster.plan.planned import Plan

SCHEMA_VERSION = 1


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain values."""
    study = plan.study
    return {
        "schema_version": SCHEMA_VERSION,
        "study": study.spec.study,
        "source": plan.source,
        "why_guessed": plan.why_guessed,
        "busy": plan.busy,
        "finished": plan.finished,
        "lanes": study.placed.lanes,
        "workers": study.placed.workers,
        "threads_per_worker": study.placed.threads_per_worker,
        "cpus": study.placed.cpus,
        "gpus": study.placed.gpus,
        "machines": [
            {**vars(one.instance), "count": one.count, "usd_per_hour": one.price.usd_per_hour}
            | {"price_source": one.price.source, "price_as_of": one.price.as_of}
            for one in plan.machines
        ],
        "expected": _outlook(plan, plan.expected),
        "low": _outlook(plan, plan.low),
        "high": _outlook(plan, plan.high),
        "phases": [{"phase": phase.name, "trials": len(phase.trials)} for phase in plan.phases],
        "measured_on": plan.measured_on,
        "points": [point_row(plan, point) for point in plan.points],
    }


def _outlook(plan: Plan, outlook: Outlook) -> dict[str, Any]:
    return {
        "seconds": outlook.seconds,
        "minutes": outlook.seconds / 60,
        "usd": plan.usd(outlook),
        "trials": outlook.trials,
        "seconds_starting": outlook.seconds_starting,
        "seconds_ending": outlook.seconds_ending,
        "lane_seconds": outlook.lane_seconds,
        "seconds_compiling": outlook.seconds_compiling,
    }


def point_row(plan: Plan, point: Point) -> dict[str, Any]:
    """What a trial of a point takes."""
    trial = point.trial
    return {
        "global_batch": trial.global_batch,
        "optimizer": trial.optimizer,
        "dtype": trial.dtype,
        "trials": plan.trials(point),
        "workers": point.workers,
        "micro_batch": point.micro_batch,
        "split": work.split(trial.global_batch, workers=point.workers, micro_batch=point.micro_batch),
        "updates": point.updates,
        "epochs": point.epochs,
        "evaluations": point.evaluations,
        "memory_bytes": plan.bytes_held(point),
        "seconds_training": point.seconds_training,
        "seconds_evaluating": point.seconds_evaluating,
        "seconds": point.seconds,
        "seconds_low": point.seconds_low,
        "seconds_high": point.seconds_high,
        "evenly_shared_sizes": work.easily_shared(trial.global_batch, at_most=trial.global_batch * 2),
    }
