"""A language model: its loss is of next tokens, divided by their true number whatever the layout, and it learns."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf

from tests.conftest import VOCABULARY, hash_of, write_prepared
from tests.parity.test_layouts import error
from tests.support import bodies, processes
from trainer import (
    check,
    evaluate,
)
from trainer.data import share
from trainer.data.share import MicroBatch
from trainer.data.splits import open_data
from trainer.data.store import Folder
from trainer.errors import InputError
from trainer.model import model
from trainer.model.lstm import RightPaddedLSTM
from trainer.order import evaluation, plan
from trainer.order.world import World
from trainer.trial import Duration, ModelSpec, TrialSpec
from trainer.update import loss
from trainer.update.collective import Collective
from trainer.update.shape import Shape
from trainer.update.update import Learner

pytestmark = pytest.mark.tf
BATCHES = (1, 45, 48)
LSTM = ModelSpec(embedding_units=6, lstm_units=5)
TRIAL = TrialSpec(
    data_hash="tiny",
    task="language_model",
    model=LSTM,
    global_batch=48,
    learning_rate=0.1,
    optimizer="sgd",
    dtype="float64",
    seed=3,
    budget=Duration(unit="updates", amount=6),
    evaluate_every=Duration(unit="updates", amount=3),
)
TRIALS = {
    0: replace(TRIAL, model=replace(LSTM, layers=2, dropout=0.4)),
    1: replace(TRIAL, dtype="float32"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of 60 training rows of 1 to 12 tokens."""
    folder = tmp_path_factory.mktemp("sixty") / "data"
    write_prepared(folder, train=60)
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Any:
    return bodies.open_data(str(folder))


@pytest.fixture(scope="module")
def learner() -> Learner:
    return bodies.open_learner(World(), TRIAL)  # type: ignore[no-any-return]


def flat(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])


