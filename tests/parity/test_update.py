"""One update: its gradient, its clipping, its optimiser, and a learner that starts over as if it were new."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf

from trainer.data.share import MicroBatch
from trainer.model import model, recurrence
from trainer.order.world import World
from trainer.trial import OPTIMIZERS, Duration, ModelSpec, TrialSpec
from trainer.update import adam
from trainer.update.collective import Collective
from trainer.update.shape import Shape
from trainer.update.update import Learner

pytestmark = pytest.mark.tf
VOCABULARY, OUTPUTS, ROWS = 12, 3, 13
BAG = ModelSpec(factory="tests.parity.test_update:bag")
LSTM = ModelSpec(embedding_units=3, lstm_units=2, dropout=0.3)
ONCE = Duration(unit="updates", amount=1)
TRIAL = TrialSpec(
    data_hash="",
    task="classification",
    model=BAG,
    global_batch=ROWS,
    learning_rate=0.05,
    optimizer="sgd",
    dtype="float64",
    seed=1,
    budget=ONCE,
    evaluate_every=ONCE,
)


def bag(vocabulary_size: int, outputs: int) -> keras.Model:
    """The mean of a row's embeddings through one dense layer: small, and quick to trace."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True)(tokens)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, keras.layers.Dense(outputs, activation="softmax" if outputs > 1 else None)(x))


def dropping(vocabulary_size: int, outputs: int) -> keras.Model:
    """The bag, with dropout before its dense layer."""
    plain = bag(vocabulary_size, outputs)
    *_, pooling, dense = plain.layers
    return keras.Model(plain.input, dense(keras.layers.Dropout(0.5)(pooling.output)))


def learner_of(trial: TrialSpec) -> Learner:
    shape = Shape(
        model=trial.model,
        vocabulary_size=VOCABULARY,
        outputs=OUTPUTS if trial.task == "classification" else 1,
        task=trial.task,
        optimizer=trial.optimizer,
        dtype=trial.dtype,
    )
    learner = Learner(shape, Collective(World()))
    learner.start(trial)
    return learner


@pytest.fixture(scope="module")
def bag_learner() -> Learner:
    """Traced once for all tests that only start it over."""
    return learner_of(TRIAL)


@pytest.fixture(scope="module")
def regression_learner() -> Learner:
    return learner_of(replace(TRIAL, task="regression", dtype="float32", optimizer="adam"))


