"""KerasTuner with the batch size as a hyperparameter: the way its documentation shows, a grid of batches and seeds.

`tests.benchmarks.whole_study` times it as a process of its own; it prints one JSON line of what it measured. The model
and the data are those of `tests.benchmarks.plain_loop`, each batch padded to its own longest row.
"""

import json
import os
from pathlib import Path
from typing import Any

from tests.benchmarks import plain_loop


def main() -> None:
    """Search the grid and print one JSON line."""
    options = plain_loop.read_options()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import keras_tuner

    manifest = json.loads((Path(options.data) / "manifest.json").read_text())
    splits = {name: plain_loop.Split(options.data, name) for name in ("train", "validation", "test")}
    trials: list[dict[str, Any]] = []

    class BatchSize(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            keras.utils.set_random_seed(hp.Int("seed", 0, options.seeds - 1))
            return plain_loop.build(
                options, vocabulary_size=manifest["vocabulary_size"], classes=max(1, len(manifest["label_names"]))
            )

        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            size = hp.Choice("batch_size", options.batches)
            arguments = plain_loop.fit_arguments(options, splits, size, hp.get("seed"))
            history = model.fit(*args, **arguments, **kwargs)
            accuracy = plain_loop.score_test(model, options, splits)
            trials.append({"validation_loss": history.history["val_loss"][-1], "test_accuracy": accuracy})
            return history

    tuner = keras_tuner.GridSearch(
        BatchSize(),
        objective="val_loss",
        max_trials=len(options.batches) * options.seeds,
        directory=options.folder,
        project_name="batch-size",
        overwrite=True,
    )
    tuner.search(epochs=options.epochs, verbose=0)
    print(json.dumps(trials))


if __name__ == "__main__":
    main()
