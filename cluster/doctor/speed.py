"""The checks of a card's size: what fits into its memory, and how fast it trains, by a probe of a small study."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.doctor.card import listed_cards
from cluster.doctor.finding import BewareError, Site
from cluster.doctor.training import studied

BATCHES = (8, 32, 128, 512, 2048)
QUARTER = 0.25
SHARES = (1.0, 0.5, QUARTER)
# Below this part of its memory, a host kills processes at the next larger batch.
LEAST_FREE = 0.1
SECONDS_BETWEEN_LOOKS = 0.2


def memory(site: Site) -> str:
    """The largest micro-batch and a process's base, with the whole card and with parts of it."""
    listed_cards()
    parts = []
    for share in SHARES:
        rows = [row for row in _probed(site, share) if row["kind"] == "memory" and row["state"] == "COMPLETED"]
        base = max((row["fit_base_bytes"] or 0.0 for row in rows), default=0.0) / 2**30
        parts.append(f"{max((row['micro_batch'] for row in rows), default=0)} rows on {share:g} ({base:.1f} GiB base)")
    return ", ".join(parts)


def speed(site: Site) -> str:
    """Rows a second by global batch with one lane on a card and with four, and which of them gives more."""
    listed_cards()
    whole = _rows_a_second(_probed(site, 1.0))
    with LeastFree() as host:
        quarters = _rows_a_second(_probed(site, QUARTER))
    parts = []
    for batch, alone in whole.items():
        together = quarters.get(batch, 0.0)
        better = f"gpus_per_worker: {QUARTER if together > alone else 1:g}"
        parts.append(f"B = {batch}: {alone:,.0f} rows/s in one lane, {together:,.0f} in four ({better})")
    parts.append(f"four lanes left {host.least / 2**30:.1f} of the host's {host.total / 2**30:.1f} GiB")
    said = "; ".join(parts)
    if host.least < LEAST_FREE * host.total:
        raise BewareError(f"{said}: let fewer lanes share a card, or take machines with more memory")
    return said


class LeastFree:
    """The least memory of this machine, in bytes, that was free while the block ran.

    Four processes with CUDA beside each other can fill a host of 16 GiB before they fill the card.
    """

    def __init__(self) -> None:
        self.total, self.least = _bytes_of("MemTotal"), _bytes_of("MemAvailable")
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "LeastFree":
        """Begin to look."""
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            self.least = min(self.least, _bytes_of("MemAvailable"))


def _bytes_of(name: str) -> int:
    """A line of Linux' account of this machine's memory (proc_meminfo(5))."""
    [line] = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def _rows_a_second(rows: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """By global batch, of all lanes together; without the batches that ran out of memory."""
    measured = [row for row in rows if row["kind"] == "throughput" and row.get("with_reading")]
    return {row["global_batch"]: row["lanes"] * row["examples_per_second"] for row in measured}


def _probed(site: Site, share: float) -> list[dict[str, Any]]:
    from cluster.measure.probe import probe
    from cluster.study.capacity import this_machine
    from cluster.study.preflight import examine

    spec, _ = studied(site)
    resources = spec.resources.model_copy(update={"gpus_per_worker": share})
    study = examine(spec.model_copy(update={"resources": resources}), this_machine(with_gpus=True))
    return list(probe(study, global_batches=list(BATCHES), micro_batches=None, say=lambda line: None))
