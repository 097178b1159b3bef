"""The whole wall time of a study of small trials: `batchscope run` against the loop that a user would write.

    python -m tests.benchmarks.study_against_loop [--data FOLDER] [--epochs 2 6] [--pairs 3] [--padded-once]

Both sides are a command in a process of its own, timed from its start to its exit: all start-up, evaluations after
each epoch and the one look at the test split are in it. Ours also writes its summary, curves, checkpoints and weights,
and takes as many lanes as fit the machine (or `--lanes`); the loop (`tests.benchmarks.plain_loop`) is one process with
TensorFlow's default threads, which writes nothing. Same rows, epochs, seeds, model, initial weights, optimizer and
learning rate; not the same order of rows, nor quite the same updates (`tests/parity/test_plain_keras.py`). Sides
alternate, and so does which one goes first.

The loop pads each batch to its own longest row, the stronger form; `--padded-once` has it pad everything once to the
longest row of all, the form most often seen. Test accuracy is of the best weights on our side and of the last on the
loop's, so the last validation loss, which is of the same moment, is given too.

From two or more `--epochs` each side is fitted as `wall = start + epochs * slope`, which tells how long the loop's
trials must be for both to be equal (a study of that many trials: the start is shared among them).
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import setting


@dataclass(frozen=True)
class Run:
    """One side of a pair: its wall time, and the means over its trials."""

    seconds: float
    test_accuracy: float
    validation_loss: float


def study_yaml(options: argparse.Namespace, data: str, summary: Path, epochs: int) -> str:
    """The study, in the user's format (JSON is YAML)."""
    resources = {"lanes": options.lanes} if options.lanes else {}
    return json.dumps(
        {
            "study": "benchmark",
            "data": data,
            "summary": str(summary),
            "task": "classification",
            "model": {"embedding_units": options.embedding_units, "lstm_units": options.lstm_units},
            "axes": {
                "global_batch": options.batches,
                "learning_rate": [options.learning_rate],
                "optimizer": ["adam"],
                "seeds": options.seeds,
            },
            "budget": {"epochs": epochs},
            "evaluate_every": {"epochs": 1},
            "resources": resources,
        }
    )


def run_study(options: argparse.Namespace, data: str, home: Path, epochs: int) -> Run:
    """Our side."""
    from cluster.summary import query
    from cluster.summary.store import Summary

    folder = home / f"study-{len(list(home.glob('study-*')))}"
    folder.mkdir()
    (folder / "study.yaml").write_text(study_yaml(options, data, folder / "summary", epochs))
    seconds = setting.timed(setting.batchscope("run", folder / "study.yaml"), log=folder / "log")
    rows = query.trials(Summary(str(folder / "summary"))).to_pylist()
    unfinished = [row["state"] for row in rows if row["state"] != "COMPLETED"]
    expected = len(options.batches) * options.seeds
    if unfinished or len(rows) != expected:
        raise SystemExit(f"{len(rows)} rows for {expected} trials, not completed: {unfinished}")
    return Run(
        seconds,
        statistics.fmean(row["test_accuracy"] for row in rows),
        statistics.fmean(row["final_validation_loss"] for row in rows),
    )


def run_loop(options: argparse.Namespace, data: str, home: Path, epochs: int) -> Run:
    """The user's side."""
    command = setting.module(
        "tests.benchmarks.plain_loop",
        *("--data", data, "--seeds", options.seeds, "--epochs", epochs, "--learning-rate", options.learning_rate),
        *("--embedding-units", options.embedding_units, "--lstm-units", options.lstm_units),
        *("--batches", *options.batches),
        *(["--padded-once"] if options.padded_once else []),
    )
    seconds = setting.timed(command, log=home / "loop.log")
    trials = json.loads((home / "loop.log").read_text().splitlines()[-1])
    return Run(
        seconds,
        statistics.fmean(trial["test_accuracy"] for trial in trials),
        statistics.fmean(trial["validation_loss"] for trial in trials),
    )


