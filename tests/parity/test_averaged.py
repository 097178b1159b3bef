"""The averaged weights: what they are, that they change nothing else, and that a resumed trial has the same."""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf

from cluster.summary.tables import EVALUATIONS, TRIALS
from tests.parity.test_loop import LSTM, Run, data, learner_of, numbers, plain_score, same, trial
from tests.support import bodies, processes
from tests.support.trials import TINY
from trainer import averaged
from trainer.evaluate import Score
from trainer.report import State
from trainer.trial import TrialSpec
from trainer.update.average import WeightAverage, gain
from trainer.update.update import Learner, Updated

pytestmark = pytest.mark.tf
__all__ = ["data", "trial"]
HORIZON = 60


@pytest.mark.parametrize("global_batch", [1, 17, 60, 4096])
def test_weights_of_as_many_examples_ago_count_the_same_at_every_global_batch(global_batch: int) -> None:
    updates = 40
    counts = np.zeros(updates)
    for update in range(1, updates + 1):
        part = gain(update, global_batch=global_batch, examples=HORIZON)
        counts *= 1 - part
        counts[update - 1] = part
    ago = global_batch * np.arange(updates - 1, -1, -1)
    np.testing.assert_allclose(counts, np.exp(-ago / HORIZON) / np.exp(-ago / HORIZON).sum(), rtol=1e-9, atol=1e-15)
    assert gain(1, global_batch=global_batch, examples=HORIZON) == 1


def test_before_the_horizon_it_is_the_plain_mean() -> None:
    assert gain(100, global_batch=1, examples=10**9) == pytest.approx(0.01, rel=1e-6)


def test_a_small_part_of_a_small_difference_is_not_rounded_away() -> None:
    weight = tf.Variable(np.ones(3, "float32"))
    average = WeightAverage([weight])
    average.start()
    average.move(1.0)
    weight.assign(np.full(3, 1.001, "float32"))
    for _ in range(100):
        average.move(1e-8)
    np.testing.assert_allclose(average.arrays()[0] - 1, 1e-9, rtol=1e-4)


def test_in_place_of_the_weights_they_are_evaluated_and_the_weights_come_back() -> None:
    weight = tf.Variable(np.array([1 / 3, 5], "float32"))
    average = WeightAverage([weight])
    average.assign([np.array([1 / 7, 2])])
    before = weight.numpy()
    with average.in_place():
        np.testing.assert_array_equal(weight.numpy(), np.array([1 / 7, 2], "float32"))
    assert weight.numpy().tobytes() == before.tobytes()


def averaging(trial: Callable[..., TrialSpec], **changes: Any) -> TrialSpec:
    """A trial of 20 updates whose weights wander, which its average does less."""
    shape = {"global_batch": 20, "learning_rate": 0.3, "budget": (20, "updates"), "evaluate_every": (4, "updates")}
    return replace(trial(**{**shape, **changes}), average_examples=HORIZON)


