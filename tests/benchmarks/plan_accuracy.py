"""What `batchscope plan` says against what the study then took: minutes and memory, on ten varied small studies.

    python -m tests.benchmarks.plan_accuracy [--rows 1500] [--only NAME ...]

Each study is planned (with its calibration) and then run, one after the other, each as a command of its own; the run is
timed from its start to its exit. `start` is from the command's start to the first update of any trial, tracing included
on both sides. Memory is the largest worker's peak. On an idle machine: other work between the two makes them differ.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import setting

SMALL = {"embedding_units": 32, "lstm_units": 64}
STUDIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "odd-batches": {"axes": {"global_batch": [8, 17]}, "model": {**SMALL, "lstm_units": 32}},
    "large-batches": {"axes": {"global_batch": [128, 512, "full"]}, "model": {**SMALL, "lstm_units": 128}},
    "bidirectional": {"model": {**SMALL, "lstm_units": 48, "bidirectional": True}},
    "two-layers": {"model": {**SMALL, "lstm_units": 48, "layers": 2, "dropout": 0.3}},
    "optimizers": {"axes": {"global_batch": [32], "optimizer": ["sgd", "adam", "rmsprop"]}},
    "two-workers": {"resources": {"workers": 2, "lanes": 1}, "axes": {"global_batch": [51, 256]}},
    "float64": {"axes": {"global_batch": [64], "dtype": ["float32", "float64"]}},
    "language-model": {"task": "language_model", "data": "short", "model": {**SMALL, "lstm_units": 32}},
    "long-texts": {"data": "long", "axes": {"global_batch": [24, 96]}, "resources": {"micro_batch": 24}},
}


@dataclass(frozen=True, kw_only=True)
class Side:
    """What was said, or measured, of one study."""

    seconds: float
    seconds_to_first_update: float
    memory_bytes: float


def study_yaml(name: str, data: dict[str, str], summary: Path) -> str:
    """A study in the user's format (JSON is YAML)."""
    changes = dict(STUDIES[name])
    axes = {"global_batch": [16, 64], "learning_rate": 0.001, "seeds": 2, **changes.pop("axes", {})}
    return json.dumps(
        {
            "study": name,
            "data": data[changes.pop("data", "usual")],
            "summary": str(summary),
            "task": "classification",
            "model": SMALL,
            "axes": axes,
            "budget": {"epochs": 2},
            **changes,
        }
    )


def plan(file: Path) -> Side:
    """What the plan says."""
    said = json.loads(setting.output(setting.batchscope("plan", file, "--format", "json")))
    if said["source"] != "calibration":
        raise SystemExit(f"nothing was measured: {said['why_guessed']}")
    expected = said["expected"]
    lanes = min(said["lanes"], expected["trials"])
    return Side(
        seconds=expected["seconds"],
        seconds_to_first_update=expected["seconds_starting"] + expected["seconds_compiling"] / lanes,
        memory_bytes=max(point["memory_bytes"] for point in said["points"]),
    )


def run(file: Path, summary: Path, log: Path) -> Side:
    """What the study takes; all its trials must complete."""
    from cluster.summary import query
    from cluster.summary.store import Summary

    began = time.time()
    seconds = setting.timed(setting.batchscope("run", file), log=log)
    rows = query.trials(Summary(str(summary))).to_pylist()
    if states := {row["state"] for row in rows} - {"COMPLETED"}:
        raise SystemExit(f"{file}: trials ended {states}")
    first = min(row["started_at"].timestamp() + row["seconds_waiting"] + row["seconds_starting"] for row in rows)
    return Side(
        seconds=seconds,
        seconds_to_first_update=first - began,
        memory_bytes=max(row["peak_memory_bytes"] for row in rows),
    )


def prepared(options: argparse.Namespace, home: Path) -> dict[str, str]:
    """Three data sets of the same articles: of the usual length, short with few words, and long."""
    from cluster import articles
    from cluster.prepare import prepare

    source = str(articles.path())
    if options.rows:
        source = str(setting.some_of(articles.path(), options.rows, home / "articles.parquet"))
    sizes = {"usual": (160, 8_000), "short": (60, 1_000), "long": (400, 8_000)}
    for name, (tokens, words) in sizes.items():
        prepare([source], str(home / name), text="text", label="label", max_tokens=tokens, vocabulary=words)
    return {name: str(home / name) for name in sizes}


def main() -> None:
    """Plan and run each study, and print both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1500, help="of the bundled articles (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES), metavar="NAME")
    options = parser.parse_args()
    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        data = prepared(options, home)
        print(setting.describe_data(data["usual"]))
        print(
            f"\n{'study':<15}{'plan, s':>9}{'took, s':>9}{'ratio':>7}{'start':>8}{'took':>7}{'plan, MiB':>11}"
            f"{'took, MiB':>11}{'ratio':>7}",
            flush=True,
        )
        ratios = []
        for name in options.only:
            folder = home / "studies" / name
            folder.mkdir(parents=True)
            (folder / "study.yaml").write_text(study_yaml(name, data, folder / "summary"))
            said = plan(folder / "study.yaml")
            took = run(folder / "study.yaml", folder / "summary", folder / "log")
            ratios.append((said.seconds / took.seconds, said.memory_bytes / took.memory_bytes))
            print(
                f"{name:<15}{said.seconds:>9.1f}{took.seconds:>9.1f}{ratios[-1][0]:>7.2f}"
                f"{said.seconds_to_first_update:>8.1f}{took.seconds_to_first_update:>7.1f}"
                f"{said.memory_bytes / 2**20:>11,.0f}{took.memory_bytes / 2**20:>11,.0f}{ratios[-1][1]:>7.2f}",
                flush=True,
            )
    for what, number, allowed in (("minutes", 0, 0.2), ("memory", 1, 0.15)):
        values = [pair[number] for pair in ratios]
        off = max(abs(value - 1) for value in values)
        measured = f"{setting.median_range(values)}, at most {off:.0%} off"
        setting.figure(f"{what}, plan / took, {len(values)} studies", measured, f"within {allowed:.0%}")
    spread = statistics.fmean(abs(pair[0] - 1) for pair in ratios)
    print(f"minutes are {spread:.0%} off in the mean; no trial ran out of memory")


if __name__ == "__main__":
    main()
