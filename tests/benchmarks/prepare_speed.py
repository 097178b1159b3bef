"""How fast `prepare` is and how much memory it takes: `python -m tests.benchmarks.prepare_speed --articles PATH`.

Prints articles per second and peak resident bytes for PATH (Parquet, JSONL or CSV; the bundled articles if none is
given) and for generated articles in several Parquet files, these without Ray and with `--address local`, both in the
same run. Each is measured in a process of its own, whose peak is its own (with Ray, the driver's) and includes Python
and all imports. The seconds are of the whole call: with Ray they include its start and end, which are also measured
alone. `--group-by` measures the pass over the groups as well.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.setting import machine_line

MEASURED = """
import json, resource, sys, time
from cluster.prepare import prepare
source, dest, text, label, group_by, address = sys.argv[1:]
started = time.monotonic()
manifest = prepare([source], dest, text=text, label=label, group_by=group_by or None, address=address or None)
seconds = time.monotonic() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
rows = sum(split.rows for split in manifest.splits.values())
tokens = sum(split.tokens for split in manifest.splits.values())
print(json.dumps(dict(rows=rows, tokens=tokens, seconds=seconds, peak=peak, data_hash=manifest.data_hash)))
"""
RAY_ALONE = """
import time
from cluster.prepare.on_ray import connected
from cluster.prepare.progress import silent
started = time.monotonic()
with connected("local", silent):
    pass
print(time.monotonic() - started)
"""


def generate(folder: Path, rows: int, files: int) -> None:
    """Articles of 20 to 120 words from a Zipf-like vocabulary, one word in 50 seen nowhere else."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = np.random.default_rng(0)
    words = np.array([f"word{index}" for index in range(200_000)])
    schema = pa.schema([("text", pa.string()), ("label", pa.string()), ("source", pa.string())])
    for file in range(files):
        with pq.ParquetWriter(folder / f"{file:02}.parquet", schema) as writer:
            for start in range(file * rows // files, (file + 1) * rows // files, 10_000):
                count = min(10_000, (file + 1) * rows // files - start)
                lengths = draw.integers(20, 121, size=count)
                picked = words[np.minimum(draw.zipf(1.1, size=lengths.sum()), len(words)) - 1]
                rare = draw.random(len(picked)) < 0.02
                picked[rare] = [f"r{number:x}" for number in draw.integers(2**40, size=rare.sum())]
                texts = [" ".join(part) for part in np.split(picked, np.cumsum(lengths)[:-1])]
                labels = [f"topic {number}" for number in draw.integers(20, size=count)]
                sources = [f"source {number}" for number in draw.integers(rows // 3 + 1, size=count)]
                writer.write_table(pa.table([texts, labels, sources], schema=schema))


def run(code: str, *arguments: str) -> str:
    """What `code` prints in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def measure(name: str, source: str, text: str, label: str, group_by: str, address: str) -> None:
    """Prepare `source` in a process of its own and print one line."""
    with tempfile.TemporaryDirectory() as folder:
        result = json.loads(run(MEASURED, source, f"{folder}/out", text, label, group_by, address))
    print(
        f"{name:<20}{result['rows']:>12,} rows{result['tokens']:>16,} tokens{result['seconds']:>9.1f} s"
        f"{result['rows'] / result['seconds']:>10,.0f} articles/s{result['peak'] / 2**20:>8,.0f} MiB peak"
        f"   {result['data_hash'][:12]}",
        flush=True,
    )


def main() -> None:
    """Measure the given file, and the generated ones without Ray and with it."""
    from cluster import articles

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", default=str(articles.path()))
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--rows", type=int, default=300_000, help="generated articles (default: %(default)s)")
    parser.add_argument("--files", type=int, default=8, help="in so many files (default: %(default)s)")
    parser.add_argument("--group-by", action="store_true", help="also with groups")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    measure("articles", options.articles, options.text, options.label, "", "")
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), options.rows, options.files)
        for group_by in ["", "source"] if options.group_by else [""]:
            for address in ("", "local"):
                name = f"{'grouped' if group_by else 'generated'}{', on Ray' if address else ''}"
                measure(name, folder, "text", "label", group_by, address)
    print(f"Ray's start and end alone: {float(run(RAY_ALONE)):.1f} s")


if __name__ == "__main__":
    main()
