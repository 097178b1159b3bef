"""The noise scale in training: measured on few updates, which change nothing, and zero where rows are all the same."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tests.parity.test_layouts import error
from tests.parity.test_loop import Run, learner_of
from tests.support import bodies, processes
from trainer.data import share
from trainer.data.rows import Rows
from trainer.order import measuring, plan
from trainer.order.world import World
from trainer.report import Evaluation, State
from trainer.trial import Duration, ModelSpec, TrialSpec
from trainer.update import noise
from trainer.update.update import Learner

pytestmark = pytest.mark.tf
BAG = ModelSpec(factory=f"{__name__}:bag")


def bag(vocabulary_size: int, outputs: int) -> keras.Model:
    """The mean of a row's embeddings through one dense layer, told for each token to a language model."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True)(tokens)
    x = x if outputs == vocabulary_size else keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, keras.layers.Dense(outputs)(x))


@pytest.fixture
def trial(tiny_trial: Callable[..., TrialSpec]) -> TrialSpec:
    """Six updates of SGD with evaluations after 3 and 6."""
    return tiny_trial(model=BAG, optimizer="sgd", learning_rate=0.5, dtype="float64", global_batch=16)


@pytest.fixture
def every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "EVERY", 2)


def total(measured: Sequence[Sequence[float]]) -> float:
    """In place of the scale, which small batches often leave unsaid: a number that tells what it was asked of."""
    return float(np.sum(measured))


def by_hand(learner: Learner, trial: TrialSpec, rows: Rows, update: int) -> tuple[noise.Moments, np.ndarray]:
    """The moments and the gradient of an update from each row's own gradient, in one process."""
    positions = plan.positions_of(update, trial.global_batch)
    each = []
    for position in positions:
        [row] = share.read_share(trial, rows, range(position, position + 1), 1).micro_batches
        learner.add(row)
        each.append(np.concatenate([array.ravel() for array in learner.gradient(global_batch=1)[1]]))
    return noise.Moments(float(np.sum(np.mean(each, 0) ** 2)), float(np.var(each, 0, ddof=1).sum())), np.array(each)


def test_the_moments_are_those_of_the_rows_own_gradients(prepared: Path, trial: TrialSpec) -> None:
    learner, rows = learner_of(trial), bodies.open_data(str(prepared)).train
    learner.start(trial)
    expected, each = by_hand(learner, trial, rows, 1)
    read = share.read_share(trial, rows, plan.positions_of(1, 16), 64, measured=True)
    squares = [learner.add_measured(one) for one in read.micro_batches]
    assert [len(one.labels) for one in read.micro_batches] == [2] * 8
    assert squares == pytest.approx([np.sum(part.sum(0) ** 2) for part in np.split(each, 8)], rel=1e-12)
    _, found = learner.gradient(global_batch=16)
    assert error(np.concatenate([array.ravel() for array in found]), each.mean(0)) <= 1e-12
    # Of parts of one row, tr(Sigma) is the sample's variance to the last digit, and |G|^2 what it leaves of |S / B|^2.
    alone = noise.moments(
        rows=16, squared=np.sum(each.sum(0) ** 2), part_rows_squared=16, parts_squared=np.sum(each**2)
    )
    assert alone.trace == pytest.approx(expected.trace, rel=1e-10)
    assert alone.squared_gradient == pytest.approx(expected.squared_gradient - expected.trace / 16, rel=1e-10)


def moments_of(world: World, folder: str, trial: TrialSpec, place: str) -> list[list[float]]:
    """What is measured while the trial is trained."""
    measuring.EVERY = 2
    found, moments = [], noise.moments

    def recorded(**sums: float) -> noise.Moments:
        found.append(moments(**sums))
        return found[-1]

    noise.moments = recorded
    bodies.curves(world, folder, trial, 8, 1, place)
    return [list(one) for one in found]


def test_two_workers_measure_what_one_does(prepared: Path, trial: TrialSpec, tmp_path: Path) -> None:
    # 16 rows are cut into the same eight parts by one worker and by two.
    spec = replace(trial, task="language_model")
    alone, *pair = (
        rank
        for workers in (1, 2)
        for rank in processes.run(
            moments_of, workers=workers, arguments=(str(prepared), spec, str(tmp_path / f"{workers}"))
        )
    )
    assert len(alone) == 3
    for found in pair:
        np.testing.assert_allclose(found, alone, rtol=1e-8)