def equal_at(walls: dict[int, tuple[float, float]], trials: int) -> str:
    """Where the fitted lines of both sides cross; `walls` are (ours, loop) for each number of epochs."""
    import numpy as np

    sizes = list(walls)
    lines = [np.polyfit(sizes, [walls[size][side] for size in sizes], 1) for side in (0, 1)]
    (our_slope, our_start), (slope, start) = lines
    said = (
        f"fitted: ours {our_start:.1f} s + {our_slope:.2f} s an epoch of all {trials} trials; "
        f"the loop {start:.1f} s + {slope:.2f} s\n"
    )
    if min(our_slope, slope) <= 0:
        return said + "an epoch cost nothing: noise, so take more pairs, larger --epochs or a quieter machine"
    if our_slope >= slope:
        return said + "one more epoch costs us no less than the loop: the lines do not cross in our favour"
    epochs = (our_start - start) / (slope - our_slope)
    limit = f"at most {slope / our_slope:.2f} times as fast, for long trials"
    if epochs <= 0:
        return said + f"ours is faster at any size; {limit}"
    return said + (
        f"equal at {epochs:.2f} epochs: {(start + slope * epochs) / trials:.2f} s of the loop a trial "
        f"(its start included; {slope * epochs / trials:.2f} s without), for {trials} trials; ours is {limit}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    setting.add_data_options(parser, rows=3000)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64, 128], metavar="B")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, nargs="+", default=[2, 6])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--lanes", type=int, help="ours (default: as many as fit)")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--embedding-units", type=int, default=64)
    parser.add_argument("--lstm-units", type=int, default=128)
    parser.add_argument("--padded-once", action="store_true", help="the loop pads all rows once to the longest of all")
    return parser.parse_args()


def main() -> None:
    """Run the pairs and print a line for each, then the medians."""
    options = _options()
    trials = len(options.batches) * options.seeds
    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        data = setting.data_folder(options, home)
        print(setting.describe_data(data))
        print(
            f"study: {trials} trials, global batches {options.batches} x {options.seeds} seeds, "
            f"embedding {options.embedding_units}, LSTM {options.lstm_units}, adam {options.learning_rate:g}; "
            f"lanes {options.lanes or 'as many as fit'}; "
            f"the loop pads {'all rows once' if options.padded_once else 'each batch'}"
        )
        print(
            f"\n{'epochs':>7}{'pair':>5}{'ours, s':>10}{'loop, s':>10}{'loop / ours':>13}"
            f"{'accuracy':>10}{'loop':>8}{'val. loss':>11}{'loop':>8}",
            flush=True,
        )
        pairs: dict[int, list[tuple[Run, Run]]] = {epochs: [] for epochs in options.epochs}
        sides = [run_study, run_loop]
        for pair in range(options.pairs):
            for epochs in options.epochs:
                done = {side: side(options, data, home, epochs) for side in sides}
                sides.reverse()
                ours, loop = done[run_study], done[run_loop]
                pairs[epochs].append((ours, loop))
                print(
                    f"{epochs:>7}{pair + 1:>5}{ours.seconds:>10.1f}{loop.seconds:>10.1f}"
                    f"{loop.seconds / ours.seconds:>13.2f}{ours.test_accuracy:>10.3f}{loop.test_accuracy:>8.3f}"
                    f"{ours.validation_loss:>11.3f}{loop.validation_loss:>8.3f}",
                    flush=True,
                )
        _print_medians(pairs, trials)


def _print_medians(pairs: dict[int, list[tuple[Run, Run]]], trials: int) -> None:
    print(f"\n{'epochs':>7}{'ours, s':>24}{'loop, s':>24}{'loop / ours':>22}")
    walls = {}
    for epochs, runs in pairs.items():
        ours, loop = [run[0].seconds for run in runs], [run[1].seconds for run in runs]
        ratios = [theirs / mine for mine, theirs in zip(ours, loop, strict=True)]
        walls[epochs] = statistics.median(ours), statistics.median(loop)
        print(
            f"{epochs:>7}{setting.median_range(ours, 1):>24}{setting.median_range(loop, 1):>24}"
            f"{setting.median_range(ratios):>22}"
        )
    if len(walls) > 1:
        print(f"\n{equal_at(walls, trials)}")


if __name__ == "__main__":
    main()
