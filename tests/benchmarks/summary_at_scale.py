"""A summary of 10,000 trials and 1,000,000 evaluations: seconds and memory of asking it, as whole processes.

    python -m tests.benchmarks.summary_at_scale [--studies 20] [--trials 500] [--evaluations 100] [--repeats 5]

The rows are written by the real writer, one object for each trial and for each trial's evaluations, into a local
folder; then each study is compacted by `batchscope compact`, as `batchscope run` does when a study ends. Its time is
told, and so is that of asking before it (`--before`, which takes long). The list is of another summary, of 100 studies
of 10 trials. Every command is timed from its start to its exit, its output in a file; CPU seconds are user and system,
which other work on the machine changes less. MiB are the largest resident size of one process, the command or the one
in which SQL runs. What is not here: S3, and a disk that was not read before.
"""

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import setting

MIB = 2**20
BATCHES = (8, 16, 17, 32, 64, 128, 256, 512, 1024, 2048)
RATES = (0.0005, 0.001, 0.002, 0.004, 0.008)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
JOIN = (
    "select t.study, t.global_batch, count(*) as evaluations, min(e.validation_loss) as lowest "
    "from evaluations e join trials t using (study, trial_id, attempt) group by all order by all"
)


def trials(study: int, count: int) -> Iterator[dict[str, Any]]:
    """The rows of a study's trials: a grid of batches and rates, with as many seeds as it takes."""
    random = np.random.default_rng(study)
    grid = itertools.product(range(-(-count // (len(BATCHES) * len(RATES)))), BATCHES, RATES)
    for number, (seed, batch, rate) in enumerate(itertools.islice(grid, count)):
        began = BEGAN + timedelta(minutes=number)
        yield {
            "study": f"study-{study:03d}",
            "trial_id": f"{study:08x}{number:08x}",
            "attempt": 1,
            "state": "COMPLETED" if random.random() > 0.02 else "DIVERGED",
            "global_batch": batch,
            "learning_rate": rate,
            "optimizer": "adam",
            "dtype": "float32",
            "seed": seed,
            "workers": 1,
            "micro_batch": min(batch, 64),
            "device": "Intel(R) Xeon(R) Processor",
            "node_type": "local",
            "market": "local",
            "updates": 72400 // batch,
            "examples": 72400 // batch * batch,
            "epochs": 10.0,
            "started_at": began,
            "ended_at": began + timedelta(seconds=random.uniform(5, 50)),
            "seconds_waiting": 0.0,
            "seconds_starting": random.uniform(0.5, 2),
            "seconds_training": random.uniform(5, 50),
            "examples_per_second": random.uniform(300, 5000),
            "final_validation_loss": random.uniform(0.7, 1.4),
            "best_validation_loss": random.uniform(0.6, 1.2),
            "best_validation_accuracy": random.uniform(0.5, 0.8),
            "test_loss": random.uniform(0.6, 1.2),
            "test_accuracy": random.uniform(0.5, 0.8),
            "code_version": "0.1.0",
            "checkpoint_uri": f"s3://bucket/summary/checkpoints/study=study-{study:03d}/{study:08x}{number:08x}",
        }


def evaluations(trial: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """One trial's evaluations."""
    values = np.random.default_rng(int(trial["trial_id"], 16)).uniform(0.5, 2, (count, 5)).tolist()
    names = ("seconds", "training_loss", "validation_loss", "validation_accuracy", "gradient_norm")
    key = {name: trial[name] for name in ("study", "trial_id", "attempt", "learning_rate")}
    return [
        {**key, "update": number, "examples": number * trial["global_batch"], "epoch": number / count}
        | dict(zip(names, row, strict=True))
        for number, row in enumerate(values)
    ]


def write(uri: str, *, studies: int, count: int, each: int) -> None:
    """Write a summary through the writer that lanes use."""
    from cluster.summary.store import Summary

    summary = Summary(uri)
    for study in range(studies):
        for trial in trials(study, count):
            summary.write_trial(trial)
            if each:
                summary.write_evaluations(evaluations(trial, each), part=0)
        spec = {"spec_hash": "a1", "spec_json": "{}", "data": "/data/wiki", "task": "classification"}
        summary.write_study({**spec, "study": f"study-{study:03d}", "started_at": BEGAN, "trials": count})


def measured(arguments: list[str], log: Path) -> tuple[float, float, float]:
    """The wall and the CPU seconds of a command, and the MiB most resident in it or in a process that it started."""
    # A process of its own between them: the largest resident size is known of the children that were waited for.
    code = (
        "import resource, subprocess, sys, time; began = time.monotonic(); "
        "done = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], 'w')); seconds = time.monotonic() - began; "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024); sys.exit(done.returncode)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(log), *setting.batchscope(*arguments)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    seconds, cpu, mib = map(float, said.split())
    return seconds, cpu, mib


def report(name: str, arguments: list[str], home: Path, repeats: int, goal: str = "") -> None:
    """Time a command several times, and print its figure."""
    found = [measured(arguments, home / "output") for _ in range(repeats)]
    seconds, cpu = (setting.median_range([one[column] for one in found]) for column in (0, 1))
    peak, load = max(mib for *_, mib in found), os.getloadavg()[0]
    setting.figure(name, f"{seconds} s, {cpu} s of CPU, {peak:.0f} MiB; load average {load:.1f}", goal)


def main() -> None:
    """Write the summaries, and time what is asked of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--trials", type=int, default=500, help="of each study")
    parser.add_argument("--evaluations", type=int, default=100, help="of each trial")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", metavar="FOLDER", help="write the summaries here, and use those that are there")
    parser.add_argument("--before", action="store_true", help="also ask before compaction")
    options = parser.parse_args()
    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        kept = Path(options.keep) if options.keep else home
        large, many = str(kept / "large"), str(kept / "many")
        began = time.monotonic()
        if not Path(large).exists():
            write(large, studies=options.studies, count=options.trials, each=options.evaluations)
        if not Path(many).exists():
            write(many, studies=100, count=10, each=0)
        counted = options.studies * options.trials
        print(
            f"summary: {counted:,} trials and {counted * options.evaluations:,} evaluations in {options.studies} "
            f"studies; written in {time.monotonic() - began:.0f} s"
        )
        if options.before:
            report("before compaction: results", ["results", "--summary", large], home, 1)
            report("before compaction: a join in SQL", ["results", "--summary", large, "--sql", JOIN], home, 1)
        for uri in (large, many):
            report(f"compact, {Path(uri).name}", ["compact", "--summary", uri], home, 1)
        one = ["results", "study-001", "--summary", large]
        everything = ["results", "--summary", large]
        for name, arguments, goal in (
            ("--help", ["--help"], "<= 0.3 s"),
            ("results: the list of all studies", everything, "<= 1.5 s"),
            ("results study-001", one, "<= 1.5 s"),
            ("results study-001 --by global_batch", [*one, "--by", "global_batch"], "<= 2.5 s"),
            ("results --by global_batch, of all studies", [*everything, "--by", "global_batch"], "<= 2.5 s"),
            ("results study-001 --where", [*one, "--where", "global_batch in (16, 64)"], "<= 2.5 s"),
            ("results --sql, a join of all trials and evaluations", [*everything, "--sql", JOIN], "<= 2.5 s"),
            ("results: the list of 100 studies", ["results", "--summary", many], "<= 1.5 s"),
        ):
            report(name, arguments, home, options.repeats, goal)
        size = sum(file.stat().st_size for file in Path(large).rglob("*.parquet"))
        print(f"the large summary has {size / MIB:.0f} MiB in {sum(1 for _ in Path(large).rglob('*.parquet'))} files")


if __name__ == "__main__":
    main()
