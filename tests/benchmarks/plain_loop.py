"""The loop that a user would write, without batchscope: every batch and seed in turn, each a Keras `fit`.

Knows only Keras, NumPy and the Parquet files of a prepared data set. `tests.benchmarks.study_against_loop` times it as
a process of its own; it prints one JSON line of what it measured. In the stronger form (the default) each batch is
padded to its own longest row; with `--padded-once` the whole data set is padded once to the longest row of all.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# What both forms evaluate with: larger than most training batches, so that evaluating is not the slow part.
EVALUATION_ROWS = 256


class Split:
    """The rows of one split: token ids one row after the other, where each begins, and the labels."""

    def __init__(self, folder: str, name: str) -> None:
        files = sorted(str(path) for path in Path(folder).glob(f"{name}-*.parquet"))
        table = pa.concat_tables([pq.read_table(file, columns=["tokens", "label"]) for file in files])
        tokens = table.column("tokens").combine_chunks()
        self.starts = tokens.offsets.to_numpy()
        self.tokens = tokens.values.to_numpy().astype(np.int32)
        self.labels = table.column("label").to_numpy().astype(np.int32)
        self.lengths = np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.labels)

    def padded(self, rows: Any, width: int | None = None) -> Any:
        """Some rows, right-padded with 0 to `width`, or to the longest of them."""
        padded = np.zeros((len(rows), width or max(1, self.lengths[rows].max())), np.int32)
        for place, row in enumerate(rows):
            padded[place, : self.lengths[row]] = self.tokens[self.starts[row] : self.starts[row + 1]]
        return padded


def batches_of(split: Split, size: int, seed: int | None) -> Any:
    """A `tf.data` of batches padded to their own longest row; shuffled in each epoch if there is a seed.

    What Keras makes of a `PyDataset`, but with a declared signature: Keras guesses the length from the first two
    batches, and fails at the third if these were equally long.
    """
    import tensorflow as tf

    draw = np.random.default_rng(seed)

    def batches() -> Iterator[tuple[Any, Any]]:
        order = np.arange(len(split)) if seed is None else draw.permutation(len(split))
        for start in range(0, len(split), size):
            rows = order[start : start + size]
            yield split.padded(rows), split.labels[rows]

    signature = (tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    count = -(-len(split) // size)
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(tf.data.AUTOTUNE)


def build(options: argparse.Namespace, *, vocabulary_size: int, classes: int) -> Any:
    """The same model as batchscope's built-in one."""
    import keras

    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, options.embedding_units, mask_zero=True)(tokens)
    x = keras.layers.LSTM(options.lstm_units)(x)
    model = keras.Model(tokens, keras.layers.Dense(classes, activation="softmax")(x))
    model.compile(
        keras.optimizers.Adam(options.learning_rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def fit_arguments(options: argparse.Namespace, splits: dict[str, Any], size: int, seed: int) -> dict[str, Any]:
    """What `fit` is called with, besides the epochs."""
    if options.padded_once:
        return {
            "x": splits["train"][0],
            "y": splits["train"][1],
            "batch_size": size,
            "validation_data": splits["validation"],
            "validation_batch_size": EVALUATION_ROWS,
        }
    return {
        "x": batches_of(splits["train"], size, seed),
        "shuffle": False,
        "validation_data": batches_of(splits["validation"], EVALUATION_ROWS, None),
    }


def score_test(model: Any, options: argparse.Namespace, splits: dict[str, Any]) -> float:
    """The accuracy on the test split, with the last weights."""
    if options.padded_once:
        return float(model.evaluate(*splits["test"], batch_size=EVALUATION_ROWS, verbose=0)[1])
    return float(model.evaluate(batches_of(splits["test"], EVALUATION_ROWS, None), verbose=0)[1])


def read_options() -> argparse.Namespace:
    """What a side of a comparison is called with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--batches", type=int, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--embedding-units", type=int, default=64)
    parser.add_argument("--lstm-units", type=int, default=128)
    parser.add_argument("--padded-once", action="store_true")
    parser.add_argument("--folder", help="where a side that writes something does so")
    return parser.parse_args()


def main() -> None:
    """Train every trial in turn and print one JSON line."""
    options = read_options()
    import keras

    manifest = json.loads((Path(options.data) / "manifest.json").read_text())
    splits: dict[str, Any] = {name: Split(options.data, name) for name in ("train", "validation", "test")}
    if options.padded_once:
        longest = max(int(split.lengths.max()) for split in splits.values())
        splits = {name: (split.padded(range(len(split)), longest), split.labels) for name, split in splits.items()}
    trials = []
    for size in options.batches:
        for seed in range(options.seeds):
            started = time.monotonic()
            keras.utils.set_random_seed(seed)
            model = build(
                options, vocabulary_size=manifest["vocabulary_size"], classes=max(1, len(manifest["label_names"]))
            )
            history = model.fit(**fit_arguments(options, splits, size, seed), epochs=options.epochs, verbose=0).history
            accuracy = score_test(model, options, splits)
            trials.append(
                {
                    "global_batch": size,
                    "seed": seed,
                    "seconds": time.monotonic() - started,
                    "validation_loss": history["val_loss"][-1],
                    "test_accuracy": accuracy,
                }
            )
    print(json.dumps(trials))


if __name__ == "__main__":
    main()
