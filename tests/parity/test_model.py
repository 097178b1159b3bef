"""The model of a trial: its initial weights, the errors of a user's factory, its twin, and keyed dropout."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf

from trainer.data.share import MicroBatch
from trainer.errors import InputError
from trainer.model import model
from trainer.model.dropout import KeyedDropout, row_keys
from trainer.order.world import World
from trainer.trial import Duration, ModelSpec, TrialSpec
from trainer.update.collective import Collective
from trainer.update.shape import Shape
from trainer.update.update import Learner

pytestmark = pytest.mark.tf
layers = keras.layers
HERE = "tests.parity.test_model"
DIMENSIONS: dict[str, Any] = {"vocabulary_size": 30, "outputs": 3, "task": "classification", "dtype": "float32"}
VARIANTS = [
    ModelSpec(embedding_units=6, lstm_units=5, dropout=0.2),
    ModelSpec(embedding_units=4, lstm_units=3, layers=2, bidirectional=True),
]


def built(spec: ModelSpec, seed: int = 0, **changes: Any) -> keras.Model:
    return model.build(spec, seed=seed, **{**DIMENSIONS, **changes})


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("spec", VARIANTS, ids=str)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(spec: ModelSpec) -> None:
    first = built(spec, 1).get_weights()
    np.random.default_rng(0).normal(size=3)
    keras.random.normal((3,))
    assert same(built(spec, 1).get_weights(), first)
    for one, other in zip(first, built(spec, 2).get_weights(), strict=True):
        # Biases start at zeros and ones whatever the seed.
        assert one.ndim == 1 or not np.array_equal(one, other)


def test_a_factorys_model_starts_from_the_seed_too() -> None:
    spec = ModelSpec(factory=f"{HERE}:good")
    assert same(built(spec, 1).get_weights(), built(spec, 1).get_weights())
    assert not same(built(spec, 1).get_weights(), built(spec, 2).get_weights())


def drawn(weights: Callable[[], Any]) -> Any:
    """A factory whose embedding begins with what `weights` draws."""

    def build(vocabulary_size: int, outputs: int) -> keras.Model:
        own = good(vocabulary_size, outputs)
        own.layers[1].set_weights([weights()])
        return own

    return build


drawn_by_numpy = drawn(lambda: np.random.normal(size=(30, 4)))
drawn_by_tensorflow = drawn(lambda: tf.random.normal((30, 4)))
drawn_with_a_seed_of_its_own = drawn(lambda: tf.random.normal((30, 4), seed=5))
drawn_by_keras = drawn(lambda: keras.random.normal((30, 4)))


@pytest.mark.parametrize("by", ["numpy", "tensorflow", "keras"])
def test_whatever_a_factory_draws_from_begins_at_the_seed(by: str) -> None:
    spec = ModelSpec(factory=f"{HERE}:drawn_by_{by}")
    found = [built(spec, seed).get_weights() for seed in (1, 1, 2, 1)]
    assert same(found[0], found[1])
    assert same(found[0], found[3])
    assert not np.array_equal(found[0][0], found[2][0])
    keras.utils.set_random_seed(1)
    expected = globals()[f"drawn_by_{by}"](30, 3).get_weights()
    assert same(found[0], expected)


def test_a_factorys_operation_with_a_seed_of_its_own_begins_anew_too() -> None:
    spec = ModelSpec(factory=f"{HERE}:drawn_with_a_seed_of_its_own")
    found = [built(spec, 1).get_weights() for _ in range(3)]
    assert same(found[0], found[1])
    assert same(found[0], found[2])


@pytest.mark.parametrize("spec", [*VARIANTS, ModelSpec(factory=f"{HERE}:good")], ids=str)
def test_building_leaves_tensorflows_functions_instantiated(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    built(spec)
    monkeypatch.setattr(tf.random, "set_seed", lambda _: pytest.fail("empties the cache of kernels"))
    assert same(built(spec, 1).get_weights(), built(spec, 1).get_weights())


@pytest.mark.parametrize("spec", [*VARIANTS, ModelSpec(factory=f"{HERE}:good")], ids=str)
def test_variables_have_one_name_for_tensorflow_and_their_own_for_keras(spec: ModelSpec) -> None:
    own = built(spec)
    assert {variable.value.name for variable in own.weights} == {"weight:0"}
    assert len({variable.path for variable in own.weights}) == len(own.weights)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_the_models_and_nobody_elses(dtype: str) -> None:
    assert {array.dtype.name for array in built(VARIANTS[0], dtype=dtype).get_weights()} == {dtype}
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(("task", "outputs"), [("classification", 3), ("regression", 1)])
def test_the_plain_model_gives_probabilities_or_one_number(task: str, outputs: int) -> None:
    plain = built(VARIANTS[0], task=task, outputs=outputs)
    found = np.asarray(plain(np.array([[2, 3, 0], [4, 5, 6]])))
    assert found.shape == (2, outputs)
    sums = found.sum(axis=1)
    assert np.allclose(sums, 1) == (task == "classification")
    twin = model.training_twin(plain)
    logits = np.asarray(twin(np.array([[2, 3, 0], [4, 5, 6]])))
    expected = np.log(found) if task == "classification" else found
    shift = logits - expected
    # Logits are the probabilities' logarithms up to one number a row.
    np.testing.assert_allclose(shift, shift[:, :1] * np.ones(outputs), atol=1e-6)
    assert task == "classification" or np.allclose(shift, 0, atol=1e-6)


def of(*make: Callable[[int, int], Any], shape: tuple[int | None, ...] = (None,), mask: bool = True) -> Any:
    """A factory: token ids, an embedding, and the layers that `make` makes of (vocabulary size, outputs)."""

    def build(vocabulary_size: int, outputs: int) -> keras.Model:
        tokens = keras.Input(shape, dtype="int32")
        x = layers.Embedding(vocabulary_size, 4, mask_zero=mask)(tokens)
        for one in make:
            x = one(vocabulary_size, outputs)(x)
        return keras.Model(tokens, x)

    return build


def lstm(*_: int) -> Any:
    return layers.LSTM(3)


def softmax(_: int, outputs: int) -> Any:
    return layers.Dense(outputs, activation="softmax")


good = of(lambda *_: layers.Dropout(0.4), lstm, lambda *_: layers.Dropout(0.2), softmax)
softmax_layer = of(lstm, lambda _, outputs: layers.Dense(outputs), lambda *_: layers.Softmax())
softmax_activation = of(lstm, lambda _, outputs: layers.Dense(outputs), lambda *_: layers.Activation("softmax"))
gru = of(lambda *_: layers.GRU(3), softmax)
heeded = of(
    lambda *_: layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
    lambda *_: layers.GlobalAveragePooling1D(),
    softmax,
)


def sequential(vocabulary_size: int, outputs: int) -> keras.Model:
    stack = [layers.Embedding(vocabulary_size, 4, mask_zero=True), layers.LSTM(3), softmax(0, outputs)]
    return keras.Sequential([keras.Input((None,), dtype="int32"), *stack])


normalized = of(lstm, lambda *_: layers.BatchNormalization(), softmax)
dropping_lstm = of(lambda *_: layers.LSTM(3, dropout=0.1), softmax)
dropping_states = of(lambda *_: layers.Bidirectional(layers.LSTM(3, recurrent_dropout=0.1)), softmax)
dropping_gru = of(lambda *_: layers.GRU(3, dropout=0.1), softmax)
noisy = of(lambda *_: layers.GaussianNoise(0.1), lstm, softmax)
spatial = of(lambda *_: layers.SpatialDropout1D(0.1), lstm, softmax)
nested_dropout = of(lstm, lambda *_: keras.Sequential([keras.Input((3,)), layers.Dropout(0.5)]), softmax)
regular_lstm = of(lambda *_: layers.LSTM(3, recurrent_regularizer="l2"), softmax)
regular_head = of(
    lstm,
    lambda _, outputs: layers.Dense(outputs, activation="softmax", activity_regularizer=keras.regularizers.L2(0.1)),
)
stateful = of(lambda *_: layers.LSTM(3, stateful=True), softmax)
other_shape = of(lstm, lambda _, outputs: layers.Dense(outputs + 1, activation="softmax"))
sequence = of(lambda *_: layers.LSTM(3, return_sequences=True), softmax)
bare_logits = of(lstm, lambda _, outputs: layers.Dense(outputs))
sigmoid = of(lstm, lambda _, outputs: layers.Dense(outputs, activation="sigmoid"))
hidden_softmax = of(lstm, softmax, lambda *_: layers.Dropout(0.1))
fixed_length = of(lambda *_: layers.Flatten(), softmax, shape=(20,))
unmasked_lstm = of(lstm, softmax, mask=False)
unmasked_mean = of(lambda *_: layers.GlobalAveragePooling1D(), softmax, mask=False)
unmasked_window = of(
    lambda *_: layers.Conv1D(3, 2, padding="same"), lambda *_: layers.GlobalMaxPooling1D(), softmax, mask=False
)
not_a_function = 3


def operation_after_softmax(vocabulary_size: int, outputs: int) -> keras.Model:
    inner = good(vocabulary_size, outputs)
    return keras.Model(inner.input, keras.ops.square(inner.output))


@keras.saving.register_keras_serializable(package="tests")
class AcrossRows(layers.Layer):
    """Couples the rows of a batch, as no layer may."""

    def call(self, inputs: Any) -> Any:
        return inputs - keras.ops.mean(inputs, axis=0, keepdims=True) * 0.5


across_rows = of(lstm, lambda *_: AcrossRows(), softmax)


def numbers(vocabulary_size: int, outputs: int) -> keras.Model:
    features = keras.Input((None, 8))
    return keras.Model(features, softmax(0, outputs)(layers.LSTM(3)(features)))


def two_inputs(vocabulary_size: int, outputs: int) -> keras.Model:
    one, other = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    embedding = layers.Embedding(vocabulary_size, 4, mask_zero=True)
    both = layers.LSTM(3)(embedding(one)) + layers.LSTM(3)(embedding(other))
    return keras.Model([one, other], softmax(0, outputs)(both))


def two_outputs(vocabulary_size: int, outputs: int) -> keras.Model:
    inner = good(vocabulary_size, outputs)
    return keras.Model(inner.input, [inner.output, inner.output])


def unbuilt(vocabulary_size: int, outputs: int) -> keras.Model:
    return keras.Sequential([layers.Embedding(vocabulary_size, 4), layers.LSTM(3), softmax(0, outputs)])


def raises(vocabulary_size: int, outputs: int) -> keras.Model:
    raise RuntimeError("the factory is closed")


def returns_nothing(vocabulary_size: int, outputs: int) -> None:
    pass


def takes_nothing() -> None:
    pass


class Subclassed(keras.Model):
    def call(self, inputs: Any) -> Any:
        return inputs


def subclassed(vocabulary_size: int, outputs: int) -> keras.Model:
    return Subclassed()


class Halved(keras.layers.Layer):
    """Takes no keyword arguments."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def call(self, inputs: Any) -> Any:
        return inputs / self.by


