"""Simulated studies with known answers: the real protocol asks, a formula answers, and the rows are real tables.

A run's validation loss falls as floor + (START - floor) exp(-updates / scale): `scale` follows the law
S = Smin (1 + Bc / B), so that updates to any target do too; the floor is the batch size's own, plus what its seed
shares with all batch sizes, plus what is the run's alone, plus a penalty for a rate away from the batch's best.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from cluster.study import axes, experiment, identity, protocol
from cluster.study.spec import StudySpec, parse
from cluster.summary.tables import table_of
from trainer.order import plan
from trainer.trial import TrialSpec

START = 2.4
ROWS = 4096
DATA_HASH = "d" * 16
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
BATCHES = (16, 32, 64, 128, 256, 512)


@dataclass(frozen=True, kw_only=True)
class World:
    """What is true: floors at each batch (others: `floor`), the law of updates, deviations, seconds of an update.

    `best_rates` are offsets, in steps of the grid, of a batch's best rate from the middle; `diverging` batches have no
    finite loss at any rate. `ends` are the states of confirmations, by batch and seed, that do not complete: they end
    after the share `ends_after` of their budget.
    """

    floor: float = 0.8
    floors: Mapping[int, float] = field(default_factory=dict)
    smin: float = 40.0
    critical_batch: float = 64.0
    seed_deviation: float = 0.05
    run_deviation: float = 0.02
    rate_penalty: float = 0.1
    best_rates: Mapping[int, float] = field(default_factory=dict)
    diverging: frozenset[int] = frozenset()
    ends: Mapping[tuple[int, int], str] = field(default_factory=dict)
    ends_after: float = 0.0
    usd_per_second: float | None = 0.001
    random_seed: int = 0


Tables = tuple[pa.Table, pa.Table, pa.Table]


def spec_of(**changed: Any) -> StudySpec:
    """The spec of a simulated study; keywords change its keys."""
    whole = {
        "study": "simulated",
        "data": "d",
        "task": "classification",
        "axes": {
            "global_batch": list(BATCHES),
            "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5},
            "seeds": 5,
        },
        "budget": {"epochs": 30},
        "evaluate_every": {"examples": 2048},
        "target": {"validation_loss": 1.2},
        "margin": {"validation_loss": 0.05},
        "protocol": {},
    }
    return parse(json.dumps(whole | changed), where="simulated")


def study(
    spec: StudySpec,
    world: World,
    *,
    declared_after: bool = False,
    screened_on: tuple[int, ...] = (),
    tried_on: tuple[int, ...] = (),
) -> Tables:
    """The three tables of a study whose answers are as `world` says; all of it ended.

    `declared_after` says that the spec was declared when everything had ended; `screened_on`, that the study began with
    a screen on other seeds; `tried_on`, that a grid was trained on these seeds before it had a protocol.
    """
    grid = axes.trials(spec, data_hash=DATA_HASH, train_rows=ROWS)
    trials: list[dict[str, Any]] = []
    evaluations: list[dict[str, Any]] = []
    losses: dict[str, float] = {}
    conditions = protocol.Conditions(
        margin=spec.margin.validation_loss if spec.margin else None,
        screened_on=screened_on,
        tried_on=tried_on,
        target_after=spec.target_after,
    )
    while missing := [
        one
        for one in protocol.wanted(grid, spec.protocol, losses, conditions).trials
        if one.trial.trial_id not in losses
    ]:
        for planned in missing:
            curve, state = list(_curve(planned.trial, world, spec)), _state(planned, world)
            if state != "COMPLETED":
                total = plan.total_updates(planned.trial.budget, global_batch=planned.trial.global_batch, rows=ROWS)
                curve = [point for point in curve if point["update"] <= world.ends_after * (total or 0)]
            loss = min((point["validation_loss"] for point in curve), default=math.inf)
            started_at = BEGAN + timedelta(hours=1 + (planned.phase == protocol.CONFIRM))
            row = _row(planned, curve, world, state=state, started_at=started_at)
            trials.append(row | {"spec_hash": identity.spec_hash(spec)} | experiment.of_trial(planned.trial))
            evaluations += curve
            losses[planned.trial.trial_id] = loss
    studies = [_declared(spec, BEGAN + timedelta(days=declared_after))]
    return table_of("studies", studies), table_of("trials", trials), table_of("evaluations", evaluations)


def _state(planned: protocol.Planned, world: World) -> str:
    """How a trial ends."""
    trial = planned.trial
    if trial.global_batch in world.diverging:
        return "DIVERGED"
    confirms = planned.phase == protocol.CONFIRM
    return world.ends.get((trial.global_batch, trial.seed), "COMPLETED") if confirms else "COMPLETED"


def _declared(spec: StudySpec, at: datetime) -> dict[str, Any]:
    target = getattr(spec.target, "validation_loss", None)
    return {
        "study": spec.study,
        "spec_hash": identity.spec_hash(spec),
        "spec_json": identity.canonical_json(spec),
        "data_hash": DATA_HASH,
        "started_at": at,
        "declared_at": at,
        "train_rows": ROWS,
        "target": target,
        "margin": spec.margin.validation_loss if spec.margin else None,
    }


def _curve(trial: TrialSpec, world: World, spec: StudySpec) -> Iterator[dict[str, Any]]:
    batch = trial.global_batch
    if batch in world.diverging:
        return
    total = plan.total_updates(trial.budget, global_batch=batch, rows=ROWS)
    assert total is not None
    floor = _floor(trial, world, spec)
    scale = world.smin * (1 + world.critical_batch / batch)
    below = 0
    for update in _evaluated(trial, total):
        loss = floor + (START - floor) * math.exp(-update / scale)
        yield {
            "study": spec.study,
            "trial_id": trial.trial_id,
            "attempt": 1,
            "update": update,
            "examples": update * batch,
            "epoch": update * batch / ROWS,
            "seconds": _seconds(update, batch),
            "validation_loss": loss,
            "gradient_norm": 1.0,
        }
        below = below + 1 if trial.stop_at_loss is not None and loss <= trial.stop_at_loss else 0
        if below == 2:
            return


def _evaluated(trial: TrialSpec, total: int) -> list[int]:
    """The updates after which a trial is evaluated, as `plan.is_due` says, and the last."""
    every = trial.evaluate_every.amount * (ROWS if trial.evaluate_every.unit == "epochs" else 1)
    falls = range(1, math.floor(total * trial.global_batch / every) + 1)
    return sorted({*(math.ceil(fall * every / trial.global_batch) for fall in falls), total})


def _floor(trial: TrialSpec, world: World, spec: StudySpec) -> float:
    shared = np.random.default_rng([world.random_seed, trial.seed]).normal() * world.seed_deviation
    own = np.random.default_rng([world.random_seed, trial.seed, trial.global_batch, 1]).normal() * world.run_deviation
    rates = axes.rates(spec.axes.learning_rate, trial.global_batch)
    factor = getattr(spec.axes.learning_rate, "factor", 3.0)
    best = rates[len(rates) // 2] * factor ** world.best_rates.get(trial.global_batch, 0.2)
    away = math.log(trial.learning_rate / best) / math.log(factor)
    return world.floors.get(trial.global_batch, world.floor) + shared + own + world.rate_penalty * (away**2 - 0.04)


def _seconds(update: int, batch: int) -> float:
    return update * (0.004 + batch * 0.0002)


def _row(
    planned: protocol.Planned, curve: list[dict[str, Any]], world: World, *, state: str, started_at: datetime
) -> dict[str, Any]:
    trial, last = planned.trial, curve[-1] if curve else {}
    seconds = last.get("seconds", 1.0)
    return {
        **{
            name: getattr(trial, name)
            for name in ("global_batch", "learning_rate", "optimizer", "dtype", "settings", "seed")
        },
        "study": "simulated",
        "trial_id": trial.trial_id,
        "attempt": 1,
        "state": state,
        "phase": planned.phase,
        "workers": 1,
        "micro_batch": min(32, trial.global_batch),
        "device": "cpu",
        "updates": last.get("update", 0),
        "examples": last.get("examples", 0),
        "epochs": last.get("epoch", 0.0),
        "started_at": started_at,
        "ended_at": started_at + timedelta(seconds=seconds),
        "seconds_training": seconds,
        "examples_per_second": last["examples"] / seconds if curve else None,
        "best_validation_loss": min(point["validation_loss"] for point in curve) if curve else None,
        "test_accuracy": 0.8 if state == "COMPLETED" else None,
        "cost_usd": None if world.usd_per_second is None else seconds * world.usd_per_second,
    }
