"""The first study of prepared data: a small grid that takes about three minutes by what a plan measures here.

Only its numbers of batch sizes, seeds and epochs follow from the plan: of DESIGNS, the first one is taken that has time
for FEWEST_EPOCHS, since a model that has learnt little shows nothing of its batch size. Five seeds of an unlearnt model
are worth less than two of a learnt one.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cluster.plan.basis import Basis, basis_of
from cluster.plan.planned import Plan, planned_from
from cluster.stores import store_of
from cluster.study import axes
from cluster.study.capacity import Capacity
from cluster.study.names import name_of_data
from cluster.study.preflight import examine
from cluster.study.small_model import RATE, RATE_AT, small_model
from cluster.study.spec import StudySpec, parse
from cluster.study.study import Study
from trainer.data import manifest as prepared
from trainer.data.inputs import VECTORS
from trainer.data.manifest import Manifest
from trainer.errors import InputError

SECONDS = 180.0
# A plan that takes little longer still counts as three minutes.
SECONDS_AT_MOST = 200.0
# Batch sizes and seeds, the most informative first.
DESIGNS = ((5, 5), (5, 3), (5, 2), (3, 2))
FEWEST_EPOCHS = 5.0
LENGTHS = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0)
# The largest global batch, the fewest updates that it should make in an epoch, and in a run: a machine may be so busy
# that three minutes pay for a single update, which shows nothing of any batch size.
LARGEST_BATCH, FEWEST_UPDATES, FEWEST_OF_A_RUN = 256, 8, 50


@dataclass(frozen=True, kw_only=True)
class FirstStudy:
    """The study, and its plan."""

    spec: StudySpec
    plan: Plan


def first_study(
    data: str,
    *,
    name: str | None,
    factory: str | None,
    capacity: Capacity,
    calibrated: bool,
    tell: Callable[[float], None],
) -> FirstStudy:
    """The first study of the prepared data at `data`; `tell` is called with the progress of a calibration.

    Raises:
        InputError: there are no prepared data, they have vectors and no `factory` builds a model for these, or a study
            of them cannot work here.
        NotReadyError: the data cannot be read.
    """
    manifest = prepared.read(store_of(data))
    if manifest.kind == VECTORS and factory is None:
        raise InputError(
            f"{data} has vectors of {manifest.features_width} numbers, which the built-in LSTM does not read: write a "
            "function build(features_width, outputs) that returns a keras.Model, and name it with --factory "
            "my_models:build"
        )
    fields = _fields(data, name or name_of_data(data), manifest, factory)

    def spec_of(design: tuple[int, int], epochs: float) -> StudySpec:
        sized = _sized(manifest.splits["train"].rows, design, epochs)
        return parse(json.dumps(fields | sized), where="the first study")

    whole = examine(spec_of(DESIGNS[0], FEWEST_EPOCHS), capacity)
    known = basis_of(whole, calibrated=calibrated, tell=tell)

    def plan_of(design: tuple[int, int], epochs: float) -> Plan:
        return _plan(whole, spec_of(design, epochs), known)

    for design in DESIGNS:
        epochs, plan = _longest(partial(plan_of, design), lengths(manifest.splits["train"].rows, design[0]))
        if epochs >= FEWEST_EPOCHS:
            break
    return FirstStudy(spec=spec_of(design, epochs), plan=plan)


def batch_sizes(rows: int, count: int) -> list[int]:
    """At most `count` powers of two: up to the largest that makes FEWEST_UPDATES in an epoch, spread over its range.

    Five are each twice the one before, from 16 to 256 where there are rows enough; three are four times as much.
    """
    most = min(LARGEST_BATCH, max(1, rows // FEWEST_UPDATES))
    largest = most.bit_length() - 1
    every = range(max(0, largest - 4), largest + 1)
    return [2**power for power in (every if count >= len(every) else every[:: 4 // (count - 1)])]


def lengths(rows: int, sizes: int) -> tuple[float, ...]:
    """The numbers of epochs of LENGTHS in which each of `sizes` batch sizes makes FEWEST_OF_A_RUN updates."""
    largest = batch_sizes(rows, sizes)[-1]
    return tuple(epochs for epochs in LENGTHS if epochs * rows >= FEWEST_OF_A_RUN * largest) or LENGTHS[-1:]


def idle_seconds(plan: Plan) -> float:
    """What a plan takes without the other work of the machine, which may soon be over."""
    return plan.expected.seconds * (1 - plan.busy)


def _fields(data: str, name: str, manifest: Manifest, factory: str | None) -> dict[str, Any]:
    """The keys that do not depend on time."""
    model = {"factory": factory} if factory else small_model(manifest)
    return {"study": name, "data": data, "summary": "summary", "task": manifest.task, "model": model}


def _sized(rows: int, design: tuple[int, int], epochs: float) -> dict[str, Any]:
    """The keys that decide how long a study takes.

    A run is evaluated so often that also the largest batch size's few updates have a loss of the smallest at as many
    updates: by the ratio of the two, but at most four times an epoch.
    """
    sizes, seeds = design
    batches = batch_sizes(rows, sizes)
    return {
        "axes": {
            "global_batch": batches,
            "learning_rate": {"around": RATE, "at": RATE_AT, "rule": "sqrt"},
            "seeds": seeds,
        },
        "budget": {"epochs": epochs},
        "evaluate_every": {"epochs": min(epochs / 4, max(0.25, epochs * batches[0] / batches[-1]))},
    }


def _plan(whole: Study, spec: StudySpec, known: Basis) -> Plan:
    """The plan of another spec of the same data and layout."""
    rows = whole.manifest.splits["train"].rows
    trials = axes.trials(spec, data_hash=whole.manifest.data_hash, train_rows=rows)
    return planned_from(replace(whole, spec=spec, trials=trials), known)


def _longest(plan_of: Callable[[float], Plan], epochs: Sequence[float]) -> tuple[float, Plan]:
    """The most `epochs` whose plan takes at most SECONDS_AT_MOST when idle, or the fewest of all, and its plan."""
    low, high = 0, len(epochs) - 1
    found = plan_of(epochs[low])
    while low < high:
        middle = (low + high + 1) // 2
        plan = plan_of(epochs[middle])
        if idle_seconds(plan) <= SECONDS_AT_MOST:
            low, found = middle, plan
        else:
            high = middle - 1
    return epochs[low], found