def test_the_losses_are_those_of_the_average_of_the_weights_after_each_update(
    trial: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, after = averaging(trial), []
    update = Learner.update

    def recorded(self: Learner, **options: Any) -> Updated:
        updated = update(self, **options)
        after.append(self.weights())
        return updated

    monkeypatch.setattr(Learner, "update", recorded)
    run = Run(spec, data, tmp_path)
    found, expected, averages = [], [], []
    for evaluation in run.published:
        ago = 20 * np.arange(evaluation.update - 1, -1, -1)
        counts = np.exp(-ago / HORIZON) / np.exp(-ago / HORIZON).sum()
        averages.append(
            [np.tensordot(counts, np.stack(each), 1) for each in zip(*after[: evaluation.update], strict=True)]
        )
        expected.append(plain_score(spec, averages[-1], data.validation)[0])
        found.append(evaluation.validation_loss_averaged)
    assert found == pytest.approx(expected, rel=1e-5)
    raw = [evaluation.validation_loss for evaluation in run.published]
    assert min(abs(one - other) for one, other in zip(raw, found, strict=True)) > 1e-3
    assert run.outcome
    best = int(np.argmin(expected))
    assert run.outcome.best_validation_loss_averaged == found[best]
    assert run.outcome.test_loss_averaged == pytest.approx(plain_score(spec, averages[best], data.test)[0], rel=1e-5)
    assert run.outcome.test_loss_averaged != pytest.approx(plain_score(spec, averages[-1], data.test)[0], rel=1e-4)


def test_what_it_reports_has_its_columns(trial: Any, data: Any, tmp_path: Path) -> None:
    run = Run(averaging(trial, budget=(2, "updates")), data, tmp_path)
    assert set(asdict(run.published[0])) <= set(EVALUATIONS.names)
    assert run.outcome
    assert set(asdict(run.outcome)) - {"first_update_at"} <= set(TRIALS.names)


def raw_numbers(report: Any) -> dict[str, Any]:
    return {key: value for key, value in numbers(report).items() if not key.endswith("_averaged")}


def test_it_changes_no_number_of_the_weights_themselves(trial: Any, data: Any, tmp_path: Path) -> None:
    spec = averaging(trial, optimizer="adam")
    with_average = Run(spec, data, tmp_path / "with")
    without = Run(replace(spec, average_examples=None), data, tmp_path / "without")
    assert [raw_numbers(one) for one in with_average.published] == [raw_numbers(one) for one in without.published]
    assert with_average.outcome
    assert without.outcome
    assert raw_numbers(with_average.outcome) == raw_numbers(without.outcome)
    for name in ("best", "last"):
        assert same(with_average.checkpoints.weights(name), without.checkpoints.weights(name))
    assert {one.validation_loss_averaged for one in without.published} == {None}
    assert (without.outcome.best_validation_loss_averaged, without.outcome.test_loss_averaged) == (None, None)


@pytest.mark.parametrize(
    ("changes", "after"), [({}, 3), ({}, 9), ({"model": LSTM, "optimizer": "nesterov"}, 6)], ids=str
)
def test_a_resumed_trial_has_the_same_averages_to_the_last_bit(
    trial: Any, data: Any, tmp_path: Path, changes: dict[str, Any], after: int
) -> None:
    spec = averaging(trial, **changes)
    whole = Run(spec, data, tmp_path / "whole")
    Run(spec, data, tmp_path / "cut", stop=(State.CANCELLED, after))
    # On the same learner, with averages of its own.
    Run(replace(spec, seed=8, average_examples=7), data, tmp_path / "other")
    resumed = Run(spec, data, tmp_path / "cut")
    assert [numbers(one) for one in resumed.published] == [numbers(one) for one in whole.published]
    assert resumed.outcome
    assert whole.outcome
    assert numbers(resumed.outcome) == numbers(whole.outcome)
    assert whole.outcome.test_loss_averaged is not None


def test_an_average_whose_loss_is_not_finite_has_none_and_ends_nothing(
    trial: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(averaged, "score", lambda *_, **__: Score(loss=math.inf, accuracy=None))
    run = Run(averaging(trial), data, tmp_path)
    assert run.outcome
    assert run.outcome.state is State.COMPLETED
    assert {one.validation_loss_averaged for one in run.published} == {None}
    assert (run.outcome.best_validation_loss_averaged, run.outcome.test_loss_averaged) == (None, None)


def losses(run: Any) -> list[float]:
    published, outcome = run
    return [*(one.validation_loss_averaged for one in published), outcome.test_loss_averaged]


def test_the_average_is_the_same_on_any_layout(trial: Any, data: Any, tmp_path: Path, prepared: Path) -> None:
    spec = replace(TINY, model=LSTM, average_examples=HORIZON)
    learner = learner_of(spec)
    whole = losses(bodies.trained(learner, str(prepared), spec, str(tmp_path / "1"), 1000))
    parts = losses(bodies.trained(learner, str(prepared), spec, str(tmp_path / "2"), 1))
    pair = processes.run(bodies.curves, workers=2, arguments=(str(prepared), spec, 8, 1, str(tmp_path / "3")))
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    np.testing.assert_allclose(losses(pair[0][0]), whole, rtol=1e-6)
    assert losses(pair[0][0]) == losses(pair[1][0])
