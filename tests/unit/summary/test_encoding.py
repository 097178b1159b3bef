"""The summary's files: plain Parquet to any reader, and to ours no bit of them can change without a word."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.summary import query
from cluster.summary.compact import compact
from cluster.summary.encoding import MARK, DamagedError, decode, encode
from cluster.summary.problems import Problem
from cluster.summary.store import Summary
from tests.contracts.test_summary import EVALUATION, TRIAL

FLIPS = 4000
TABLE = pa.table({"text": ["a", None, "b" * 40], "whole": [1, 2, None], "real": [0.5, float("nan"), -1.0]})


def stored(folder: Path) -> Summary:
    """A summary of three trials with four evaluations each."""
    summary = Summary(str(folder))
    for number in range(3):
        key = {"trial_id": f"{number:016x}", "attempt": 1}
        summary.write_trial({**TRIAL, **key, "best_validation_loss": 1 / (number + 1)})
        rows = [{**EVALUATION, **key, "update": 10 * n, "validation_loss": 1 / (n + 1)} for n in range(4)]
        summary.write_evaluations(rows, part=0)
    return summary


def read_by(table: str) -> Callable[[Summary], pa.Table]:
    return {"trials": query.trials, "evaluations": query.evaluations}[table]


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("table", ["trials", "evaluations"])
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, table: str, compacted: bool) -> None:
    summary = stored(tmp_path)
    if compacted:
        compact(summary, "wiki")
    before = read_by(table)(summary)
    name = summary.store.names(f"{table}/")[0]
    content = summary.store.read(name)
    rows, silent = decode(content).rows(), 0
    for bit in random.Random(3).sample(range(8 * len(content)), FLIPS):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert decode(bytes(flipped)).rows().equals(rows), bit
            silent += 1
        except DamagedError:
            continue
    assert silent < FLIPS / 50, "those of the mark itself"
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    summary.store.write(name, bytes(flipped))
    problems: list[Problem] = []
    assert read_by(table)(replace(summary, note=problems.append)).num_rows < before.num_rows
    assert [str(one).startswith(f"{summary.uri}/{name}: left out: its bytes are not") for one in problems] == [True]
    summary.store.write(name, content)
    assert read_by(table)(summary).equals(before)


@pytest.mark.parametrize("cut", [0, 1, 4, 7, 8, 12, 100, 1000, -1, -8, -9, -60])
def test_a_file_that_is_cut_or_no_parquet_is_refused(cut: int) -> None:
    with pytest.raises(DamagedError):
        decode(encode(TABLE)[:cut])
    for other in (b"not Parquet", b"PAR1" + bytes(30) + b"PAR1", MARK, MARK + bytes(32), b"[" * 100_000):
        with pytest.raises(DamagedError):
            decode(other)


@pytest.mark.slow
def test_any_reader_reads_it_and_by_its_pages_checksums(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(encode(TABLE, {"kept": "beside"}))
    assert str(pq.read_table(file, page_checksum_verification=True).to_pydict()) == str(TABLE.to_pydict())
    assert duckdb.sql(f"select sum(whole) from '{file}'").fetchall() == [(3,)]
    whole, seen = file.read_bytes(), 0
    for at in range(4, whole.index(MARK)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            pq.read_table(file, page_checksum_verification=True)
        except (OSError, pa.ArrowInvalid) as problem:
            seen += "could not verify page integrity" in str(problem)
    assert seen > 50


def test_what_is_kept_beside_the_rows(tmp_path: Path) -> None:
    decoded = decode(encode(TABLE, {"kept": "beside"}))
    assert (decoded.metadata("kept"), decoded.metadata("other"), decoded.sealed) == (b"beside", None, True)
    pq.write_table(TABLE, tmp_path / "old.parquet")
    old = decode((tmp_path / "old.parquet").read_bytes())
    assert (old.metadata("kept"), old.sealed) == (None, False)
    assert str(old.rows(["real"]).to_pydict()) == str(TABLE.select(["real"]).to_pydict())


def test_compaction_keeps_a_damaged_file_and_goes_on_beside_it(tmp_path: Path) -> None:
    problems: list[Problem] = []
    summary = replace(stored(tmp_path), note=problems.append)
    name = summary.store.names("trials/")[1]
    content = bytearray(summary.store.read(name))
    content[99] ^= 16
    summary.store.write(name, bytes(content))
    rows = query.trials(summary)
    problems.clear()
    assert compact(summary, "wiki") == 2 + 3
    assert summary.store.names("trials/") == [name, "trials/study=wiki/whole.000000001.parquet"]
    assert [one.name for one in problems] == [name]
    assert query.trials(summary) == rows
    content[99] ^= 16
    summary.store.write(name, bytes(content))
    assert query.trials(summary).num_rows == 3, "put back from a copy it counts again"
    assert compact(summary, "wiki") == 2
    assert query.trials(summary).num_rows == 3


def test_an_older_file_is_read_and_said_to_be_unverified_until_it_is_compacted(tmp_path: Path) -> None:
    problems: list[Problem] = []
    summary = replace(stored(tmp_path), note=problems.append)
    for name in summary.store.names("trials/"):
        pq.write_table(decode(summary.store.read(name)).rows(), tmp_path / name)
    before = query.trials(summary)
    assert before.num_rows == 3
    assert [str(one) for one in problems] == [
        f"{summary.uri}/trials: 3 of 3 files were written by an older version without a checksum: not verified"
    ]
    compact(summary, "wiki")
    # As an older version compacted: one file without a seal.
    [whole] = summary.store.names("trials/")
    pq.write_table(decode(summary.store.read(whole)).rows(), tmp_path / whole)
    assert compact(summary, "wiki") == 1
    problems.clear()
    assert query.trials(summary) == before
    assert problems == []
