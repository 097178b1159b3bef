"""Whole simulated studies, screen and all, in worlds where earlier rules were wrong."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from cluster.analysis.verdict import GroupVerdict, judge
from tests.support.simulated import BATCHES, World, spec_of, study

pytestmark = pytest.mark.slow
STUDIES = 24
AXES = {"global_batch": list(BATCHES), "seeds": 5}
# So quick that every batch size is at its floor when the budget ends: nothing but rates and chance is left.
QUICK = {"budget": {"epochs": 12}, "evaluate_every": {"epochs": 2}, "target": None}


def group_of(world: World, **changed: Any) -> GroupVerdict:
    return judge(*study(spec_of(**QUICK | changed), world)).groups[0]


def different(group: GroupVerdict) -> bool:
    return any(one.outcome in ("worse", "better") for one in group.qualities)


def between_rates(number: int) -> World:
    """All batch sizes equally good, each at a rate somewhere between those tried."""
    offsets = np.random.default_rng(number).uniform(-0.5, 0.5, len(BATCHES))
    return World(
        smin=2.0,
        run_deviation=0.005,
        rate_penalty=0.07,
        best_rates=dict(zip(BATCHES, offsets.tolist(), strict=True)),
        random_seed=number,
    )


@pytest.mark.parametrize(("rates", "wrong_in"), [("fitted", (0, 4)), ("best_of_grid", (7, STUDIES))])
def test_a_best_rate_between_those_tried_makes_no_batch_size_worse(rates: str, wrong_in: tuple[int, int]) -> None:
    learning_rate = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5}
    changed = {
        "axes": {**AXES, "learning_rate": learning_rate},
        "margin": {"validation_loss": 0.01},
        "protocol": {"rates": rates},
    }
    wrong = sum(different(group_of(between_rates(number), **changed)) for number in range(STUDIES))
    assert wrong_in[0] <= wrong <= wrong_in[1]


def test_two_optimizers_share_the_error() -> None:
    learning_rate = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}
    axes = {**AXES, "learning_rate": learning_rate, "optimizer": ["adam", "sgd"]}
    wrong = 0
    for number in range(STUDIES):
        world = World(smin=2.0, run_deviation=0.05, random_seed=number)
        tables = study(spec_of(**QUICK | {"axes": axes, "margin": {"validation_loss": 0.01}}), world)
        wrong += any(different(group) for group in judge(*tables).groups)
    assert wrong <= stats.binom.ppf(0.99, STUDIES, 0.05)


def test_equally_quick_batch_sizes_are_not_told_apart() -> None:
    # At this law the seconds to the target are nearly equal over a range, and nothing but chance tells them apart.
    learning_rate = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}
    batches = [32, 36, 40]
    told = 0
    for number in range(STUDIES):
        world = World(smin=40.0, run_deviation=0.05, random_seed=number)
        axes = {"global_batch": batches, "learning_rate": learning_rate, "seeds": 5}
        [quick] = [
            one
            for one in judge(*study(spec_of(axes=axes, budget={"epochs": 20}), world)).groups[0].soonest
            if one.measure == "seconds"
        ]
        told += 36 not in quick.candidates
    assert told <= stats.binom.ppf(0.99, STUDIES, 0.05)


def test_a_study_in_looks_stops_what_is_decided_and_goes_on_with_the_rest() -> None:
    world = World(run_deviation=0.03, floors={512: 1.4, 128: 0.83}, smin=2.0)
    axes = {**AXES, "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5}, "seeds": 14}
    group = group_of(world, axes=axes)
    seeds = {one.global_batch: one.seeds for one in group.qualities}
    outcomes = {one.global_batch: one.outcome for one in group.qualities}
    assert (outcomes[512], seeds[512]) == ("worse", 5)
    assert max(seeds.values()) > 5
    cells = {cell.global_batch: cell for cell in group.cells}
    assert cells[512].completed == cells[512].seeds == 5
    assert cells[group.reference or 0].completed == max(seeds.values())
    assert not any(cell.missing for cell in cells.values())
