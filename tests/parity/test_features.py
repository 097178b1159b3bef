"""Numbers instead of text: the same contracts as for text, and a vector of zeros is data."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from cluster.prepare import prepare
from tests.parity.test_layouts import error
from tests.support import bodies, processes
from tests.support.trials import TINY
from trainer.data.inputs import SEQUENCES, VECTORS, Inputs
from trainer.errors import InputError
from trainer.model import model
from trainer.order.world import World
from trainer.trial import ModelSpec, TrialSpec

pytestmark = pytest.mark.tf
WIDTH = 3
DENSE = ModelSpec(factory="tests.parity.test_features:dense")
MASKED = ModelSpec(factory="tests.parity.test_features:masked")
# Of the same number of units: XLA compiles a loop over vectors once for both.
LSTM = ModelSpec(lstm_units=5)
DEEP = ModelSpec(lstm_units=5, layers=2, bidirectional=True, dropout=0.3)
OF = {VECTORS: (DENSE,), SEQUENCES: (LSTM, DEEP, MASKED)}


def dense(*, features_width: int, outputs: int) -> keras.Model:
    layers = keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.3), keras.layers.Dense(outputs)
    return keras.Sequential([keras.Input((features_width,)), *layers])


def masked(*, features_width: int, outputs: int) -> keras.Model:
    layers = keras.layers.Masking(float(np.finfo("float32").min)), keras.layers.GRU(4), keras.layers.Dense(outputs)
    return keras.Sequential([keras.Input((None, features_width)), *layers])


def masked_by_zeros(*, features_width: int, outputs: int) -> keras.Model:
    layers = keras.layers.Masking(), keras.layers.LSTM(4), keras.layers.Dense(outputs)
    return keras.Sequential([keras.Input((None, features_width)), *layers])


def of_text(*, features_width: int, outputs: int) -> keras.Model:
    layers = keras.layers.Embedding(9, 4, mask_zero=True), keras.layers.LSTM(4), keras.layers.Dense(outputs)
    return keras.Sequential([keras.Input((None,)), *layers])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A prepared data set of each kind; a third of the sequences' vectors are zeros, some of them the last."""
    draw, folder = np.random.default_rng(0), tmp_path_factory.mktemp("features")
    for kind in OF:
        rows = []
        for index in range(90):
            shape = (WIDTH,) if kind == VECTORS else (int(draw.integers(1, 12)), WIDTH)
            numbers = draw.normal(index % 3, 1, shape)
            if kind == SEQUENCES:
                numbers *= draw.random((len(numbers), 1)) < 0.67
            rows.append({"x": numbers.tolist(), "y": "abc"[index % 3]})
        (folder / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        prepare([str(folder / f"{kind}.jsonl")], str(folder / kind), features="x", label="y")
    return {kind: folder / kind for kind in OF}


@pytest.mark.parametrize("kind", OF)
def test_every_layout_gives_the_gradient_of_the_whole_batch(folders: dict[str, Path], kind: str, long: bool) -> None:
    tolerances = {"float64": 1e-12, "float32": 1e-5}
    trials = dict(enumerate(replace(TINY, model=one, dtype=dtype) for dtype in tolerances for one in OF[kind]))
    # In float32, and on two workers, the last one; with --long all.
    last = {number: trial for number, trial in trials.items() if long or trial.model is OF[kind][-1]}
    trials = {number: trial for number, trial in trials.items() if trial.dtype == "float64"} | last
    found = {
        1: bodies.gradients(World(), str(folders[kind]), trials),
        2: processes.run(bodies.gradients, workers=2, arguments=(str(folders[kind]), last))[0],
    }
    for workers, by_key in found.items():
        for (trial, batch, micro_batch), value in by_key.items():
            whole = found[1][trial, batch, 1000]
            assert np.linalg.norm(whole) > 0.01
            assert error(value, whole) <= tolerances[trials[trial].dtype], (workers, trial, batch, micro_batch)


@pytest.mark.parametrize("kind", OF)
def test_a_trial_learns_and_repeats_to_the_last_digit(folders: dict[str, Path], tmp_path: Path, kind: str) -> None:
    trial = replace(TINY, model=OF[kind][0], learning_rate=0.03)
    trial = replace(trial, budget=replace(trial.budget, amount=60), evaluate_every=replace(trial.budget, amount=20))
    runs = curves(World(), str(folders[kind]), trial, str(tmp_path))
    assert runs[0] == runs[1]
    assert runs[0][-1] < 0.75 * np.log(3)


def curves(world: Any, folder: str, trial: TrialSpec, checkpoints: str) -> list[list[float]]:
    """The validation losses of a trial, trained twice."""
    from trainer.data.manifest import read
    from trainer.data.store import Folder

    inputs = read(Folder(folder)).inputs
    learner = bodies.open_learner(world, trial, inputs)
    return [
        [one.validation_loss for one in bodies.trained(learner, folder, trial, f"{checkpoints}/{time}")[0]]
        for time in range(2)
    ]


@pytest.mark.parametrize("spec", [LSTM, DEEP], ids=["one", "deep"])
def test_padding_changes_nothing_and_zeros_are_data(spec: ModelSpec) -> None:
    inputs = Inputs(SEQUENCES, WIDTH)
    plain = model.build(
        spec, vocabulary_size=0, outputs=3, task="classification", dtype="float64", seed=1, inputs=inputs
    )
    twin = model.training_twin(plain)
    draw = np.random.default_rng(2)
    rows = [draw.normal(size=(length, WIDTH)).astype("float32") for length in (1, 4, 7, 7)]
    rows[2][-2:], rows[3][:] = 0, 0
    batch = inputs.empty(len(rows), 16)
    for place, row in zip(batch, rows, strict=True):
        place[: len(row)] = row
    # Alone and without padding nothing is masked.
    alone = np.concatenate([np.asarray(plain(row[None], training=False)) for row in rows])
    np.testing.assert_allclose(np.asarray(plain(batch, training=False)), alone, rtol=1e-12)
    logits = twin(batch, training=False)
    np.testing.assert_allclose(np.asarray(keras.ops.softmax(logits)), alone, rtol=1e-9)
    shorter = np.asarray(plain(rows[2][None, :-2], training=False))
    assert np.abs(shorter - alone[2]).max() > 1e-4


def built(factory: str | None, kind: str) -> keras.Model:
    spec = ModelSpec(factory=factory and f"tests.parity.test_features:{factory}")
    inputs = Inputs(kind, WIDTH)
    return model.build(
        spec, vocabulary_size=0, outputs=3, task="classification", dtype="float32", seed=1, inputs=inputs
    )


@pytest.mark.parametrize(
    ("factory", "kind", "pattern"),
    [
        (None, VECTORS, "the built-in LSTM reads sequences, but the data have one vector per row: give a model"),
        ("dense", SEQUENCES, r"from sequences of vectors \[rows, vectors, 3\]"),
        ("masked", VECTORS, r"from vectors \[rows, 3\] to \[rows, 3\]"),
        ("masked_by_zeros", SEQUENCES, r"changes with the padding .*Masking\(float\(numpy.finfo\('float32'\).min\)\)"),
        ("of_text", SEQUENCES, r"rank \[2\]"),
        ("curves", VECTORS, r"is called as build\(features_width=..., outputs=...\)"),
    ],
)
def test_a_model_that_does_not_fit_the_numbers_is_refused(factory: str | None, kind: str, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern):
        built(factory, kind)
