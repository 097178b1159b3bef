"""The documented way to tune with Ray: a Tune function that calls `TensorflowTrainer.fit()`, once a trial.

`tests.benchmarks.lane_turnaround` runs it as a process of its own; it prints one JSON line with the times of each
trial. A user's code, without batchscope: the model and the data of `tests.benchmarks.plain_loop`, one worker, one trial
at a time, on a Ray of this machine with room for both the trial's function and its worker.
"""

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import Any


def train(config: dict[str, Any]) -> None:
    """On the training worker: build, train for the updates asked for, evaluate once, report."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import ray.train

    from tests.benchmarks import plain_loop

    options = argparse.Namespace(**config["options"])
    manifest = json.loads((Path(options.data) / "manifest.json").read_text())
    keras.utils.set_random_seed(config["seed"])
    model = plain_loop.build(
        options, vocabulary_size=manifest["vocabulary_size"], classes=max(1, len(manifest["label_names"]))
    )
    batches = plain_loop.batches_of(plain_loop.Split(options.data, "train"), options.global_batch, config["seed"])
    firsts: list[float] = []

    def note(batch: int, logs: Any) -> None:
        if not firsts:
            firsts.append(time.time())

    clock = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    started = time.time()
    model.fit(batches.repeat().take(options.updates), verbose=0, shuffle=False, callbacks=[clock])
    fitted = time.time()
    validation = plain_loop.batches_of(plain_loop.Split(options.data, "validation"), plain_loop.EVALUATION_ROWS, None)
    loss, _ = model.evaluate(validation, verbose=0)
    times = {"first_update_at": firsts[0], "training": fitted - started, "evaluating": time.time() - fitted}
    (Path(options.folder) / f"trial-{config['seed']}.json").write_text(json.dumps(times))
    ray.train.report({"validation_loss": loss})


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
            name=f"train-{config['seed']}",
            storage_path=f"{config['options']['folder']}/train",
            callbacks=[TuneReportCallback()],
        ),
    ).fit()


def run(options: argparse.Namespace) -> list[dict[str, float]]:
    """The times of each trial, in order; `ended_at` is when Tune had heard of its end."""
    # Loopback only, as in `cluster.process.ray_session.local`; read when Ray is imported.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray
    from ray import tune

    ended: dict[int, float] = {}

    class Clock(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            ended[trial.config["seed"]] = time.time()

    ray.init(
        address="local",
        num_cpus=len(os.sched_getaffinity(0)) + 1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )
    try:
        tune.Tuner(
            trial,
            param_space={"seed": tune.grid_search(list(range(options.trials))), "options": vars(options)},
            tune_config=tune.TuneConfig(max_concurrent_trials=1),
            run_config=tune.RunConfig(
                name="tune", storage_path=f"{options.folder}/tune", callbacks=[Clock()], verbose=0
            ),
        ).fit()
    finally:
        ray.shutdown()
    folder = Path(options.folder)
    return [
        {**json.loads((folder / f"trial-{seed}.json").read_text()), "ended_at": ended[seed]} for seed in sorted(ended)
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--folder", required=True, help="where Ray keeps its results")
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--updates", type=int, required=True)
    parser.add_argument("--global-batch", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--embedding-units", type=int, default=64)
    parser.add_argument("--lstm-units", type=int, default=128)
    return parser.parse_args()


if __name__ == "__main__":
    # By its own name, so that Ray's workers import the functions above and do not get them pickled.
    from tests.benchmarks import documented_pattern

    print(json.dumps(documented_pattern.run(_options())))
