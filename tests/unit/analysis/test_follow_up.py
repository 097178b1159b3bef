"""The study that decides what another one left open: its axes and seeds, what it takes, and that it does decide."""

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy import stats

from cluster.analysis.follow_up import FollowUp, NoFollowUp, _spread, follow_up
from cluster.analysis.verdict import judge
from cluster.study.rules import RateRule
from cluster.study.seeds import SCREEN_SEEDS
from cluster.study.spec import StudySpec, ValidationLoss
from cluster.summary.tables import TIME
from tests.support.simulated import ROWS, Tables, World, spec_of, study
from tests.support.stored import changed

NOISY = World(run_deviation=0.08)
# Equal batch sizes, but a run's deviation is several margins.
TOO_NOISY = World(run_deviation=0.25, random_seed=0)
AXES = {
    "global_batch": [16, 64, 512],
    "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5},
    "seeds": 5,
}
GRID = {
    "protocol": None,
    "margin": None,
    "axes": {"global_batch": [16, 64, "full"], "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt"}, "seeds": 3},
}


def small(**changed: Any) -> StudySpec:
    """A simulated study of three batch sizes; keywords change its keys."""
    return spec_of(**({"axes": AXES, "budget": {"epochs": 8}} | changed))


def after(tables: Tables, *taken: str) -> FollowUp:
    found = follow_up(*tables, taken={"simulated", *taken})
    assert isinstance(found, FollowUp), found
    return found


def rule_of(spec: StudySpec) -> RateRule:
    assert isinstance(spec.axes.learning_rate, RateRule)
    return spec.axes.learning_rate


def none_after(tables: Tables) -> NoFollowUp:
    found = follow_up(*tables, taken=())
    assert isinstance(found, NoFollowUp), found
    return found


def test_two_batch_sizes_on_the_seeds_that_decide_them() -> None:
    tables = study(small(), NOISY)
    [group] = judge(*tables).groups
    found, step = after(tables, "simulated-next"), group.next_step
    assert found.step == step
    spec = found.spec
    assert spec.study == "simulated-next-2"
    assert set(spec.axes.global_batch) == {step.global_batch, step.reference}
    assert spec.axes.seeds == tuple(range(5, 5 + step.seeds_needed))
    assert (spec.protocol.looks, spec.margin, spec.target) == ("none", small().margin, small().target)
    assert found.undecided == tuple(sorted(one.global_batch for one in group.qualities if one.outcome == "undecided"))
    # The middle rate is the one that was found best at the reference.
    [rate] = [cell.learning_rate for cell in group.cells if cell.global_batch == step.reference]
    assert rule_of(spec).around == pytest.approx(rate, rel=1e-2)
    assert rule_of(spec).at == step.reference
    # Five rates of both, then all seeds of both.
    assert found.trainings == (10 + 2 * step.seeds_needed,) * 2
    assert found.seconds == (step.seconds_screen + step.seeds_needed * step.seconds_seed,) * 2
    # Run as written, it judges these two at one look on all of its seeds.
    [again] = judge(*study(spec, NOISY)).groups
    assert {cell.global_batch for cell in again.cells} == {step.global_batch, step.reference}
    assert [(one.seeds, one.most_seeds) for one in again.qualities] == [(step.seeds_needed,) * 2]


def test_a_grid_is_followed_by_a_protocol_with_a_margin_to_fill_in() -> None:
    tables = study(small(**GRID), World(run_deviation=0.02))
    found = after(tables)
    spec = found.spec
    assert (found.step, found.margin, spec.study) == (None, "example", "simulated-next")
    assert spec.axes.global_batch == (16, 64, "full")
    assert (rule_of(spec).points, rule_of(spec).around) == (5, 0.01)
    assert spec.axes.seeds == tuple(range(3, 17))
    assert found.undecided == (16, 64, ROWS)
    assert found.trainings == (15 + 15, 15 + 42)
    losses = np.array(tables[1].sort_by([("global_batch", "ascending")])["best_validation_loss"]).reshape(3, 3)
    deviation = np.sqrt(losses.var(axis=1, ddof=1).mean())
    # By two t tests of 10 pairs at 5 %, with a chance of 80 %: 90 % for each of the two.
    least = (stats.t.ppf(0.95, 9) + stats.t.ppf(0.9, 9)) / np.sqrt(10) * np.sqrt(2) * deviation
    assert found.decidable_margin == pytest.approx(least, rel=0.04)
    # A margin never follows from the data.
    assert spec.margin == ValidationLoss(validation_loss=0.05)
    # All of a phase start at once in the simulation, so that they end one after the other at their own length.
    spent = np.array(tables[1].sort_by([("global_batch", "ascending")])["seconds_training"]).reshape(3, 3).mean(axis=1)
    at_once = 3 * spent.sum() / spent.max()
    assert found.seconds == pytest.approx((10 * spent.sum() / at_once, 19 * spent.sum() / at_once), rel=1e-3)


def test_a_target_is_asked_for_where_there_was_none() -> None:
    assert after(study(spec_of(**GRID, target=None), NOISY)).spec.target == "auto"
    declared = spec_of(**GRID, target={"validation_loss": 0.7})
    assert after(study(declared, NOISY)).spec.target == declared.target