class Lookup(keras.layers.Layer):
    """Holds a matrix that Keras cannot write into a configuration."""

    def __init__(self, matrix: np.ndarray, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.matrix = keras.ops.convert_to_tensor(matrix)

    def call(self, inputs: Any) -> Any:
        return keras.ops.matmul(inputs, self.matrix)


def halved(vocabulary_size: int, outputs: int) -> keras.Model:
    return with_own(Halved(2.0), vocabulary_size, outputs)


def looked_up(vocabulary_size: int, outputs: int) -> keras.Model:
    return with_own(Lookup(np.eye(4, dtype="float32")), vocabulary_size, outputs)


def scaled(vocabulary_size: int, outputs: int) -> keras.Model:
    return with_own(layers.Lambda(lambda x: x * 0.5), vocabulary_size, outputs)


def with_own(own: keras.layers.Layer, vocabulary_size: int, outputs: int) -> keras.Model:
    tokens = keras.Input((None,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(vocabulary_size, 4, mask_zero=True)(tokens))
    return keras.Model(tokens, softmax(0, outputs)(own(x)))


PARTS = "from token ids [rows, tokens] to [rows, 3]"
ERRORS = {
    "no_such_module:build": ["cannot be imported", "No module named 'no_such_module'", "module:function"],
    f"{HERE}:no_such_function": ["cannot be imported", "no_such_function", "module:function"],
    HERE: ["cannot be imported", "module:function"],
    ".relative:build": ["cannot be imported", "module:function"],
    f"{HERE}:not_a_function": ["is a int", "must be a function"],
    f"{HERE}:raises": ["failed (RuntimeError: the factory is closed)", "build(vocabulary_size=..., outputs=...)"],
    f"{HERE}:takes_nothing": ["failed (TypeError", "build(vocabulary_size=..., outputs=...)"],
    f"{HERE}:returns_nothing": ["returned a NoneType", PARTS],
    f"{HERE}:other_shape": ["output shape (None, 4)", PARTS],
    f"{HERE}:sequence": ["output shape (None, None, 3)", PARTS],
    f"{HERE}:two_outputs": ["output shape", PARTS],
    f"{HERE}:two_inputs": ["2 input(s)", PARTS],
    f"{HERE}:numbers": ["rank [3]", PARTS],
    f"{HERE}:unbuilt": ["returned a Sequential of output shape ()", PARTS],
    f"{HERE}:subclassed": ["returned a Subclassed", "functional or sequential", PARTS],
    f"{HERE}:stateful": ["stateful"],
    f"{HERE}:regular_lstm": ["recurrent_regularizer", "remove it"],
    f"{HERE}:regular_head": ["activity_regularizer", "remove it"],
    f"{HERE}:sigmoid": ["'dense", "neither a softmax", "keras.layers.Dense(3, activation='softmax')"],
    f"{HERE}:hidden_softmax": ["'dropout", "neither a softmax", "keras.layers.Dense(3, activation='softmax')"],
    f"{HERE}:operation_after_softmax": ["neither a softmax", "keras.layers.Dense(3, activation='softmax')"],
    f"{HERE}:normalized": ["'batch_normalization", "LayerNormalization"],
    f"{HERE}:dropping_lstm": ["'lstm_cell", "draws random numbers", "keras.layers.Dropout"],
    f"{HERE}:dropping_states": ["'lstm_cell", "draws random numbers", "keras.layers.Dropout"],
    f"{HERE}:dropping_gru": ["'gru_cell", "draws random numbers", "keras.layers.Dropout"],
    f"{HERE}:noisy": ["'gaussian_noise", "draws random numbers", "keras.layers.Dropout"],
    f"{HERE}:spatial": ["'spatial_dropout1d", "draws random numbers", "keras.layers.Dropout"],
    f"{HERE}:nested_dropout": ["'dropout", "draws random numbers", "keras.layers.Dropout"],
    f"{HERE}:fixed_length": ["any number of tokens", "keras.Input((None,), dtype='int32')"],
    f"{HERE}:unmasked_lstm": ["changes with the padding", "mask_zero=True"],
    f"{HERE}:unmasked_mean": ["changes with the padding", "mask_zero=True"],
    f"{HERE}:unmasked_window": ["changes with the padding", "mask_zero=True"],
    f"{HERE}:across_rows": ["the rows next to it"],
    f"{HERE}:halved": ["layer 'halved", "(Halved) cannot be made again", "**kwargs"],
    f"{HERE}:looked_up": ["layer 'lookup", "(Lookup) cannot be made again", "get_config"],
    f"{HERE}:scaled": ["(Lambda) cannot be made again", "a layer of your own"],
}


@pytest.mark.parametrize("factory", ERRORS, ids=lambda factory: factory.removeprefix(f"{HERE}:"))
def test_a_factory_that_will_not_do_is_one_clear_error(factory: str) -> None:
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            model.training_twin(built(ModelSpec(factory=factory)))
    for part in ERRORS[factory]:
        assert part in str(caught.value)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("source", ["def build(:", "raise RuntimeError('no licence')"], ids=["syntax", "raises"])
def test_a_module_that_cannot_be_run_is_one_clear_error(
    source: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"models_{len(source)}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=f"'{name}:build' cannot be imported"):
        built(ModelSpec(factory=f"{name}:build"))


FACTORIES = ["good", "bare_logits", "softmax_layer", "softmax_activation", "gru", "heeded", "sequential"]


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_twin_of_a_factorys_model_is_the_same_but_for_a_softmax(factory: str) -> None:
    plain = built(ModelSpec(factory=f"{HERE}:{factory}"), dtype="float64", seed=4)
    twin = model.training_twin(plain)
    assert same(twin.get_weights(), plain.get_weights())
    assert not [layer for layer in twin.layers if type(layer) is keras.layers.Dropout]
    tokens = np.array([[2, 3, 4, 0], [5, 0, 0, 0], [6, 7, 8, 9]])
    logits = np.asarray(twin(tokens))
    if factory == "bare_logits":
        np.testing.assert_allclose(logits, plain(tokens), atol=1e-12)
    else:
        np.testing.assert_allclose(tf.nn.softmax(logits), plain(tokens), atol=1e-12)
    assert not np.allclose(logits.sum(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("spec", VARIANTS, ids=str)
def test_the_twin_has_the_plain_models_weights_in_its_order(spec: ModelSpec) -> None:
    plain = built(spec, 5)
    assert same(model.training_twin(plain).get_weights(), plain.get_weights())


def learner_of(spec: ModelSpec, *, task: str, outputs: int) -> Learner:
    shape = Shape(model=spec, vocabulary_size=30, outputs=outputs, task=task, optimizer="adam", dtype="float32")
    return Learner(shape, Collective(World()))


@pytest.mark.parametrize(
    ("factory", "task", "outputs"),
    [("good", "classification", 3), (None, "regression", 1)],
)
def test_a_model_with_dropout_learns_its_rows(factory: str | None, task: str, outputs: int) -> None:
    own = ModelSpec(factory=f"{HERE}:{factory}")
    spec = own if factory else ModelSpec(embedding_units=4, lstm_units=3, dropout=0.2)
    learner = learner_of(spec, task=task, outputs=outputs)
    once = Duration(unit="updates", amount=1)
    learner.start(
        TrialSpec(
            data_hash="",
            task=task,
            model=spec,
            global_batch=12,
            learning_rate=0.05,
            optimizer="adam",
            dtype="float32",
            seed=1,
            budget=once,
            evaluate_every=once,
        )
    )
    tokens = np.repeat(np.arange(2, 14)[:, None], 8, axis=1).astype("int32")
    tokens[:, 3:] = 0
    labels = np.arange(12) % 3 if task == "classification" else np.linspace(-2, 2, 12)
    labels = labels.astype("int32" if task == "classification" else "float32")
    before = float(learner.evaluate(tokens, labels)[0])
    for update in range(120):
        positions = tf.range(12 * update, 12 * (update + 1), dtype=tf.int64)
        learner.add(MicroBatch(tokens=tf.constant(tokens), labels=tf.constant(labels), positions=positions))
        assert learner.update(global_batch=12).finite
    after, right, _ = map(float, learner.evaluate(tokens, labels))
    assert after < 0.2 * before
    assert right == (12 if task == "classification" else 0)


def dropped(layer: KeyedDropout, positions: list[int], *, seed: int = 0, shape: tuple[int, ...] = (200,)) -> np.ndarray:
    """Where the layer drops, [len(positions), *shape]."""
    with row_keys(tf.constant(seed, tf.int64), tf.constant(positions, tf.int64)):
        return np.asarray(layer(tf.ones((len(positions), *shape)), training=True)) == 0


def test_what_is_dropped_is_told_by_seed_and_position_alone() -> None:
    layer, positions = KeyedDropout(0.4, salt=0), [*range(20), 2**31, 2**32, 2**40 + 7]
    whole = dropped(layer, positions)
    order = np.random.default_rng(0).permutation(len(positions))
    np.testing.assert_array_equal(dropped(layer, [positions[i] for i in order]), whole[order])
    for cut in (1, 7, 16):
        parts = [dropped(layer, positions[:cut]), dropped(layer, positions[cut:])]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(dropped(layer, [5, 5])[0], dropped(layer, [5, 5])[1])
    # A row's own tokens are its own, whatever the padding after them.
    padded = dropped(layer, positions, shape=(6, 9))
    np.testing.assert_array_equal(dropped(layer, positions, shape=(11, 9))[:, :6], padded)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("start", [0, 2**32 - 50, 10**12])
def test_as_many_are_dropped_as_the_rate_says(rate: float, start: int) -> None:
    found = dropped(KeyedDropout(rate, salt=1), list(range(start, start + 100)), shape=(400,))

    def assert_fair(mean: np.ndarray, count: int) -> None:
        # Five standard deviations: one false alarm in two million.
        assert np.all(np.abs(mean - rate) < 5 * np.sqrt(rate * (1 - rate) / count))

    assert_fair(found.mean(), found.size)
    assert_fair(found.mean(axis=0), 100)
    assert_fair(found.mean(axis=1), 400)


def test_positions_layers_and_seeds_drop_independently() -> None:
    positions = list(range(100))
    masks = {
        "one": dropped(KeyedDropout(0.5, salt=0), positions),
        "another layer": dropped(KeyedDropout(0.5, salt=1), positions),
        "another seed": dropped(KeyedDropout(0.5, salt=0), positions, seed=1),
        "the next positions": dropped(KeyedDropout(0.5, salt=0), list(range(1, 101))),
        "later positions": dropped(KeyedDropout(0.5, salt=0), list(range(2**32, 2**32 + 100))),
    }
    names = list(masks)
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            agreeing = (masks[name] == masks[other]).mean()
            assert abs(agreeing - 0.5) < 5 * 0.5 / np.sqrt(masks[name].size), (name, other)
    by_row = np.corrcoef(masks["one"])
    np.fill_diagonal(by_row, 0)
    assert np.abs(by_row).max() < 6 / np.sqrt(200)


def test_what_is_kept_is_divided_by_the_share_kept() -> None:
    with row_keys(tf.constant(0, tf.int64), tf.range(50, dtype=tf.int64)):
        found = np.asarray(KeyedDropout(0.2, salt=0)(tf.fill((50, 40), 3.0), training=True))
    assert set(np.unique(found).tolist()) == {0.0, 3.75}


def test_nothing_is_dropped_but_in_training() -> None:
    inputs = tf.random.normal((5, 7))
    np.testing.assert_array_equal(KeyedDropout(0.5, salt=0)(inputs, training=False), inputs)
    np.testing.assert_array_equal(KeyedDropout(0.5, salt=0)(inputs), inputs)
    np.testing.assert_array_equal(KeyedDropout(0.0, salt=0)(inputs, training=True), inputs)
    with pytest.raises(RuntimeError, match="outside `row_keys`"):
        KeyedDropout(0.5, salt=0)(inputs, training=True)


def test_the_dropouts_of_one_model_have_salts_of_their_own() -> None:
    twin = model.training_twin(built(ModelSpec(embedding_units=4, lstm_units=3, layers=3, dropout=0.5)))
    assert sorted(layer.salt for layer in twin.layers if isinstance(layer, KeyedDropout)) == [0, 1, 2]