def keras_gradient(trial: TrialSpec, tokens: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss and gradient of plain masked Keras on one whole batch: the mean over its next tokens."""
    plain = model.build(
        trial.model, vocabulary_size=VOCABULARY, outputs=VOCABULARY, task=trial.task, dtype=trial.dtype, seed=trial.seed
    )
    rows, places = np.nonzero(tokens[:, 1:])
    with tf.GradientTape() as tape:
        logits = tf.gather_nd(plain(tokens), np.stack([rows, places], 1))
        mean = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tokens[rows, places + 1], logits))
    weights = [variable.value for variable in plain.trainable_variables]
    return float(mean), flat([tf.convert_to_tensor(part).numpy() for part in tape.gradient(mean, weights)])


def batch_of(trial: TrialSpec, data: Any, update: int = 1) -> tuple[np.ndarray, MicroBatch]:
    [whole] = share.read_share(trial, data.train, plan.positions_of(update, trial.global_batch), 1000).micro_batches
    return whole.tokens.numpy(), whole


@pytest.mark.parametrize("batch", BATCHES)
def test_the_gradient_is_plain_keras_mean_over_the_next_tokens_of_the_batch(
    data: Any, learner: Learner, batch: int
) -> None:
    trial = replace(TRIAL, global_batch=batch)
    learner.start(trial)
    tokens, whole = batch_of(trial, data)
    learner.add(whole)
    found_loss, found = learner.gradient(global_batch=batch)
    expected_loss, expected = keras_gradient(trial, tokens)
    assert found_loss == pytest.approx(expected_loss, rel=1e-12)
    assert error(flat(found), expected) <= 1e-12


def test_every_layout_gives_the_gradient_of_the_whole_batch(folder: Path, long: bool) -> None:
    def on(workers: int) -> list[Any]:
        # On two workers the shallow ones and on three the deep one; with --long all on both.
        deep = workers == 3
        trials = {number: trial for number, trial in TRIALS.items() if long or (trial.model.layers > 1) == deep}
        return processes.run(bodies.gradients, workers=workers, arguments=(str(folder), trials, BATCHES))

    # One worker first: what it compiles is there for the others.
    found = {1: [bodies.gradients(World(), str(folder), TRIALS, BATCHES)], 2: on(2), 3: on(3)}
    for workers, by_rank in found.items():
        # B = 1 on 2 and 3 workers has empty shares, and 45 uneven ones.
        for (trial, batch, micro_batch), value in by_rank[0].items():
            whole = found[1][0][trial, batch, 1000]
            allowed = 1e-12 if TRIALS[trial].dtype == "float64" else 1e-5
            assert error(value, whole) <= allowed, (workers, trial, batch, micro_batch)
            for other in by_rank[1:]:
                np.testing.assert_array_equal(other[trial, batch, micro_batch], value)


@pytest.mark.parametrize("batch", [45, 48])
@pytest.mark.parametrize("micro_batch", [5, 8])
def test_the_detector_sees_a_mean_of_means_and_a_division_by_rows(
    data: Any, learner: Learner, batch: int, micro_batch: int
) -> None:
    trial = replace(TRIAL, global_batch=batch)
    learner.start(trial)

    def gradient(micro_batches: list[MicroBatch]) -> np.ndarray:
        for one in micro_batches:
            learner.add(one)
        return flat(learner.gradient(global_batch=batch)[1])

    _, whole = batch_of(trial, data)
    expected = gradient([whole])
    parts = share.read_share(trial, data.train, plan.positions_of(1, batch), micro_batch).micro_batches
    means = [gradient([part]) for part in parts]
    rows = [len(part.labels) for part in parts]
    assert error(gradient(parts), expected) <= 1e-12
    assert error(np.mean(means, axis=0), expected) > 0.05
    assert error(np.average(means, axis=0, weights=rows), expected) > 0.05


def test_padding_and_the_first_token_are_no_targets() -> None:
    tokens = tf.constant([[5, 6, 7, 0], [8, 0, 0, 0], [9, 2, 0, 0]])
    logits = np.zeros((3, 4, 10))
    logits[0, 0, 6] = logits[2, 0, 3] = 20
    # What stands where nothing is to be predicted does not matter.
    logits[1] = logits[0, 2:] = logits[2, 1:] = np.inf
    found = loss.per_row("language_model", tokens, tf.constant(logits)).numpy()
    np.testing.assert_allclose(found, [np.log(10), 0, 20], atol=1e-7)
    assert loss.targets("language_model", tokens).numpy().tolist() == [2, 0, 1]
    assert loss.right("language_model", tokens, tf.constant(logits)).numpy().tolist() == [1, 0, 0]


def test_a_batch_without_a_target_has_a_gradient_of_zero(learner: Learner) -> None:
    learner.start(TRIAL)
    before = flat(learner.weights())
    alone = tf.constant([[7, 0, 0, 0, 0, 0, 0, 0]])
    learner.add(MicroBatch(tokens=alone, labels=alone, positions=tf.constant([0], tf.int64)))
    updated = learner.update(global_batch=1)
    assert (updated.loss, updated.gradient_norm, updated.targets, updated.finite) == (0, 0, 0, True)
    np.testing.assert_array_equal(flat(learner.weights()), before)


def test_more_targets_than_a_float32_counts_are_counted(learner: Learner) -> None:
    trial = replace(TRIAL, dtype="float32")
    [found] = processes.run(count_many, workers=2, arguments=(trial,))[:1]
    assert found == 2 * (2**25 + 1)


def count_many(world: World, trial: TrialSpec) -> float:
    many = bodies.open_learner(world, trial)
    many.start(trial)
    many._targets.assign(2**25 + 1)
    return many.update(global_batch=1).targets  # type: ignore[no-any-return]


def test_every_token_is_told_by_the_right_padded_lstm(learner: Learner) -> None:
    layers = [layer for layer in learner.model.layers if isinstance(layer, keras.layers.LSTM)]
    assert [type(layer) for layer in layers] == [RightPaddedLSTM]
    assert layers[0].return_sequences


def test_a_score_is_the_same_at_any_evaluation_batch_where_keras_own_is_not(
    data: Any, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner.start(TRIAL)
    rows = data.validation
    tokens = rows.tokens(np.arange(len(rows)))
    for _ in range(30):
        batch = tf.constant(tokens)
        learner.add(MicroBatch(tokens=batch, labels=batch, positions=tf.range(len(rows), dtype=tf.int64)))
        learner.update(global_batch=len(rows))
    plain = model.build(LSTM, vocabulary_size=VOCABULARY, outputs=VOCABULARY, task=TRIAL.task, dtype="float64", seed=0)
    plain.set_weights(learner.weights())
    targets = tokens[:, 1:]
    logits = np.asarray(plain(tokens))[:, :-1]
    likely = logits.argmax(axis=2)
    expected = -np.asarray(tf.nn.log_softmax(logits))[(*np.nonzero(targets), targets[targets > 0])].mean()
    plain.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    of_keras = []
    for batch in (1, 2, 7, len(rows)):
        monkeypatch.setattr(evaluation, "EVALUATION_ROWS", batch)
        found = evaluate.score(learner, rows)
        assert found.loss == pytest.approx(expected, rel=1e-6)
        assert found.accuracy == pytest.approx((likely == targets)[targets > 0].mean(), rel=1e-12)
        of_keras.append(plain.evaluate(tokens[:, :-1], targets, batch_size=batch, verbose=0))
    assert np.ptp(of_keras) > 1e-3
    assert max(abs(np.array(of_keras) - expected)) > 1e-3


def test_keras_own_accumulation_is_flagged(data: Any, learner: Learner) -> None:
    """Five rows in micro-batches of 4 and 1: Keras gives both the same weight, and the detector sees it."""
    trial = replace(TRIAL, global_batch=5, learning_rate=1.0)
    learner.start(trial)
    tokens, whole = batch_of(trial, data)
    before = flat(learner.weights())
    learner.add(whole)
    learner.update(global_batch=5)
    exact = before - flat(learner.weights())
    plain = model.build(LSTM, vocabulary_size=VOCABULARY, outputs=VOCABULARY, task=TRIAL.task, dtype="float64", seed=3)
    plain.compile(
        keras.optimizers.SGD(1.0, gradient_accumulation_steps=2),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    # Padding's targets are told to Keras as the mask of what it reads.
    plain.fit(tokens[:, :-1], tokens[:, 1:], sample_weight=tokens[:, 1:] > 0, batch_size=4, shuffle=False, verbose=0)
    assert error(before - flat(plain.get_weights()), exact) > 0.05
    parts = [MicroBatch(tokens=t, labels=t, positions=p) for t, p in ((whole.tokens[:4], whole.positions[:4]),)]
    parts.append(MicroBatch(tokens=whole.tokens[4:], labels=whole.tokens[4:], positions=whole.positions[4:]))
    learner.start(trial)
    for part in parts:
        learner.add(part)
    learner.update(global_batch=5)
    assert error(before - flat(learner.weights()), exact) <= 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_right_layout_is_proven(folder: Path, dtype: str) -> None:
    manifest, data = open_data(Folder(str(folder)), hash_of(folder))
    trial = replace(TRIAL, dtype=dtype)
    shape = Shape.of(trial, manifest)
    assert shape.outputs == VOCABULARY
    found = check.prove(trial, Learner(shape, Collective(World())), data, micro_batch=4)
    assert found.passed, found
    assert found.micro_batches > 0


def test_many_tokens_are_summed_as_exactly_as_few() -> None:
    """An untrained model gives every token the same part of every gradient, which a float32 sum rounds the same way."""
    random = np.random.default_rng(0)
    tokens = (random.zipf(1.3, [64, 60]) % 999 + 1).astype("int32")
    gradients = []
    for dtype, rows in (("float64", 64), ("float32", 64), ("float32", 5)):
        many = Shape(model=LSTM, vocabulary_size=1000, outputs=1000, task=TRIAL.task, optimizer="sgd", dtype=dtype)
        learner = Learner(many, Collective(World()))
        learner.start(replace(TRIAL, dtype=dtype))
        learner.restore([np.zeros_like(weight) for weight in learner.weights()])
        for start in range(0, 64, rows):
            part = tokens[start : start + rows]
            learner.add(MicroBatch(tokens=part, labels=part, positions=np.arange(start, start + len(part))))
        gradients.append(flat(learner.gradient(global_batch=64)[1]))
    exact, whole, in_parts = gradients
    assert np.linalg.norm(exact) > 0.1
    assert error(whole, exact) <= 1e-6
    assert error(in_parts, exact) <= 1e-6


def two_ways(vocabulary_size: int, outputs: int) -> keras.Model:
    """Reads backwards too."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True)(tokens)
    x = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))(x)
    return keras.Model(tokens, keras.layers.Dense(outputs)(x))


