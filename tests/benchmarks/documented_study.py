"""A whole study in the documented way: Ray Tune over a function that calls `TensorflowTrainer.fit()` for each trial.

`tests.benchmarks.whole_study` times it as a process of its own; it prints one JSON line of what it measured. The model
and the data are those of `tests.benchmarks.plain_loop`, each batch padded to its own longest row; one worker a trial,
as many trials at once as the machine has cores.
"""

import argparse
import json
import logging
import os
from pathlib import Path
from typing import Any


def train(config: dict[str, Any]) -> None:
    """On the training worker: one trial, all of its epochs, and a report."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import ray.train
    import tensorflow as tf

    from tests.benchmarks import plain_loop

    # Trials at once share the machine's cores.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    options = argparse.Namespace(**config["options"])
    manifest = json.loads((Path(options.data) / "manifest.json").read_text())
    splits = {name: plain_loop.Split(options.data, name) for name in ("train", "validation", "test")}
    keras.utils.set_random_seed(config["seed"])
    model = plain_loop.build(
        options, vocabulary_size=manifest["vocabulary_size"], classes=max(1, len(manifest["label_names"]))
    )
    arguments = plain_loop.fit_arguments(options, splits, config["batch_size"], config["seed"])
    history = model.fit(**arguments, epochs=options.epochs, verbose=0).history
    found = {
        "validation_loss": history["val_loss"][-1],
        "test_accuracy": plain_loop.score_test(model, options, splits),
    }
    (Path(options.folder) / f"trial-{config['batch_size']}-{config['seed']}.json").write_text(json.dumps(found))
    ray.train.report(found)


def trial(config: dict[str, Any]) -> None:
    """The Tune function: one Ray Train run, as the documentation has it."""
    import ray.train
    from ray.train.tensorflow import TensorflowTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    TensorflowTrainer(
        train,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=1),
        run_config=ray.train.RunConfig(
            name=f"train-{config['batch_size']}-{config['seed']}",
            storage_path=f"{config['options']['folder']}/train",
            callbacks=[TuneReportCallback()],
        ),
    ).fit()


def run(options: argparse.Namespace) -> list[dict[str, float]]:
    """What each trial found."""
    # Loopback only; read when Ray is imported.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray
    from ray import tune

    cores = len(os.sched_getaffinity(0))
    ray.init(
        address="local",
        # A trial's function takes a CPU beside its worker's.
        num_cpus=2 * cores,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )
    try:
        tune.Tuner(
            trial,
            param_space={
                "batch_size": tune.grid_search(options.batches),
                "seed": tune.grid_search(list(range(options.seeds))),
                "options": vars(options),
            },
            tune_config=tune.TuneConfig(max_concurrent_trials=cores),
            run_config=tune.RunConfig(name="tune", storage_path=f"{options.folder}/tune", verbose=0),
        ).fit()
    finally:
        ray.shutdown()
    return [json.loads(path.read_text()) for path in sorted(Path(options.folder).glob("trial-*.json"))]


if __name__ == "__main__":
    # By its own name, so that Ray's workers import the functions above and do not get them pickled.
    from tests.benchmarks import documented_study, plain_loop

    print(json.dumps(documented_study.run(plain_loop.read_options())))
