"""All benchmarks one after another, and their figures in one table: what `make bench` runs.

    python -m tests.benchmarks.suite [NAME ...] [--write]

Each is a process of its own, whose output is shown as it comes. Start on an otherwise idle machine: together they take
about three hours on two cores. `--write` puts the table, with the machine and the date, between the marks of
tests/benchmarks/README.md. Ends with 1 if a benchmark failed; the others are still run.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks import setting

SUITE: dict[str, tuple[str, ...]] = {
    "prepare_speed": (),
    "rows_per_second": ("--threads", "2", "--torch"),
    "workers_waiting": (),
    "plan_accuracy": (),
    "memory_limit": (),
    "whole_study": (),
    "lane_turnaround": (),
    "many_trials": (),
    "head_memory": (),
    "machine_loss": (),
    "cold_cache": (),
    "warm_reading": (),
    "reading_memory": (),
    "summary_at_scale": (),
    "page_size": (),
    "false_alarms": (),
    "looks": (),
    "rate_rules": (),
    "protocol_overhead": ("--pairs", "3"),
    "serve_readers": (),
    "protocol_twice": (),
    "replications": (),
}
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def run(name: str, arguments: tuple[str, ...]) -> tuple[list[str], bool]:
    """The figures of one benchmark (`setting.figure`), and whether it succeeded."""
    command = setting.module(f"tests.benchmarks.{name}", *arguments)
    said = " ".join(["python", *command[1:]])
    print(f"\n## {said}\n", flush=True)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    rows = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("| ") and line.rstrip().endswith(" |"):
                rows.append(f"{line.rstrip()} `{said}` |")
        return rows, process.wait() == 0
    finally:
        setting.end(process)


def table(rows: list[str], began: str) -> str:
    """The figures as Markdown, under the machine that they are of."""
    return "\n".join(
        [began, "", "| figure | measured | goal | command |", "|---|---|---|---|", *rows, "", f"Ended {_now()}."]
    )


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def main() -> None:
    """Run what was asked for, print the table, and write it if wished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*SUITE, []], metavar="NAME", help=", ".join(SUITE))
    parser.add_argument("--write", action="store_true", help="put the table into tests/benchmarks/README.md")
    options = parser.parse_args()
    began, rows, failed = setting.machine_line(), [], []
    for name in options.names or SUITE:
        found, succeeded = run(name, SUITE[name])
        rows += found
        if not succeeded:
            failed.append(name)
    made = table(rows, began)
    print(f"\n{made}")
    if options.write:
        text = README.read_text()
        head, tail = text.split(BEGIN)[0], text.split(END)[1]
        README.write_text(f"{head}{BEGIN}\n{made}\n{END}{tail}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
