"""Evaluations that cost more than a fifth of the training are noticed, by what they take or by rows alone."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.plan.evaluating import hint_from_costs, hint_from_rows
from tests.support.trials import TINY
from tests.unit.plan.test_estimate import point_of
from trainer.trial import Duration, TrialSpec


def point(evaluating: float, training: float = 100.0, **changes: Any) -> Any:
    trial = replace(TINY, budget=Duration(unit="epochs", amount=10), **changes)
    return SimpleNamespace(trial=trial, seconds_training=training, seconds_evaluating=evaluating)


def study(trial: TrialSpec, *, rows: int, held_out: int) -> Any:
    splits = {"train": SimpleNamespace(rows=rows), "validation": SimpleNamespace(rows=held_out)}
    return SimpleNamespace(trials=[trial], manifest=SimpleNamespace(splits=splits))


def test_the_dearest_batch_size_and_a_distance_that_is_not_too_dear_are_named() -> None:
    every = Duration(unit="examples", amount=5000)
    points = [point(10.0, evaluate_every=every), point(90.0, evaluate_every=every, global_batch=64)]
    assert hint_from_costs(points) == (
        "evaluating takes 90% of the time of training at B = 64: "
        "with `evaluate_every: {examples: 23000}` it would take a fifth"
    )


@pytest.mark.parametrize("points", [[], [point(20.0)]])
def test_a_fifth_is_not_too_much(points: list[Any]) -> None:
    assert hint_from_costs(points) is None


def test_where_one_evaluation_is_too_dear_no_distance_helps() -> None:
    hint = hint_from_costs([point(90.0, evaluate_every=Duration(unit="epochs", amount=10))])
    assert hint is not None
    assert hint.endswith("evaluate a smaller validation split, or train longer")


def test_rows_alone_tell_of_an_evaluation_every_5000_examples_on_250000_rows() -> None:
    trial = replace(
        TINY,
        global_batch=100,
        budget=Duration(unit="epochs", amount=1),
        evaluate_every=Duration(unit="examples", amount=5000),
    )
    # 500 evaluations of 250,000 rows, a third as dear as training, beside 2,500,000 rows of training.
    hint = hint_from_rows(study(trial, rows=2_500_000, held_out=250_000))
    assert hint is not None
    assert hint.startswith(
        "evaluating takes 1667% of the time of training at B = 100: with `evaluate_every: {examples:"
    )
    once = replace(trial, evaluate_every=Duration(unit="epochs", amount=1))
    assert hint_from_rows(study(once, rows=2_500_000, held_out=250_000)) is None


@pytest.mark.parametrize("changed", ["budget", "evaluate_every"])
def test_seconds_are_not_compared_with_rows(changed: str) -> None:
    trial = replace(TINY, **{changed: Duration(unit="seconds", amount=1)})
    assert hint_from_rows(study(trial, rows=10, held_out=1000)) is None


def test_averaged_weights_are_evaluated_too() -> None:
    plain, averaging = (point_of(replace(TINY, average_examples=examples)) for examples in (None, 100))
    assert averaging.seconds_evaluating == pytest.approx(2 * plain.seconds_evaluating)
    assert averaging.seconds_training == plain.seconds_training
    budget = Duration(unit="epochs", amount=10)
    hints = [
        hint_from_rows(study(replace(TINY, budget=budget, average_examples=examples), rows=100, held_out=1000))
        for examples in (None, 100)
    ]
    percents = [int(hint.split()[2].removesuffix("%")) for hint in hints if hint]
    assert percents[1] == pytest.approx(2 * percents[0], abs=1)
