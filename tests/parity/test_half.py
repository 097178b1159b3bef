"""Half precision: weights and sums in float32, its gradient but for rounding, and a loss scale that is exact."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cluster.study.data import check_task
from tests.conftest import hash_of, write_prepared
from tests.unit.study.test_spec import spec_with
from trainer.check import TOLERANCES
from trainer.data.inputs import SEQUENCES
from trainer.data.share import read_share
from trainer.data.splits import open_data
from trainer.data.store import Folder
from trainer.errors import InputError
from trainer.model import model
from trainer.model.lstm import kernel_paths
from trainer.order import plan
from trainer.order.world import World
from trainer.trial import Duration, ModelSpec, TrialSpec
from trainer.update import scaling
from trainer.update.collective import Collective
from trainer.update.shape import Shape
from trainer.update.update import Learner

TRIAL = TrialSpec(
    data_hash="tiny",
    task="classification",
    model=ModelSpec(embedding_units=6, lstm_units=5, dropout=0.2),
    global_batch=17,
    learning_rate=0.05,
    optimizer="adam",
    dtype="mixed_float16",
    seed=3,
    budget=Duration(unit="updates", amount=6),
    evaluate_every=Duration(unit="updates", amount=3),
)
Half = Callable[[str], Learner]


@pytest.fixture(scope="module")
def learners(prepared: Path) -> Half:
    """The learner of a dtype, traced once."""
    manifest, _ = open_data(Folder(str(prepared)), hash_of(prepared))
    made: dict[str, Learner] = {}

    def of(dtype: str) -> Learner:
        if dtype not in made:
            made[dtype] = Learner(Shape.of(with_dtype(dtype), manifest), Collective(World()))
        return made[dtype]

    return of


def with_dtype(dtype: str) -> TrialSpec:
    return replace(TRIAL, dtype=dtype)


def added(learner: Learner, prepared: Path, *, measured: bool = False) -> None:
    """Start the learner's trial and add its first global batch."""
    learner.start(with_dtype(learner.shape.dtype))
    rows = open_data(Folder(str(prepared)), hash_of(prepared))[1].train
    for one in read_share(TRIAL, rows, plan.positions_of(0, 17), 6, measured=measured).micro_batches:
        (learner.add_measured if measured else learner.add)(one)


def gradient(learner: Learner, prepared: Path, **options: Any) -> Any:
    added(learner, prepared, **options)
    return np.concatenate([array.ravel() for array in learner.gradient(global_batch=17)[1]])


def apart(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_only_what_goes_through_the_model_is_half(learners: Half, prepared: Path, dtype: str) -> None:
    learner = learners(dtype)
    kept = [*learner.variables, *learner._sums, *learner.optimizer.variables[1:]]
    assert {str(getattr(one.dtype, "name", one.dtype)) for one in kept} == {"float32"}
    [lstm] = [layer for layer in learner.model.layers if "lstm" in layer.name]
    assert lstm.compute_dtype == dtype.removeprefix("mixed_")
    assert kernel_paths(learner.model) == "keras"
    found, expected = gradient(learner, prepared), gradient(learners("float32"), prepared)
    # Rounded somewhere, and nowhere more than that.
    assert 1e-6 < apart(found, expected) < TOLERANCES[dtype]


@pytest.mark.parametrize("measured", [False, True])
def test_a_scale_that_is_too_large_is_halved_until_no_row_is_left_out(
    learners: Half, prepared: Path, monkeypatch: pytest.MonkeyPatch, measured: bool
) -> None:
    learner = learners("mixed_float16")
    monkeypatch.setattr(scaling, "START", 1.0)
    unscaled = gradient(learner, prepared)
    monkeypatch.setattr(scaling, "START", 2.0**30)
    found = gradient(learner, prepared, measured=measured)
    scale = float(learner._scale._scale)
    assert 1 < scale < 2.0**20
    assert np.log2(scale) % 1 == 0
    assert 0 < apart(found, unscaled) < TOLERANCES["mixed_float16"]
    added(learner, prepared, measured=measured)
    assert float(learner._targets) == 17


def test_what_is_not_finite_without_a_scale_is_no_update(learners: Half, prepared: Path) -> None:
    learner = learners("mixed_float16")
    added(learner, prepared)
    learner.variables[-1].assign(np.full(3, np.nan, "float32"))
    rows = open_data(Folder(str(prepared)), hash_of(prepared))[1].train
    [one] = read_share(TRIAL, rows, plan.positions_of(1, 17), 17).micro_batches
    learner.add(one)
    assert float(learner._scale._scale) == scaling.LEAST
    assert not learner.update(global_batch=34).finite


def gated(*, vocabulary_size: int, outputs: int) -> keras.Model:
    tokens = keras.Input((None,), dtype="int32")
    hidden = keras.layers.GRU(8)(keras.layers.Embedding(vocabulary_size, 8, mask_zero=True)(tokens))
    return keras.Model(tokens, keras.layers.Dense(outputs)(hidden))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_of_ones_own_is_not_refused_for_its_rounding(dtype: str) -> None:
    own = ModelSpec(factory="tests.parity.test_half:gated")
    built = model.build(own, vocabulary_size=9, outputs=3, task="classification", dtype=dtype, seed=0)
    assert model.training_twin(built).layers[-1].compute_dtype == dtype.removeprefix("mixed_")


def test_the_padding_of_sequences_of_vectors_is_refused(tmp_path: Path) -> None:
    manifest = replace(write_prepared(tmp_path), kind=SEQUENCES)
    with pytest.raises(InputError, match=r"axes.dtype has mixed_bfloat16, .* is infinite: use float32"):
        check_task(spec_with(axes__dtype=["float32", "mixed_bfloat16"]), manifest)
    check_task(spec_with(axes__dtype="float32"), manifest)


def test_it_learns(learners: Half, prepared: Path) -> None:
    learner = learners("mixed_float16")
    learner.start(TRIAL)
    rows, losses = open_data(Folder(str(prepared)), hash_of(prepared))[1].train, []
    for update in range(30):
        for one in read_share(TRIAL, rows, plan.positions_of(update, 17), 6).micro_batches:
            learner.add(one)
        losses.append(learner.update(global_batch=17).loss)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
