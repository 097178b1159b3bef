"""Fifty readers of a running study: do they get errors, and does the study feel them?

    python -m tests.benchmarks.serve_readers [--pairs 3] [--readers 50]

A study runs alone, and with `batchscope serve` on its summary and readers who each ask for its page and two tables
every 5 s, as a browser with the page and a program beside it do. Each side is a command of its own, timed from its
start to its exit; sides alternate, and so does which one goes first. The readers run on the same machine, at the lowest
priority. Where two processors share a core they slow the study all the same, and elsewhere they would not, so what
they take themselves is printed too.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks import setting

STUDY = "watched"
SECONDS_BETWEEN = 5.0
PATHS = (f"/studies/{STUDY}", f"/api/studies/{STUDY}", f"/api/studies/{STUDY}/evaluations?limit=500")
MOST_SECONDS = 30.0


def study_yaml(data: str, summary: Path, epochs: int) -> str:
    """The study (JSON is YAML): 12 trials that evaluate often, so that there is always something new to show."""
    return json.dumps(
        {
            "study": STUDY,
            "data": data,
            "summary": str(summary),
            "task": "classification",
            "model": {"embedding_units": 48, "lstm_units": 32},
            "axes": {"global_batch": [32, 64, 128], "learning_rate": [0.005, 0.02], "seeds": 2},
            "budget": {"epochs": epochs},
            "evaluate_every": {"epochs": 0.25},
        }
    )


def run(data: str, folder: Path, epochs: int, readers: int) -> tuple[float, dict[str, Any]]:
    """The wall seconds of one side, and what its readers met; `readers` may be 0."""
    folder.mkdir()
    (folder / "study.yaml").write_text(study_yaml(data, folder / "summary", epochs))
    command = setting.module("cluster.cli", "run", folder / "study.yaml")
    if not readers:
        return setting.timed(command, log=folder / "log"), {}
    with serving(folder) as (server, url), reading(folder, url, readers) as met:
        seconds = setting.timed(command, log=folder / "log")
        used = server.cpu_times()
        memory = server.memory_info().rss / 2**20
    return seconds, {**met, "serve_cpu_seconds": used.user + used.system, "serve_mebibytes": memory, "seconds": seconds}


@contextmanager
def serving(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """`batchscope serve` on the summary, and its address."""
    command = setting.module("cluster.cli", "serve", "--summary", folder / "summary", "--port", 0)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        try:
            yield psutil.Process(server.pid), re.search(r"http://\S+", line)[0]  # type: ignore[index]
        finally:
            server.terminate()
            if said := server.stderr.read():
                print(f"serve said: {said}")


@contextmanager
def reading(folder: Path, url: str, readers: int) -> Iterator[dict[str, Any]]:
    """Readers in a process of their own until this ends; what they met is there afterwards."""
    stop, found = folder / "stop", folder / "readers.json"
    options = ["--read", url, "--readers", readers, "--stop", stop, "--found", found]
    met: dict[str, Any] = {}
    with subprocess.Popen(setting.module("tests.benchmarks.serve_readers", *options)) as process:
        try:
            yield met
        finally:
            stop.touch()
            process.wait(timeout=2 * MOST_SECONDS)
            met.update(json.loads(found.read_text()))


async def read(url: str, readers: int, stop: Path) -> dict[str, Any]:
    """What readers of the study at `url` meet until the file `stop` is there: statuses, and seconds of each answer."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    statuses: Counter[str] = Counter()
    seconds: list[float] = []
    received = 0

    async def ask(path: str) -> str:
        nonlocal received
        began = time.monotonic()
        try:
            async with asyncio.timeout(MOST_SECONDS):
                reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
                request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                answer = await reader.read(-1)
                writer.close()
        except (OSError, TimeoutError) as problem:
            return type(problem).__name__
        seconds.append(time.monotonic() - began)
        received += len(answer)
        return answer.split(b" ", 2)[1].decode()

    async def watch(number: int) -> None:
        await asyncio.sleep(SECONDS_BETWEEN * number / readers)
        while not stop.exists():
            for path in PATHS:
                statuses[await ask(path)] += 1
            await asyncio.sleep(SECONDS_BETWEEN)

    # The study begins with its first lines in the summary.
    while await ask(PATHS[0]) != "200" and not stop.exists():
        await asyncio.sleep(1)
    seconds.clear()
    received = 0
    await asyncio.gather(*map(watch, range(readers)))
    return {
        "statuses": dict(statuses),
        "waits": seconds,
        "received": received,
        "readers_cpu_seconds": time.process_time(),
    }


def main() -> None:
    """Run the pairs, and print both sides, their ratios, and what the readers met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    setting.add_data_options(parser)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--readers", type=int, default=50)
    for name in ("read", "stop", "found"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        os.nice(19)
        met = asyncio.run(read(options.read, options.readers, Path(options.stop)))
        Path(options.found).write_text(json.dumps(met))
        return
    with setting.temporary_home() as home:
        data = setting.data_folder(options, home)
        print(setting.machine_line())
        print(setting.describe_data(data))
        alone, watched, ratios = [], [], []
        for pair in range(options.pairs):
            sides = {}
            for readers in (options.readers, 0) if pair % 2 else (0, options.readers):
                folder = home / f"{'watched' if readers else 'alone'}-{pair}"
                sides[bool(readers)], met = run(data, folder, options.epochs, readers)
                if readers:
                    describe(met)
            alone.append(sides[False])
            watched.append(sides[True])
            ratios.append(sides[True] / sides[False])
            print(f"pair {pair + 1}: alone {alone[-1]:.1f} s, watched {watched[-1]:.1f} s", flush=True)
        print(f"alone   {setting.median_range(alone, 1)} s")
        print(f"watched {setting.median_range(watched, 1)} s")
        setting.figure(
            f"wall time of a study, with {options.readers} readers / alone", setting.median_range(ratios, 3), "<= 1.03"
        )
        print(f"load average at the end {os.getloadavg()[0]:.1f}")


def describe(met: dict[str, Any]) -> None:
    """What the readers of one run met, and what serving them took."""
    waits = met["waits"] or [0.0]
    errors = sum(count for status, count in met["statuses"].items() if status != "200")
    machine_seconds = met["seconds"] * len(os.sched_getaffinity(0))
    part, readers = met["serve_cpu_seconds"] / machine_seconds, met["readers_cpu_seconds"] / machine_seconds
    setting.figure("processor time of serve, of all that the machine has", f"{part:.1%}", "<= 3 %")
    print(f"processor time of the readers themselves, of all that the machine has: {readers:.1%}")
    setting.figure("answers to the readers that were errors", f"{errors} of {sum(met['statuses'].values())}", "0")
    print(
        f"readers: answers {met['statuses']}; seconds each {statistics.median(waits):.2f} (at most "
        f"{max(waits):.2f}); {met['received'] / 1e6:.0f} MB; serve used {met['serve_cpu_seconds']:.1f} s of "
        f"processor and {met['serve_mebibytes']:.0f} MiB"
    )


if __name__ == "__main__":
    main()
