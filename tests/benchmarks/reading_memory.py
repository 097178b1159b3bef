"""The memory of a worker that reads, with little and with much data: `python -m tests.benchmarks.reading_memory`.

A fresh process reads one epoch of a data set as `trainer.loop` does (`shares_of`, read ahead by a thread), shuffled
within windows of 8 shards, from an empty cache: it fetches, verifies and decodes each shard itself. Once with 20 shards
and once with 200 of the same size: ten times the data. Printed are the most of Rss and of Anonymous in
`/proc/self/smaps_rollup` (Linux), looked at every 50 updates, what they were before the first row was read (Python,
TensorFlow), and the medians of the ratios (least-most). Rss has the mapped pages of the open shards in it, which the
system takes back when it needs them; Anonymous is what the worker alone holds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from tests.benchmarks import generated, setting
from tests.benchmarks.warm_reading import trial_of

FIELDS = ("Rss", "Anonymous")
GLOBAL_BATCH = 64
SHARDS = (20, 200)


def memory() -> dict[str, int]:
    """This process' bytes now."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    found = {name: int(amount.split()[0]) * 1024 for name, _, amount in (line.partition(":") for line in lines)}
    return {field: found[field] for field in FIELDS}


def read_an_epoch(folder: str, window_rows: int) -> dict[str, dict[str, int]]:
    """The memory before the first row and the most until the last one."""
    import tensorflow as tf

    from trainer.data.manifest import read
    from trainer.data.rows import open_rows, read_ahead
    from trainer.data.share import shares_of
    from trainer.data.store import Folder
    from trainer.order.world import World

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.zeros(1)
    data = Folder(folder)
    rows = open_rows(data, read(data).splits["train"])
    before = most = memory()
    shares = shares_of(trial_of(GLOBAL_BATCH, window_rows), rows, World(), 32, 0)
    for update, _ in enumerate(read_ahead(islice(shares, len(rows) // GLOBAL_BATCH))):
        if update % 50 == 0:
            now = memory()
            most = {field: max(most[field], now[field]) for field in FIELDS}
    return {"before": before, "most": most}


def measure(folder: Path, shards: int, rows_a_shard: int) -> dict[str, dict[str, int]]:
    """Read the data in a process and a cache of its own, and print a line."""
    command = setting.module("tests.benchmarks.reading_memory", "--read", folder, "--rows", rows_a_shard)
    with tempfile.TemporaryDirectory(dir=folder.parent) as cache:
        environment = {**os.environ, "BATCHSCOPE_CACHE": cache}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    amounts = [found[when][field] / 2**20 for field in FIELDS for when in found]
    print(f"{shards:>7}" + "".join(f"{amount:>24.1f}" for amount in amounts), flush=True)
    return found


def main() -> None:
    """Measure and print; with `--read`, be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8_000, help="of a shard (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=5, help="of one process for each (default: %(default)s)")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        json.dump(read_an_epoch(options.read, 8 * options.rows), sys.stdout)
        return
    print(setting.machine_line(), flush=True)
    titles = [f"{field}, {when}, MiB" for field in FIELDS for when in ("before", "most")]
    print(f"{'shards':>7}" + "".join(f"{title:>24}" for title in titles), flush=True)
    with setting.temporary_home() as home:
        folders = {shards: home / f"data-{shards}" for shards in SHARDS}
        for shards, folder in folders.items():
            generated.write_prepared(folder, shards=shards, rows_a_shard=options.rows)
        pairs = [[measure(folders[shards], shards, options.rows) for shards in SHARDS] for _ in range(options.pairs)]
    for field in FIELDS:
        ratios = [many["most"][field] / few["most"][field] for few, many in pairs]
        setting.figure(f"most {field}, {SHARDS[1]} shards / {SHARDS[0]} shards", setting.median_range(ratios), "1")


if __name__ == "__main__":
    main()
