"""All kinds of inputs, and the table of what became of them."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.fuzz import prepared, queries, requests, sources, specs, stored
from tests.fuzz.engine import ACCEPTED, FLAGGED, REFUSED, Kind, Played, Try

KINDS: Mapping[str, Kind] = {
    "specs": specs.studies,
    "fleets": specs.fleets,
    "jsonl": sources.jsonl,
    "csv": sources.csv,
    "tsv": sources.tsv,
    "parquet": sources.parquet,
    "manifests": prepared.manifests,
    "tokenizers": prepared.tokenizers,
    "shards": prepared.shards,
    "caches": prepared.caches,
    "checkpoints": prepared.checkpoints,
    "tables": stored.tables,
    "compacted": stored.compacted,
    "foreign rows": stored.foreign,
    "markers": stored.markers,
    "sql": queries.sql,
    "where": queries.where,
    "requests": requests.requests,
}


class Tally:
    """Counts outcomes by kind."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, played: Played) -> None:
        """Count one input."""
        self.counts[played.kind, played.outcome] += 1

    def __str__(self) -> str:
        """The table, as Markdown."""
        lines = ["| kind | inputs | refused | accepted | flagged |", "|---|---:|---:|---:|---:|"]
        kinds = list(dict.fromkeys(kind for kind, _ in self.counts))
        for kind in [*kinds, "all"]:
            of = [
                sum(
                    count
                    for (name, outcome), count in self.counts.items()
                    if outcome == wanted and kind in (name, "all")
                )
                for wanted in (REFUSED, ACCEPTED, FLAGGED)
            ]
            lines.append(f"| {kind} | {sum(of):,} | {of[0]:,} | {of[1]:,} | {of[2]:,} |")
        return "\n".join(lines)


@contextlib.contextmanager
def opened(names: Sequence[str]) -> Iterator[dict[str, Try]]:
    """The kinds with these names, ready to try inputs, in folders that go with the block."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batchscope-fuzz-")))
        tries = {}
        for name in names:
            own = folder / name.replace(" ", "-")
            own.mkdir()
            tries[name] = stack.enter_context(KINDS[name](own))
        yield tries