def one_answer(vocabulary_size: int, outputs: int) -> keras.Model:
    """Tells one thing of a row."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True)(tokens)
    return keras.Model(tokens, keras.layers.Dense(outputs)(keras.layers.LSTM(3)(x)))


def with_softmax(vocabulary_size: int, outputs: int) -> keras.Model:
    """Tells probabilities at every token."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True)(tokens)
    x = keras.layers.GRU(3, return_sequences=True)(x)
    return keras.Model(tokens, keras.layers.Dense(outputs, activation="softmax")(x))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModelSpec(bidirectional=True), "also reads backwards .*: set model.bidirectional: false"),
        (ModelSpec(factory=f"{__name__}:two_ways"), "also reads backwards .* only layers that look back"),
        (ModelSpec(factory=f"{__name__}:one_answer"), r"output shape \(None, 40\): .* to \[rows, tokens, 40\]"),
    ],
    ids=["built-in", "factory", "one answer"],
)
def test_a_model_that_will_not_do_is_one_clear_error(spec: ModelSpec, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        model.build(spec, vocabulary_size=40, outputs=40, task="language_model", dtype="float32", seed=0)
    assert "\n" not in str(caught.value)


def test_a_factorys_softmax_is_trained_by_its_logits(data: Any) -> None:
    trial = replace(TRIAL, model=ModelSpec(factory=f"{__name__}:with_softmax"))
    own = bodies.open_learner(World(), trial)
    own.start(trial)
    tokens, whole = batch_of(trial, data)
    own.add(whole)
    found, _ = own.gradient(global_batch=48)
    plain = own._plain(seed=3)
    targets = tokens[:, 1:]
    told = np.asarray(plain(tokens))[:, :-1][(*np.nonzero(targets), targets[targets > 0])]
    assert found == pytest.approx(-np.log(told).mean(), rel=1e-10)


def test_a_trial_of_one_row_at_a_time_goes_through_rows_of_one_token(folder: Path, tmp_path: Path) -> None:
    trial = replace(
        TRIAL,
        global_batch=1,
        learning_rate=0.05,
        budget=Duration(unit="epochs", amount=4),
        evaluate_every=Duration(unit="epochs", amount=1),
    )
    [(published, outcome)] = bodies.curves(World(), str(folder), trial, 8, 1, str(tmp_path))
    rows = bodies.open_data(str(folder)).train
    assert (rows.lengths(np.arange(60)) == 1).any()
    losses = [evaluation.training_loss for evaluation in published]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < np.log(VOCABULARY) + 0.1
    assert outcome.test_loss is not None
    assert outcome.test_accuracy is not None