@pytest.mark.usefixtures("every_second")
def test_an_evaluation_is_of_the_updates_since_the_last_and_an_outcome_of_the_later_half(
    prepared: Path, trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[noise.Moments] = []
    moments = noise.moments

    def recorded(**sums: float) -> noise.Moments:
        found.append(moments(**sums))
        return found[-1]

    monkeypatch.setattr(noise, "moments", recorded)
    monkeypatch.setattr(noise, "scale", total)
    spec = replace(trial, clip_norm=1e-3, budget=Duration(unit="updates", amount=7))
    run = Run(spec, bodies.open_data(str(prepared)), tmp_path)
    published, outcome = run.published, run.outcome
    assert run.updates == [3, 6, 7]
    assert len(found) == 3
    assert [one.noise_scale for one in published] == [total(found[:1]), total(found[1:]), 0]
    assert outcome.noise_scale == total(found[1:])
    later = np.mean(found[1:], axis=0).tolist()
    assert [outcome.noise_squared_gradient, outcome.noise_trace] == later
    # Before clipping, after which no gradient is above 1e-3.
    assert min(one.trace for one in found) > 1e-3


@pytest.mark.usefixtures("every_second")
def test_measuring_changes_no_number_beyond_rounding_and_repeats(
    prepared: Path, trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bodies.open_data(str(prepared))
    first, second = (Run(trial, data, tmp_path / name).published for name in "ab")
    monkeypatch.setattr(measuring, "EVERY", 100)
    run = Run(trial, data, tmp_path / "c")
    plain, outcome = run.published, run.outcome

    def numbers(published: list[Evaluation]) -> list[list[Any]]:
        return [[one.validation_loss, one.training_loss, one.gradient_norm, one.noise_scale] for one in published]

    assert numbers(first) == numbers(second)
    np.testing.assert_allclose([one[:3] for one in numbers(first)], [one[:3] for one in numbers(plain)], rtol=1e-12)
    assert [*(one.noise_scale for one in plain), outcome.noise_scale] == [None] * 3


class Alike(Rows):
    """Rows that are all the first one."""

    def tokens(self, rows: Any) -> Any:
        return super().tokens(np.zeros_like(rows))

    def labels(self, rows: Any) -> Any:
        return super().labels(np.zeros_like(rows))

    def lengths(self, rows: Any) -> Any:
        return super().lengths(np.zeros_like(rows))


def test_v16_without_noise_every_batch_takes_the_same_updates_and_the_scale_is_zero(
    prepared: Path, trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "EVERY", 1)
    data = bodies.open_data(str(prepared))
    for split in (data.train, data.validation, data.test):
        split.__class__ = Alike
    once = Duration(unit="updates", amount=1)
    needed, examples = {}, {}
    for batch in (1, 2, 7, 16, 51):
        spec = replace(trial, global_batch=batch, evaluate_every=once, budget=Duration(unit="updates", amount=12))
        run = Run(spec, data, tmp_path / str(batch))
        published, outcome = run.published, run.outcome
        needed[batch] = next(one.update for one in published if one.validation_loss <= 0.5)
        examples[batch] = next(one.examples for one in published if one.validation_loss <= 0.5)
        scales = [*(one.noise_scale for one in published), outcome.noise_scale]
        if batch == 1:
            assert scales == [None] * 13
        else:
            assert max(map(abs, scales)) < 1e-10
    assert len(set(needed.values())) == 1
    assert needed[1] > 2
    assert examples == {batch: batch * needed[1] for batch in needed}
    spec, learner = replace(trial, global_batch=7), learner_of(trial)
    learner.start(spec)
    expected, _ = by_hand(learner, spec, data.train, 0)
    parts = share.read_share(spec, data.train, plan.positions_of(0, 7), 64, measured=True).micro_batches
    squared = sum(learner.add_measured(part) for part in parts)
    norm = learner.update(global_batch=7).gradient_norm
    found = noise.moments(rows=7, squared=(7 * norm) ** 2, part_rows_squared=7, parts_squared=squared)
    assert found.squared_gradient == pytest.approx(expected.squared_gradient, rel=1e-12)
    assert found.trace == pytest.approx(0, abs=1e-12)


@pytest.mark.usefixtures("every_second")
def test_a_checkpoint_of_before_there_was_a_noise_scale_is_gone_on_from(
    prepared: Path, trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "scale", total)
    data = bodies.open_data(str(prepared))
    Run(trial, data, tmp_path, stop=(State.CANCELLED, 4))
    [description] = tmp_path.glob("resume-*4.json")
    described = json.loads(description.read_text())
    facts = described["facts"]
    assert len(facts.pop("noise")) == 2
    assert facts.pop("noise_told") == 1
    for evaluation in facts["evaluations"]:
        del evaluation["noise_scale"]
    # Descriptions of that time held these two and no hash of their own.
    description.write_text(json.dumps({"sha256": described["archive"], "facts": facts}))
    resumed = Run(trial, data, tmp_path)
    assert resumed.updates == [3, 6]
    before, after = (one.noise_scale for one in resumed.published)
    assert before is None
    assert resumed.outcome.noise_scale == after > 0