def rows(count: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 1 to 7 tokens, padded to 8, and their classes."""
    random = np.random.default_rng(5)
    tokens = random.integers(1, VOCABULARY, (count, 8)).astype("int32")
    tokens *= np.arange(8) < random.integers(1, 8, (count, 1))
    return tokens, (np.arange(count) % OUTPUTS).astype("int32")


def add(learner: Learner, *, cuts: tuple[int, ...] = (2, 9), first: int = 0, labels: np.ndarray | None = None) -> None:
    """Add all rows, in micro-batches cut at `cuts`, at the positions from `first` on."""
    tokens, classes = rows()
    labels = classes if labels is None else labels
    for part in np.split(np.arange(ROWS), cuts):
        positions = tf.constant(first + part, tf.int64)
        learner.add(MicroBatch(tokens=tf.constant(tokens[part]), labels=tf.constant(labels[part]), positions=positions))


def train(learner: Learner, updates: int, *, global_batch: int = ROWS, cuts: tuple[int, ...] = (2, 9)) -> None:
    for update in range(updates):
        add(learner, cuts=cuts, first=update * ROWS)
        assert learner.update(global_batch=global_batch).finite


def flat(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays])


def state(learner: Learner) -> list[bytes]:
    """Weights and optimiser to the last bit."""
    return [array.tobytes() for array in (*learner.weights(), *learner.optimizer_state())]


def unflat(vector: np.ndarray, like: list[np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum([array.size for array in like])[:-1]
    return [part.reshape(array.shape) for part, array in zip(np.split(vector, ends), like, strict=True)]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_gradient_is_that_of_the_mean_loss_by_finite_differences(bidirectional: bool) -> None:
    spec = ModelSpec(embedding_units=2, lstm_units=2, bidirectional=bidirectional)
    learner = learner_of(replace(TRIAL, model=spec))
    add(learner)
    found_loss, found = learner.gradient(global_batch=ROWS)
    tokens, labels = rows()
    plain = model.build(
        spec, vocabulary_size=VOCABULARY, outputs=OUTPUTS, task="classification", dtype="float64", seed=1
    )
    probabilities = tf.function(lambda: plain(tokens))

    def loss(vector: np.ndarray) -> float:
        plain.set_weights(unflat(vector, weights))
        return float(-np.log(probabilities().numpy()[np.arange(ROWS), labels]).mean())

    weights = plain.get_weights()
    at = flat(weights)
    assert found_loss == pytest.approx(loss(at), rel=1e-12)
    step = 1e-5
    expected = np.empty_like(at)
    for i in range(at.size):
        nudge = np.zeros_like(at)
        nudge[i] = step
        expected[i] = (loss(at + nudge) - loss(at - nudge)) / (2 * step)
    assert np.linalg.norm(flat(found) - expected) <= 1e-8 * np.linalg.norm(expected)


def test_the_gradient_of_a_squared_error_is_the_one_on_paper() -> None:
    learner = learner_of(replace(TRIAL, task="regression"))
    tokens, _ = rows()
    labels = np.linspace(-1, 1, ROWS, dtype="float32")
    embedding, kernel, bias = learner.weights()
    means = np.array([embedding[row[row != 0]].mean(axis=0) for row in tokens])
    errors = means @ kernel[:, 0] + bias[0] - labels
    expected = np.zeros_like(embedding)
    for row, wrong in zip(tokens, errors, strict=True):
        real = row[row != 0]
        np.add.at(expected, real, 2 * wrong * kernel[:, 0] / len(real) / ROWS)
    add(learner, labels=labels)
    loss, found = learner.gradient(global_batch=ROWS)
    assert loss == pytest.approx(np.mean(errors**2), rel=1e-12)
    np.testing.assert_allclose(found[0], expected, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(found[1][:, 0], 2 * errors @ means / ROWS, rtol=1e-10)
    np.testing.assert_allclose(found[2], [2 * errors.mean()], rtol=1e-10)


def test_sums_are_cleared_after_a_gradient_and_after_an_update() -> None:
    learner = learner_of(replace(TRIAL, learning_rate=0.0))
    found = []
    for _ in range(2):
        add(learner)
        found.append(flat(learner.gradient(global_batch=ROWS)[1]))
        add(learner)
        learner.update(global_batch=ROWS)
    np.testing.assert_array_equal(found[0], found[1])
    add(learner)
    learner.start(TRIAL)
    add(learner)
    np.testing.assert_array_equal(flat(learner.gradient(global_batch=ROWS)[1]), found[0])


def test_an_update_tells_loss_norm_and_the_extras_it_was_given() -> None:
    learner = learner_of(TRIAL)
    add(learner)
    loss, gradient = learner.gradient(global_batch=ROWS)
    add(learner)
    updated = learner.update(global_batch=ROWS, extras=(1.0, 2.5, 0.0))
    assert updated.loss == loss
    assert updated.gradient_norm == pytest.approx(np.linalg.norm(flat(gradient)), rel=1e-12)
    assert updated.extras.tolist() == [1.0, 2.5, 0.0]
    assert updated.finite


@pytest.mark.parametrize("cuts", [(), (1, 2, 3, 4, 11)])
@pytest.mark.parametrize("share", [0.01, 0.5, 2.0])
def test_clipping_acts_once_on_the_whole_gradient(bag_learner: Learner, cuts: tuple[int, ...], share: float) -> None:
    learner = bag_learner
    learner.start(replace(TRIAL, learning_rate=1.0))
    before = flat(learner.weights())
    add(learner)
    gradient = flat(learner.gradient(global_batch=ROWS)[1])
    norm = np.linalg.norm(gradient)
    learner.start(replace(TRIAL, learning_rate=1.0, clip_norm=share * norm))
    add(learner, cuts=cuts)
    assert learner.update(global_batch=ROWS).gradient_norm == pytest.approx(norm, rel=1e-12)
    change = before - flat(learner.weights())
    assert np.linalg.norm(change) == pytest.approx(min(share, 1) * norm, rel=1e-10)
    np.testing.assert_allclose(change, gradient * min(share, 1), atol=1e-12)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_gradient_of_zero_changes_nothing(bag_learner: Learner, clip_norm: float | None) -> None:
    bag_learner.start(replace(TRIAL, clip_norm=clip_norm))
    before = bag_learner.weights()
    # A worker whose share is empty adds nothing.
    updated = bag_learner.update(global_batch=ROWS)
    assert updated.finite
    assert updated.gradient_norm == 0
    np.testing.assert_array_equal(flat(bag_learner.weights()), flat(before))


KERAS = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "nesterov": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
    "lion": keras.optimizers.Lion,
    # None of the bag's weights is one that Muon turns (`tests/parity/test_muon.py`).
    "muon": lambda rate: keras.optimizers.Muon(rate, exclude_layers=["."]),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimisers_first_updates_are_plain_keras_on_the_same_gradient(optimizer: str) -> None:
    learner = learner_of(replace(TRIAL, optimizer=optimizer))
    variables = [keras.Variable(array, dtype="float64") for array in learner.weights()]
    plain = KERAS[optimizer](TRIAL.learning_rate)
    for update in range(3):
        add(learner, first=update * ROWS)
        gradient = [tf.constant(array) for array in learner.gradient(global_batch=ROWS)[1]]
        add(learner, first=update * ROWS)
        learner.update(global_batch=ROWS)
        plain.apply(gradient, variables)
        expected = flat([variable.numpy() for variable in variables])
        np.testing.assert_allclose(flat(learner.weights()), expected, rtol=1e-12, atol=1e-14)
    assert int(learner.optimizer.iterations) == 3


def traced_apply(optimizer: Any, variables: list[Any]) -> Any:
    return tf.function(lambda gradient: optimizer.apply(gradient, variables))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("optimizer", "plain_of"), [("adam", keras.optimizers.Adam), ("adamw", keras.optimizers.AdamW)]
)
def test_beta2_is_a_value_and_gives_keras_own_digits(optimizer: str, plain_of: Any, dtype: str) -> None:
    trial = replace(TRIAL, optimizer=optimizer, dtype=dtype, learning_rate=0.01)
    learner = learner_of(trial)
    train(learner, 1)
    counts = traces(learner)
    ended = []
    for beta2 in (0.95, None, 0.9999, 0.5, None):
        learner.start(replace(trial, beta2=beta2))
        variables = [keras.Variable(array, dtype=dtype) for array in learner.weights()]
        plain = plain_of(trial.learning_rate) if beta2 is None else plain_of(trial.learning_rate, beta_2=beta2)
        plain.build(variables)
        apply = traced_apply(plain, variables)
        for update in range(20):
            add(learner, first=update * ROWS)
            gradient = [tf.constant(array) for array in learner.gradient(global_batch=ROWS)[1]]
            add(learner, first=update * ROWS)
            learner.update(global_batch=ROWS)
            apply(gradient)
            assert learner.weights()[0].tobytes() == variables[0].numpy().tobytes(), (beta2, update)
            assert flat(learner.weights()).tobytes() == flat([one.numpy() for one in variables]).tobytes()
        ended.append(flat(learner.weights()))
    np.testing.assert_array_equal(ended[1], ended[4])
    assert all(np.abs(ended[0] - other).max() > 1e-4 for other in ended[1:])
    assert traces(learner) == counts


@pytest.mark.parametrize("cuts", [(), (1, 2, 3, 4, 11)])
def test_weight_decay_acts_once_an_update(cuts: tuple[int, ...]) -> None:
    trial = replace(TRIAL, optimizer="adamw", learning_rate=0.5)
    learner = learner_of(trial)
    before = flat(learner.weights())
    learner.update(global_batch=ROWS)
    kept = 1 - trial.learning_rate * learner.optimizer.weight_decay
    assert kept < 1
    # Without a gradient only the decay is left.
    np.testing.assert_allclose(flat(learner.weights()), before * kept, rtol=1e-9)
    learner.start(trial)
    add(learner, cuts=cuts)
    learner.update(global_batch=ROWS)
    decayed = flat(learner.weights())
    plain = learner_of(replace(trial, optimizer="adam"))
    add(plain, cuts=cuts)
    plain.update(global_batch=ROWS)
    np.testing.assert_allclose(decayed, flat(plain.weights()) - before * (1 - kept), rtol=1e-9)


def test_a_used_learner_starts_over_as_a_new_one_to_the_last_bit_without_tracing_again() -> None:
    trial = replace(TRIAL, model=LSTM, optimizer="adam", dtype="float32")
    # The first trial comes last: nothing of the one before it, its clipping say, may stay.
    others = [replace(trial, seed=2, learning_rate=0.5, global_batch=40, clip_norm=0.01), trial]
    used = learner_of(trial)
    tokens, labels = rows()
    train(used, 2, cuts=(5,))
    used.evaluate(tokens, labels)
    counts = traces(used)
    assert all(count == 1 for count in counts)
    after = []
    for other in others:
        new = learner_of(other)
        used.start(other)
        assert state(used) == state(new)
        for learner in (used, new):
            train(learner, 3, global_batch=other.global_batch)
        assert state(used) == state(new)
        assert used.evaluate(tokens, labels)[0] == new.evaluate(tokens, labels)[0]
        after.append(state(used))
    assert after[0] != after[1]
    compiled = compiled_traces()
    for cuts in ((), (1, 2, 3), (6,)):
        used.start(trial)
        train(used, 2, cuts=cuts)
    used.evaluate(np.tile(tokens, (3, 2)), np.tile(labels, 3))
    assert traces(used) == counts
    assert compiled_traces() == compiled


def test_the_seed_of_the_trial_is_the_seed_of_its_dropout() -> None:
    trial = replace(TRIAL, model=ModelSpec(factory="tests.parity.test_update:dropping"))
    learner = learner_of(trial)
    weights, found = learner.weights(), []
    for seed in (1, 2, 1):
        learner.start(replace(trial, seed=seed))
        learner.restore(weights)
        add(learner)
        found.append(flat(learner.gradient(global_batch=ROWS)[1]))
    np.testing.assert_array_equal(found[0], found[2])
    assert np.linalg.norm(found[0] - found[1]) > 0.1 * np.linalg.norm(found[0])


def traces(learner: Learner) -> list[int]:
    """How often each function was traced."""
    return [one.experimental_get_tracing_count() for one in (learner._add, learner._update, learner._evaluate)]


def compiled_traces() -> list[int]:
    """How often each function that XLA compiles was traced, by all learners of this process."""
    functions = (recurrence._forward, recurrence._forward_states, recurrence._backward, adam._change)
    return [one.experimental_get_tracing_count() for one in functions]


def test_a_restored_learner_goes_on_as_the_one_that_was_saved() -> None:
    trial = replace(TRIAL, optimizer="nesterov")
    learner = learner_of(trial)
    train(learner, 2)
    weights, optimizer_state = learner.weights(), learner.optimizer_state()
    train(learner, 2)
    expected = state(learner)
    learner.start(replace(trial, seed=9))
    learner.restore(weights, optimizer_state)
    train(learner, 2)
    assert state(learner) == expected
    with pytest.raises(ValueError, match="zip"):
        learner.restore(weights, optimizer_state[:-1])


@pytest.mark.parametrize(("label", "loss_is_finite"), [(1e30, False), (np.nan, False), (np.inf, False), (1.2e19, True)])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_loss_or_gradient_that_is_not_finite_changes_nothing(
    regression_learner: Learner, label: float, loss_is_finite: bool, clip_norm: float | None
) -> None:
    learner = regression_learner
    learner.start(replace(TRIAL, task="regression", dtype="float32", optimizer="adam", clip_norm=clip_norm))
    labels = np.linspace(-1, 1, ROWS).astype("float32")
    add(learner, labels=labels)
    assert learner.update(global_batch=ROWS).finite
    before = state(learner)
    bad = labels.copy()
    bad[7] = label
    add(learner, labels=bad)
    updated = learner.update(global_batch=1)
    assert not updated.finite
    assert np.isfinite(updated.loss) == loss_is_finite
    assert not np.isfinite(updated.gradient_norm)
    assert state(learner) == before
    add(learner, labels=labels)
    assert learner.update(global_batch=ROWS).finite
    assert state(learner) != before
