"""From the end of one trial to the first update of the next: a warm lane, and one `TensorflowTrainer.fit()` a trial.

    python -m tests.benchmarks.lane_turnaround [--data FOLDER] [--trials 12] [--workers 1 2] [--documented-trials 3]

Ours is a study on one lane, run by `batchscope run`, and its times are those of the trials table: a trial's first
update is at `started_at + seconds_waiting + seconds_starting`, its end at `ended_at`. The other side is the pattern
that Ray's documentation gives (`tests.benchmarks.documented_pattern`): same small model, data, global batch and number
of updates, one worker. There the end is when Tune hears of it, and the first update is noted by the training function.

Two numbers for each trial but the first. `to first update` is from the end of the one before to its first update
(made); `beside work` is from the end of the one before to its own end, less the seconds it trained and evaluated.
Keras' tracing counts as training in the documented pattern, so it is in `to first update` and not in `beside work`.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tests.benchmarks import setting


def study_yaml(options: argparse.Namespace, data: str, summary: Path, workers: int) -> str:
    """The study on one lane, in the user's format (JSON is YAML)."""
    return json.dumps(
        {
            "study": "benchmark",
            "data": data,
            "summary": str(summary),
            "task": "classification",
            "model": {"embedding_units": options.embedding_units, "lstm_units": options.lstm_units},
            "axes": {"global_batch": [options.global_batch], "learning_rate": [0.001], "seeds": options.trials},
            "budget": {"updates": options.updates},
            "evaluate_every": {"updates": options.updates},
            "resources": {"workers": workers, "lanes": 1},
        }
    )


def run_lane(options: argparse.Namespace, data: str, home: Path, workers: int) -> list[dict[str, float]]:
    """The times of each trial on one lane, in order."""
    from cluster.summary import query
    from cluster.summary.store import Summary

    folder = home / f"lane-{workers}"
    folder.mkdir()
    (folder / "study.yaml").write_text(study_yaml(options, data, folder / "summary", workers))
    setting.timed(setting.batchscope("run", folder / "study.yaml"), log=folder / "log")
    rows = query.trials(Summary(str(folder / "summary"))).sort_by("started_at").to_pylist()
    unfinished = [row["state"] for row in rows if row["state"] != "COMPLETED"]
    if unfinished or len(rows) != options.trials:
        raise SystemExit(f"{len(rows)} rows for {options.trials} trials, not completed: {unfinished}")
    return [
        {
            "first_update_at": row["started_at"].timestamp() + row["seconds_waiting"] + row["seconds_starting"],
            "training": row["seconds_training"],
            "evaluating": row["seconds_evaluating"],
            "ended_at": row["ended_at"].timestamp(),
        }
        for row in rows
    ]


def run_documented(options: argparse.Namespace, data: str, home: Path) -> list[dict[str, float]]:
    """The times of each trial of the documented pattern, in order."""
    folder = home / "documented"
    folder.mkdir()
    command = setting.module(
        "tests.benchmarks.documented_pattern",
        *("--data", data, "--folder", folder, "--trials", options.documented_trials, "--updates", options.updates),
        *("--global-batch", options.global_batch),
        *("--embedding-units", options.embedding_units, "--lstm-units", options.lstm_units),
    )
    setting.timed(command, log=folder / "log")
    times: list[dict[str, float]] = json.loads((folder / "log").read_text().splitlines()[-1])
    return times


def to_first_update(trials: Sequence[dict[str, float]]) -> list[float]:
    """From each trial's end to the first update of the next."""
    return [after["first_update_at"] - before["ended_at"] for before, after in pairwise(trials)]


def beside_work(trials: Sequence[dict[str, float]]) -> list[float]:
    """From each trial's end to the end of the next, less what that one trained and evaluated."""
    return [
        after["ended_at"] - before["ended_at"] - after["training"] - after["evaluating"]
        for before, after in pairwise(trials)
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    setting.add_data_options(parser, rows=1000)
    parser.add_argument("--trials", type=int, default=12, help="on each of our lanes")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of our lanes, one after the other")
    parser.add_argument("--documented-trials", type=int, default=3)
    parser.add_argument("--updates", type=int, default=20, help="of each trial")
    parser.add_argument("--global-batch", type=int, default=32)
    parser.add_argument("--embedding-units", type=int, default=32)
    parser.add_argument("--lstm-units", type=int, default=64)
    options = parser.parse_args()
    if min(options.trials, options.documented_trials) < 2:
        parser.error("two trials are the least that have something between them")
    return options


def main() -> None:
    """Run both sides and print a line for each."""
    options = _options()
    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        data = setting.data_folder(options, home)
        print(setting.describe_data(data))
        print(
            f"trials: {options.updates} updates of global batch {options.global_batch}, one evaluation; "
            f"embedding {options.embedding_units}, LSTM {options.lstm_units}, adam"
        )
        print(f"\n{'':<34}{'trials':>7}{'to first update, s':>26}{'beside work, s':>26}{'work, s':>24}", flush=True)
        documented = run_documented(options, data, home)
        _print_line("documented, 1 worker", documented, documented)
        for workers in options.workers:
            lane = run_lane(options, data, home, workers)
            _print_line(f"lane, {workers} worker{'s' * (workers > 1)}", lane, documented)


def _print_line(name: str, trials: Sequence[dict[str, float]], documented: Sequence[dict[str, float]]) -> None:
    from statistics import median

    work = [trial["training"] + trial["evaluating"] for trial in trials[1:]]
    ratio = median(to_first_update(documented)) / median(to_first_update(trials))
    shown = name if trials is documented else f"{name} (1/{ratio:.0f})"
    print(
        f"{shown:<34}{len(trials):>7}{setting.median_range(to_first_update(trials)):>26}"
        f"{setting.median_range(beside_work(trials)):>26}{setting.median_range(work):>24}",
        flush=True,
    )
    setting.figure(
        f"end of a trial to the next one's first update, s: {name}", setting.median_range(to_first_update(trials))
    )


if __name__ == "__main__":
    main()
