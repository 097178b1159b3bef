"""How long a study of one tiny trial takes from the command to the prompt: this checkout against another, in pairs.

    python -m tests.benchmarks.study_start --other FOLDER [--pairs 3]

FOLDER is another checkout (`git worktree add`) with an environment of its own in .venv. Each side prepares 300 rows of
its own, runs the study once to warm the disk's cache, and then both run it anew in turn; the side that goes first
alternates. A trial makes two updates, so this is what starts and ends around it: the driver, Ray, a lane, its worker.
"""

import argparse
import subprocess
import time
from pathlib import Path

from tests.benchmarks import setting

ROOT = Path(__file__).parents[2]
STUDY = """
study: start{number}
data: data
summary: summary
task: classification
model: {{embedding_units: 4, lstm_units: 4}}
axes: {{global_batch: [16], learning_rate: 0.01, seeds: 1}}
budget: {{updates: 2}}
resources: {{lanes: 1, workers: 1}}
"""


def prepared(checkout: Path, folder: Path) -> None:
    """Rows of words that their label decides."""
    rows = [f"{'good' if row % 2 else 'bad'} word{row % 7} word{row % 11},{row % 2}" for row in range(300)]
    folder.mkdir()
    (folder / "rows.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    _call(checkout, folder, "prepare", "rows.csv", "data", "--text", "text", "--label", "label")


def seconds(checkout: Path, folder: Path, number: int) -> float:
    """The seconds of a study of that number."""
    (folder / "study.yaml").write_text(STUDY.format(number=number))
    began = time.monotonic()
    _call(checkout, folder, "run", "study.yaml")
    return time.monotonic() - began


def _call(checkout: Path, folder: Path, *arguments: str) -> None:
    command = [str(checkout / ".venv/bin/batchscope"), *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def main() -> None:
    """Print both sides and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, required=True, metavar="FOLDER", help="the checkout to compare with")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    print(setting.machine_line())
    sides = {"here": ROOT, "other": options.other.resolve()}
    found: dict[str, list[float]] = {name: [] for name in sides}
    with setting.temporary_home() as home:
        for name, checkout in sides.items():
            prepared(checkout, home / name)
        for number in range(options.pairs + 1):
            for name in sorted(sides, reverse=number % 2 == 1):
                took = seconds(sides[name], home / name, number)
                if number:
                    found[name].append(took)
    for name in sides:
        print(f"{name:5}  {setting.median_range(found[name])} s")
    ratios = [mine / theirs for mine, theirs in zip(found["here"], found["other"], strict=True)]
    setting.figure("seconds of a tiny study, here / other", setting.median_range(ratios), "<= 1")


if __name__ == "__main__":
    main()
