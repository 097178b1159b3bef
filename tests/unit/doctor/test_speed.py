"""The checks of a card's size and of layouts say what a probe or a proof found."""

import contextlib
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.doctor import speed, training
from cluster.doctor.finding import BewareError, NotHereError, Site, WrongError

SITE = Site(Path())
GIB = 2**30


def rows_on(share: float) -> list[dict[str, Any]]:
    """A probe's rows: on a part of a card fewer rows fit, and what ran out of memory does not count."""
    fits = {"kind": "memory", "state": "COMPLETED", "fit_base_bytes": 1.5 * GIB}
    return [
        *({**fits, "micro_batch": rows} for rows in (64, int(1024 * share))),
        {"kind": "memory", "state": "OUT_OF_MEMORY", "micro_batch": 4096, "fit_base_bytes": None},
        measured(8, 512.4 if share == 1 else 300.0, share),
        measured(512, 12345.6 * share * 0.9 if share < 1 else 12345.6, share),
        # Without reading, as a probe measures too, and a batch that ran out of memory.
        {**measured(8, 1e6, share), "with_reading": 0},
        {"kind": "throughput", "global_batch": 32, "lanes": int(1 / share)},
    ]


def measured(batch: int, rows_a_second: float, share: float) -> dict[str, Any]:
    """The speed of one of the lanes that share a card."""
    common = {"kind": "throughput", "with_reading": 1, "lanes": int(1 / share)}
    return {**common, "global_batch": batch, "examples_per_second": rows_a_second}


def test_what_fits_and_how_fast_it_is_on_a_card_and_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "listed_cards", lambda: ["NVIDIA L4"])
    monkeypatch.setattr(speed, "_probed", lambda site, share: rows_on(share))
    assert speed.memory(SITE) == (
        "1024 rows on 1 (1.5 GiB base), 512 rows on 0.5 (1.5 GiB base), 256 rows on 0.25 (1.5 GiB base)"
    )
    monkeypatch.setattr(speed, "_bytes_of", {"MemTotal": 16 * GIB, "MemAvailable": 5 * GIB}.__getitem__)
    assert speed.speed(SITE) == (
        "B = 8: 512 rows/s in one lane, 1,200 in four (gpus_per_worker: 0.25); "
        "B = 512: 12,346 rows/s in one lane, 11,111 in four (gpus_per_worker: 1); "
        "four lanes left 5.0 of the host's 16.0 GiB"
    )


def test_this_machine_has_memory_of_which_some_is_free() -> None:
    with speed.LeastFree() as host:
        pass
    assert 0 < host.least < host.total


def test_a_host_that_four_lanes_nearly_fill_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    free = 12 * GIB
    looked = threading.Event()

    def memory(name: str) -> int:
        if free == GIB:
            looked.set()
        return free if name == "MemAvailable" else 16 * GIB

    def probed(site: Site, share: float) -> list[dict[str, Any]]:
        nonlocal free
        if share < 1:
            free = GIB
            assert looked.wait(30)
            free = 12 * GIB
        return rows_on(share)

    monkeypatch.setattr(speed, "listed_cards", lambda: ["NVIDIA L4"])
    monkeypatch.setattr(speed, "_probed", probed)
    monkeypatch.setattr(speed, "_bytes_of", memory)
    with pytest.raises(BewareError, match=r"four lanes left 1\.0 of the host's 16\.0 GiB: let fewer lanes share"):
        speed.speed(SITE)


@pytest.mark.parametrize("check", [speed.memory, speed.speed])
def test_without_a_card_none_of_it_is_passed(check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHereError, match="no GPU here"):
        check(SITE)


def test_layouts_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    proof = SimpleNamespace(passed=True, largest=2e-7, tolerance=1e-5)
    monkeypatch.setattr(training, "studied", lambda site: (SimpleNamespace(data="data"), None))
    monkeypatch.setattr("cluster.lanes.check.check", lambda trials, data: [proof])
    monkeypatch.setattr("cluster.process.ray_session.local", lambda **_: contextlib.nullcontext())
    assert training.layouts(SITE) == "64 rows in every layout: at most 2.0e-07 apart, 1e-05 is allowed"
    proof.passed, proof.largest = False, 3e-3
    with pytest.raises(WrongError, match=r"layouts differ by 3\.0e-03, 1e-05 is allowed"):
        training.layouts(SITE)