def test_with_little_time_it_is_of_fewer_batch_sizes() -> None:
    budget = {"budget": {16: {"epochs": 4}, 64: {"epochs": 4}, 512: {"epochs": 8}}}
    axes = GRID["axes"] | {"global_batch": [16, 64, 512]}
    tables = study(spec_of(**GRID | {"axes": axes} | budget), NOISY)

    def within(seconds: float) -> FollowUp:
        found = follow_up(*tables, taken=(), seconds_at_most=seconds)
        assert isinstance(found, FollowUp)
        return found

    whole = within(np.inf)
    assert (whole.spec.axes.global_batch, whole.left_out) == ((16, 64, 512), ())
    longest = whole.seconds[1]
    assert within(longest) == whole
    for seconds in (longest - 1, 1):
        found = within(seconds)
        assert (found.spec.axes.global_batch, found.left_out) == ((16, 512), (64,))
        assert set(found.spec.budget) == {16, 512}
        assert found.seconds[1] < longest


@pytest.mark.parametrize(
    ("sizes", "count", "kept"),
    [
        ((512, "full", 16, 64), 2, ("full", 16)),
        ((512, 128, 16, 64, 32), 3, (512, 16, 64)),
        ((16, 64), 2, (16, 64)),
        (("full", 8, 16), 3, ("full", 8, 16)),
    ],
)
def test_the_smallest_and_the_largest_stay_in_whatever_order(
    sizes: tuple[int | str, ...], count: int, kept: tuple[int | str, ...]
) -> None:
    assert _spread(sizes, count) == kept


def test_a_margin_declared_before_is_kept_and_one_seed_tells_no_noise() -> None:
    assert after(study(small(**{**GRID, "margin": {"validation_loss": 0.2}}), NOISY)).margin == "declared"
    one = after(study(small(**{**GRID, "axes": {**GRID["axes"], "seeds": [7]}}), NOISY))
    assert (one.margin, one.decidable_margin) == ("example", None)
    assert one.spec.axes.seeds == (*range(7), *range(8, 15))
    late = after(study(small(margin=None), NOISY))
    assert (late.step, late.margin, late.spec.axes.seeds[0]) == (None, "example", 5)
    stopping = after(study(small(margin=None, protocol={"stop_at_target": True}), NOISY)).spec
    assert stopping.protocol is not None
    assert not stopping.protocol.stop_at_target


@pytest.mark.parametrize(("rates", "expected"), [([0.01], (0.01, 5)), ([0.1, 0.001], (0.01, 5))])
def test_a_few_listed_rates_become_five_around_them(rates: list[float], expected: tuple[float, int]) -> None:
    spec = after(study(small(**{**GRID, "axes": {**GRID["axes"], "learning_rate": rates}}), NOISY)).spec
    assert (rule_of(spec).around, rule_of(spec).points) == expected
    assert rule_of(spec).rule == "none"


def test_of_several_optimizers_only_that_of_the_comparison_goes_on() -> None:
    rates = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5}
    several = {"optimizer": ["adamw", "sgd"], "weight_decay": [0, 0.01], "seeds": 5, "learning_rate": rates}
    budget = {"16": {"epochs": 20}, "64": {"epochs": 30}, "full": {"epochs": 40}}
    whole = small(axes={"global_batch": [16, 64, "full"], **several}, budget=budget)
    found = after(study(whole, NOISY))
    assert (len(found.spec.axes.optimizer), len(found.spec.axes.global_batch)) == (1, 2)
    assert set(found.spec.budget) == set(found.spec.axes.global_batch)
    assert found.spec.axes.weight_decay is None or len(found.spec.axes.weight_decay) == 1


def test_where_nothing_follows_it_says_why() -> None:
    assert none_after(study(small(), World(run_deviation=0.002))).code == "decided"
    studies, trials, evaluations = study(small(), NOISY)
    asked = trials.num_rows + 2
    unfinished = none_after((changed(studies, trials=asked), trials, evaluations))
    assert (unfinished.code, unfinished.text) == ("unfinished", f"{asked - 2} of {asked} trials have ended")
    going_on = trials.filter(pc.field("seed") != 4)
    assert none_after((studies, going_on, evaluations)).code == "unfinished"
    failed = changed(trials, state="FAILED")
    assert none_after((studies, failed, evaluations)).code == "no_answer"
    one = study(small(**{**GRID, "axes": {**GRID["axes"], "global_batch": [16]}}), NOISY)
    assert none_after(one).code == "one_batch"
    stopping = study(small(protocol={"stop_at_target": True}), NOISY)
    assert none_after(stopping).code == "not_judged"
    guessing = changed(study(small(**GRID), NOISY)[0], baseline_loss=0.01, best_constant_loss=0.01)
    assert none_after((guessing, *study(small(**GRID), NOISY)[1:])).code == "not_judged"


def test_what_200_seeds_would_not_decide_is_out_of_reach() -> None:
    tables = study(small(axes={**AXES, "global_batch": [16, 64]}), TOO_NOISY)
    assert judge(*tables).groups[0].next_step.seeds_needed is None
    assert none_after(tables) == NoFollowUp(code="out_of_reach", text="64")


def test_seeds_are_those_that_nothing_has_seen() -> None:
    axes = {**GRID["axes"], "seeds": [0, 2, 5]}
    found = after(study(small(**{**GRID, "axes": axes}), NOISY)).spec
    assert found.axes.seeds == (1, 3, 4, *range(6, 17))
    assert not set(found.axes.seeds) & set(SCREEN_SEEDS)


def test_times_that_are_not_known_promise_nothing() -> None:
    studies, trials, evaluations = study(small(**GRID), NOISY)
    moved = pc.add(trials["started_at"], pa.scalar(timedelta(0))).cast(TIME)
    assert after((studies, changed(trials, ended_at=moved.to_pylist()), evaluations)).seconds is None
