"""Peak memory of every attempt of a study with `micro_batch: auto` and `memory_gib`, from global batch 8 to full.

    python -m tests.benchmarks.memory_limit [--memory-gib 1.5] [--tokens 1000] [--first-rows 512]

Generated rows of up to `--tokens` tokens, so that what fits is few of them. The study begins with what a guess of its
memory says fits; `--first-rows` lets it begin with so many instead, which shows how it finds what does. The goal: no
peak above the limit. Each attempt is a row, those that ran out of memory too.
"""

import argparse
from pathlib import Path

import yaml

from tests.benchmarks import setting
from tests.conftest import write_prepared

BATCHES = (8, 32, 128, "full")
ROWS, HELD_OUT = 300, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory-gib", type=float, default=1.5)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--first-rows", type=int, help="begin with so many rows, as after a wrong probe")
    options = parser.parse_args()
    print(setting.machine_line())
    with setting.temporary_home() as home:
        write_prepared(home / "data", train=ROWS, held_out=HELD_OUT, longest=options.tokens)
        ran(home, options)


def ran(home: Path, options: argparse.Namespace) -> None:
    """Run the study and print its attempts."""
    from cluster.cli.run import run_and_watch
    from cluster.study import placement
    from cluster.study.spec import parse
    from cluster.summary import query
    from cluster.summary.store import Summary

    spec = {
        "study": "memory-limit",
        "data": str(home / "data"),
        "summary": str(home / "summary"),
        "task": "classification",
        "axes": {"global_batch": list(BATCHES), "learning_rate": 0.001, "seeds": 1},
        "budget": {"examples": 2 * ROWS},
        "evaluate_every": {"examples": ROWS},
        "resources": {"lanes": 1, "memory_gib": options.memory_gib},
    }
    if options.first_rows:
        begin = placement.rows_at_once
        placement.rows_at_once = lambda resources, fitting=None: begin(resources, options.first_rows)
    status = run_and_watch(parse(yaml.safe_dump(spec), where="memory_limit"))
    attempts = sorted(query.trials(Summary(str(home / "summary"))).to_pylist(), key=lambda row: row["started_at"])
    print("\n| global batch | attempt | state | micro-batch | peak, MiB | of the limit | seconds |")
    print("|---|---|---|---|---|---|---|")
    for row in attempts:
        peak = row["peak_memory_bytes"]
        mib, part = (f"{peak / 2**20:,.0f}", f"{peak / options.memory_gib / 2**30:.2f}") if peak else ("-", "-")
        seconds = (row["ended_at"] - row["started_at"]).total_seconds()
        print(
            f"| {row['global_batch']} | {row['attempt']} | {row['state']} | {row['micro_batch']} | {mib} | {part} | "
            f"{seconds:.0f} |"
        )
    highest = max(row["peak_memory_bytes"] or 0 for row in attempts)
    completed = sum(row["state"] == "COMPLETED" for row in attempts)
    print()
    setting.figure(
        f"peak of any attempt against `memory_gib: {options.memory_gib:g}`, B from 8 to full",
        f"{highest / options.memory_gib / 2**30:.2f}",
        "<= 1",
    )
    print(f"{completed} of {len(BATCHES)} trials completed; exit code {status}")


if __name__ == "__main__":
    main()
