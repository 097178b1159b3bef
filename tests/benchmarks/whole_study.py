"""The whole wall time of a study: `batchscope run` against a user's loop, KerasTuner, and the documented Ray pattern.

    python -m tests.benchmarks.whole_study [--data FOLDER | --rows N] [--epochs 3] [--against loop ...]

Six global batches x 3 seeds x 3 epochs on the bundled articles (`wiki_vital`). Each side is a command in a process of
its own, timed from its start to its exit: all start-up, an evaluation after each epoch and the one look at the test
split are in it. Ours also writes its summary, curves, checkpoints and weights. The others pad each batch to its own
longest row, the stronger form. KerasTuner keeps a checkpoint of each epoch, which is its default. Same rows, epochs,
seeds, model, initial weights, optimizer and learning rate; not the same order of rows, and not the same updates of the
embedding, whose gradient `fit` hands to Adam word by word (`tests/parity/test_plain_keras.py`).

KerasTuner is not among batchscope's dependencies: `pip install -r tests/benchmarks/requirements.txt`, as `make bench`
does.
"""

import argparse
import importlib.util
import json
import statistics
from pathlib import Path

from tests.benchmarks import setting, study_against_loop
from tests.benchmarks.study_against_loop import Run

# Wall time of ours over theirs that must not be exceeded.
SIDES = {
    "loop": ("tests.benchmarks.plain_loop", "a user's loop over model.fit", 0.6),
    "keras_tuner": ("tests.benchmarks.keras_tuner_loop", "KerasTuner, batch size as a hyperparameter", 0.6),
    "documented": ("tests.benchmarks.documented_study", "Ray Tune + TensorflowTrainer, as documented", 0.25),
}


def run_side(name: str, options: argparse.Namespace, data: str, home: Path) -> Run:
    """One of the others."""
    folder = home / name
    folder.mkdir()
    command = setting.module(
        SIDES[name][0],
        *("--data", data, "--seeds", options.seeds, "--epochs", options.epochs, "--folder", folder),
        *("--learning-rate", options.learning_rate, "--embedding-units", options.embedding_units),
        *("--lstm-units", options.lstm_units, "--batches", *options.batches),
    )
    log = home / f"{name}.log"
    seconds = setting.timed(command, log=log)
    trials = json.loads(log.read_text().splitlines()[-1])
    if len(trials) != len(options.batches) * options.seeds:
        raise SystemExit(f"{name} trained {len(trials)} trials")
    return Run(
        seconds,
        statistics.fmean(trial["test_accuracy"] for trial in trials),
        statistics.fmean(trial["validation_loss"] for trial in trials),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    setting.add_data_options(parser)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256], metavar="B")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lanes", type=int, help="ours (default: as many as fit)")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--embedding-units", type=int, default=64)
    parser.add_argument("--lstm-units", type=int, default=128)
    parser.add_argument("--against", nargs="+", choices=SIDES, default=list(SIDES))
    options = parser.parse_args()
    if "keras_tuner" in options.against and importlib.util.find_spec("keras_tuner") is None:
        parser.error("keras_tuner is not installed: pip install -r tests/benchmarks/requirements.txt")
    return options


def main() -> None:
    """Run each side once, ours first, and print their wall times and the ratios."""
    options = _options()
    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        data = setting.data_folder(options, home)
        print(setting.describe_data(data))
        print(f"study: global batches {options.batches} x {options.seeds} seeds x {options.epochs} epochs", flush=True)
        ours = study_against_loop.run_study(options, data, home, options.epochs)
        _print("batchscope run", ours)
        for name in options.against:
            theirs = run_side(name, options, data, home)
            _print(SIDES[name][1], theirs)
            setting.figure(
                f"batchscope / {SIDES[name][1]}", f"{ours.seconds / theirs.seconds:.2f}", f"<= {SIDES[name][2]}"
            )


def _print(name: str, run: Run) -> None:
    print(
        f"{name:<46}{run.seconds:>9.1f} s   validation loss {run.validation_loss:.3f}   "
        f"test accuracy {run.test_accuracy:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
