"""How fast `prepare` is and how much memory it takes: `python tests/benchmarks/prepare_speed.py --articles PATH`.

Prints articles per second and peak resident bytes for PATH (Parquet, JSONL or CSV; the bundled articles if none is
given) and for a generated Parquet file of a million rows. Each is measured in a process of its own, whose peak is
its own and includes Python and all imports. `--group-by` measures the pass over the groups as well.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

MEASURED = """
import json, resource, sys, time
from cluster.prepare import prepare
source, dest, text, label, group_by = sys.argv[1:]
started = time.monotonic()
manifest = prepare([source], dest, text=text, label=label, group_by=group_by or None)
seconds = time.monotonic() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
rows = sum(split.rows for split in manifest.splits.values())
tokens = sum(split.tokens for split in manifest.splits.values())
print(json.dumps(dict(rows=rows, tokens=tokens, seconds=seconds, peak=peak, data_hash=manifest.data_hash)))
"""


def generate(path: Path, rows: int) -> None:
    """Articles of 20 to 120 words from a Zipf-like vocabulary, one word in 50 seen nowhere else."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = np.random.default_rng(0)
    words = np.array([f"word{index}" for index in range(200_000)])
    schema = pa.schema([("text", pa.string()), ("label", pa.string()), ("source", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 10_000):
            count = min(10_000, rows - start)
            lengths = draw.integers(20, 121, size=count)
            picked = words[np.minimum(draw.zipf(1.1, size=lengths.sum()), len(words)) - 1]
            rare = draw.random(len(picked)) < 0.02
            picked[rare] = [f"r{number:x}" for number in draw.integers(2**40, size=rare.sum())]
            texts = [" ".join(part) for part in np.split(picked, np.cumsum(lengths)[:-1])]
            labels = [f"topic {number}" for number in draw.integers(20, size=count)]
            sources = [f"source {number}" for number in draw.integers(rows // 3 + 1, size=count)]
            writer.write_table(pa.table([texts, labels, sources], schema=schema))


def measure(name: str, source: str, text: str, label: str, group_by: str) -> None:
    """Prepare `source` in a process of its own and print one line."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [sys.executable, "-c", MEASURED, source, f"{folder}/out", text, label, group_by]
        output = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout
    result = json.loads(output)
    print(
        f"{name:<12}{result['rows']:>12,} rows{result['tokens']:>16,} tokens{result['seconds']:>9.1f} s"
        f"{result['rows'] / result['seconds']:>10,.0f} articles/s{result['peak'] / 2**20:>8,.0f} MiB peak"
        f"   {result['data_hash'][:12]}",
        flush=True,
    )


def main() -> None:
    """Measure the given file and the generated one."""
    from cluster import articles

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", default=str(articles.path()))
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the generated file; 0 leaves it out")
    parser.add_argument("--group-by", action="store_true", help="also with groups, on the generated file")
    options = parser.parse_args()
    measure("articles", options.articles, options.text, options.label, "")
    if options.rows:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "generated.parquet"
            generate(source, options.rows)
            measure("generated", str(source), "text", "label", "")
            if options.group_by:
                measure("grouped", str(source), "text", "label", "source")


if __name__ == "__main__":
    main()
