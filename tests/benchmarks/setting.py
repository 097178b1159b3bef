"""What the benchmarks share: the machine's line, the data, a temporary home for everything, and running a command."""

import argparse
import importlib.metadata
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

PACKAGES = ("batchscope", "tensorflow", "keras", "ray", "numpy", "pyarrow")


def machine_line() -> str:
    """Processor, cores, system, versions and date: what a measurement is worth nothing without."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    cores = len(os.sched_getaffinity(0))
    return (
        f"machine: {_cpu_model()}, {cores} cores, {_memory_gib():.0f} GiB, {platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}, {versions}; "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average {os.getloadavg()[0]:.1f}"
    )


def median_range(values: Sequence[float], digits: int = 2) -> str:
    """`median (min-max)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def figure(what: str, measured: str, goal: str = "") -> None:
    """Print a figure as a row of a Markdown table, which `tests.benchmarks.suite` collects."""
    print(f"| {what} | **{measured}** | {goal} |", flush=True)


def add_data_options(parser: argparse.ArgumentParser, *, rows: int | None = None) -> None:
    """`--data`, or what is to be prepared when it is not given."""
    parser.add_argument("--data", metavar="FOLDER", help="prepared data set; the bundled articles if it is left out")
    parser.add_argument("--articles", metavar="FILE", help="without --data: these, not the bundled articles")
    parser.add_argument("--max-tokens", type=int, default=200, help="without --data (default: %(default)s)")
    parser.add_argument(
        "--rows", type=int, default=rows, help="without --data: so many of the bundled articles (default: %(default)s)"
    )


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A folder, removed at the end, where Ray, the cache of shards and the studies of a benchmark live."""
    # A short name: Ray's sockets lie deep within it, and a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="bs-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        # As Ctrl-C does: what was started is stopped and what was written removed.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        os.environ["BATCHSCOPE_CACHE"] = str(home / "cache")
        os.environ["RAY_TMPDIR"] = name
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        os.environ.pop("RAY_ADDRESS", None)
        yield home


def data_folder(options: argparse.Namespace, home: Path) -> str:
    """The prepared data set that was given, or the bundled articles (or some of them), prepared into `home`."""
    if options.data:
        return str(Path(options.data).absolute())
    from cluster import articles
    from cluster.prepare import prepare

    source = Path(options.articles) if options.articles else articles.path()
    if options.rows:
        source = some_of(source, options.rows, home / "articles.parquet")
    prepare([str(source)], str(home / "data"), text="text", label="label", max_tokens=options.max_tokens)
    return str(home / "data")


def describe_data(folder: str) -> str:
    """One line on the data set: rows, tokens, classes."""
    from cluster.stores import store_of
    from trainer.data.manifest import read

    manifest = read(store_of(folder))
    train = manifest.splits["train"]
    rows = ", ".join(f"{split.rows:,} {name}" for name, split in manifest.splits.items())
    return (
        f"data: rows {rows}; mean {train.tokens / train.rows:.0f} tokens, at most {manifest.max_tokens}; "
        f"vocabulary {manifest.vocabulary_size:,}; {len(manifest.label_names)} classes; {manifest.data_hash[:12]}"
    )


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def batchscope(*arguments: object) -> list[str]:
    """The command `batchscope` of this Python's environment."""
    return [str(Path(sys.executable).with_name("batchscope")), *map(str, arguments)]


def timed(command: Sequence[str], *, log: Path, extra: Mapping[str, str] | None = None) -> float:
    """The wall seconds of a command, from its start to its exit; its output goes to `log`.

    When this process is interrupted, the command is asked to stop, then made to, with all that it started.

    Raises:
        SystemExit: it failed; the end of its output is shown.
    """
    with log.open("w") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(extra or {})},
            start_new_session=True,
        )
        try:
            status = process.wait()
        finally:
            end(process)
        seconds = time.monotonic() - started
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}:\n{log.read_text()[-3000:]}")
    return seconds


def output(command: Sequence[str]) -> str:
    """What a command prints on stdout."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a command that leads a session of its own to stop, then make it, with all that it started."""
    if process.poll() is None:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    # The session is the command's own: nothing else is in it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def some_of(source: Path, rows: int, target: Path) -> Path:
    """So many of the articles in `source`, picked at random, written to `target`."""
    import numpy as np
    import pyarrow.parquet as pq

    table = pq.read_table(str(source))
    picked = np.sort(np.random.default_rng(0).permutation(table.num_rows)[:rows])
    pq.write_table(table.take(picked), str(target))
    return target


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(name: str) -> str:
    for distribution in (name, f"{name}-cpu"):
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(distribution)
    return "?"
