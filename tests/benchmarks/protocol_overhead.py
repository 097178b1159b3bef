"""What the protocol costs beside its trials: the wall time of a study against a plain grid of as many, as long trials.

    python -m tests.benchmarks.protocol_overhead [--pairs 3]

The protocol: 3 batch sizes x 4 rates on one screen seed, then the best rate of each on 4 others (24 trials); the grid:
3 batch sizes x 4 rates x 2 seeds (24 trials). Every batch size has 8 trials on both sides, of the same updates: the
learning rate changes no speed. Each side is a command of its own, timed from its start to its exit; sides alternate,
and so does which one goes first.
"""

import argparse
import json
from pathlib import Path

from tests.benchmarks import setting

BATCHES, RATES, TRIALS = [32, 64, 128], 4, 24


def study_yaml(name: str, data: str, summary: Path) -> str:
    """One side's study (JSON is YAML)."""
    protocol = {"protocol": {"extensions": 0}} if name == "protocol" else {}
    rate = {"around": 0.01, "at": 32, "rule": "sqrt", "points": RATES}
    return json.dumps(
        {
            "study": name,
            "data": data,
            "summary": str(summary),
            "task": "classification",
            "model": {"embedding_units": 48, "lstm_units": 32},
            "axes": {"global_batch": BATCHES, "learning_rate": rate, "seeds": 4 if protocol else 2},
            "budget": {"epochs": 3},
            **protocol,
        }
    )


def run(name: str, data: str, home: Path) -> float:
    """The wall seconds of one side, all of whose trials must have completed."""
    from cluster.summary import query
    from cluster.summary.store import Summary

    folder = home / f"{name}-{len(list(home.glob(name + '-*')))}"
    folder.mkdir()
    (folder / "study.yaml").write_text(study_yaml(name, data, folder / "summary"))
    seconds = setting.timed(setting.batchscope("run", folder / "study.yaml"), log=folder / "log")
    states = query.states(query.trials(Summary(str(folder / "summary")), name))
    if states["completed"] != TRIALS:
        raise SystemExit(f"{states} for {TRIALS} trials")
    return seconds


def main() -> None:
    """Run the pairs, and print both sides and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    setting.add_data_options(parser)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    with setting.temporary_home() as home:
        data = setting.data_folder(options, home)
        print(setting.machine_line())
        print(setting.describe_data(data))
        seconds: dict[str, list[float]] = {"protocol": [], "grid": []}
        for pair in range(options.pairs):
            for name in ("protocol", "grid") if pair % 2 else ("grid", "protocol"):
                seconds[name].append(run(name, data, home))
        ratios = [ours / plain for ours, plain in zip(seconds["protocol"], seconds["grid"], strict=True)]
        for name, values in seconds.items():
            print(f"{name:<9} {setting.median_range(values, 1)} s for {TRIALS} trials")
        setting.figure(f"wall time, protocol / grid of {TRIALS} trials", setting.median_range(ratios), "<= 1.05")


if __name__ == "__main__":
    main()
