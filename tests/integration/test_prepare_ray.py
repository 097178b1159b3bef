"""Prepared data whose files were worked on by Ray Data are what they are without: same manifest, same errors."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.prepare import prepare
from cluster.prepare.on_ray import OnRay, connected
from cluster.prepare.piece import Piece, Tell
from cluster.prepare.progress import Progress, silent
from cluster.prepare.sources import find
from cluster.stores import store_of
from trainer.data.manifest import Manifest, read
from trainer.errors import InputError, NotReadyError

pytestmark = pytest.mark.ray
SIZES = (900, 3, 0, 40, 200, 1)


@pytest.fixture(scope="module")
def ray_of_this_machine(s3_server: str) -> Iterator[OnRay]:
    """A Ray whose workers know the S3 server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", s3_server)
        patch.setenv("AWS_ACCESS_KEY_ID", "fake-key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with connected("local", silent) as work:
            yield work


@pytest.fixture
def work(ray_of_this_machine: OnRay, monkeypatch: pytest.MonkeyPatch) -> OnRay:
    """What `--address local` means: the Ray that is there already."""

    @contextmanager
    def there(address: str, progress: Progress) -> Iterator[OnRay]:
        yield replace(ray_of_this_machine, progress=progress)

    monkeypatch.setattr("cluster.prepare.on_ray.connected", there)
    return ray_of_this_machine


def rows(count: int, seed: int) -> list[dict[str, object]]:
    draw = np.random.default_rng(seed)
    words = np.array([f"word{index}" for index in range(300)])
    return [
        {
            "body": " ".join(draw.choice(words, size=draw.integers(1, 40))) if draw.random() < 0.97 else " ",
            "topic": str(draw.choice(["art", "law", "zoo"])),
            "number": int(draw.integers(4)) + (0.5 if seed == 4 else 0),
            "source": f"s{draw.integers(300)}",
        }
        for _ in range(count)
    ]


def write(folder: Path, ending: str) -> str:
    """Files of very different sizes; the largest is the first."""
    folder.mkdir()
    names = ("body", "topic", "number", "source")
    schema = pa.schema([("body", pa.string()), ("topic", pa.string()), ("number", pa.float64()), ("source", "string")])
    for index, size in enumerate(SIZES):
        path, data = folder / f"{index}.{ending}", rows(size, index)
        if ending == "parquet":
            pq.write_table(pa.Table.from_pylist(data, schema=schema), path)
        elif ending == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in data))
        else:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(data)
    return str(folder)


def both(source: str, dest: str, **options: Any) -> tuple[Manifest, Manifest]:
    options = {"text": "body", "label": "topic", "skip_empty": True, "batch_rows": 50} | options
    return (
        prepare([source], f"{dest}-here", **options),
        prepare([source], f"{dest}-on-ray", address="local", **options),
    )


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("parquet", {"group_by": "source", "max_tokens": 20, "vocabulary": 100}),
        ("parquet", {"label": "number"}),
        ("jsonl", {"split_seed": 3}),
        ("csv", {"label": "number", "task": "classification", "group_by": "source"}),
    ],
)
def test_the_data_set_is_the_one_that_is_made_without_ray(
    work: OnRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, options: dict[str, Any]
) -> None:
    monkeypatch.setattr("cluster.prepare.shards.ROW_GROUP_ROWS", 120)
    here, on_ray = both(write(tmp_path / "in", ending), str(tmp_path / "out"), shard_bytes=1, **options)
    # All of it: counts, histograms, vocabulary, and the bytes of every shard.
    assert on_ray == here
    assert len(here.splits["train"].shards) > 3
    assert here.skipped_rows > 5
    for file in (tmp_path / "out-here").iterdir():
        assert (tmp_path / "out-on-ray" / file.name).read_bytes() == file.read_bytes()


def test_from_s3_to_s3(work: OnRay, tmp_path: Path, bucket: str) -> None:
    for file in Path(write(tmp_path / "in", "jsonl")).iterdir():
        store_of(f"s3://{bucket}/in").write(file.name, file.read_bytes())
    here, on_ray = both(f"s3://{bucket}/in", f"s3://{bucket}/out")
    assert on_ray == here == read(store_of(f"s3://{bucket}/out-on-ray"))


def test_the_error_counts_all_rows_and_names_them_in_the_order_of_the_files(work: OnRay, tmp_path: Path) -> None:
    source = Path(write(tmp_path / "in", "jsonl"))
    for name in ("0.jsonl", "1.jsonl"):
        with (source / name).open("a") as file:
            file.write('{"body": "x", "topic": null}\n')
    messages = []
    for address in (None, "local"):
        with pytest.raises(InputError) as caught:
            prepare([str(source)], str(tmp_path / "out"), text="body", label="topic", skip_empty=True, address=address)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[1].startswith("label 'topic' is missing in 2 of 1,146 rows")
    first, second = (messages[1].index(f"{source}/{name}.jsonl line ") for name in "01")
    assert first < second
    assert f"{source}/0.jsonl line 901" in messages[1]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_results_come_in_the_order_of_the_pieces_and_progress_with_them(work: OnRay, tmp_path: Path) -> None:
    pieces = [Piece(source=source) for source in find([write(tmp_path / "in", "csv")])]
    shares: list[float] = []

    def slow_at_first(piece: Piece, tell: Tell) -> Iterator[str]:
        time.sleep(2.0 if piece.source.name.endswith("0.csv") else 0.0)
        yield from (f"{piece.source.name} {index}" for index in range(3))

    watched = replace(work, progress=lambda stage, share: shares.append(share))
    results = list(watched.each("working", slow_at_first, pieces))
    assert results == [f"{piece.source.name} {index}" for piece in pieces for index in range(3)]
    assert len(shares) == len(pieces)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_machine_that_does_not_see_a_source_says_so(work: OnRay, tmp_path: Path) -> None:
    source = Path(write(tmp_path / "in", "csv"))
    pieces = [Piece(source=source) for source in find([str(source)])]
    (source / "3.csv").unlink()

    def reads(piece: Piece, tell: Tell) -> Iterator[int]:
        from cluster.prepare.sources import opened

        with opened(piece.source):
            yield 1

    with pytest.raises(InputError, match=r"3\.csv is not on the machine .*: with --address every machine"):
        list(work.each("working", reads, pieces))


@pytest.mark.timeout(200)
def test_a_worker_that_dies_is_no_bug_and_no_traceback(work: OnRay, tmp_path: Path) -> None:
    pieces = [Piece(source=source) for source in find([write(tmp_path / "in", "csv")])][:1]

    def dies(piece: Piece, tell: Tell) -> Iterator[int]:
        yield 1
        os._exit(1)

    with pytest.raises(NotReadyError, match="the Ray cluster at local could not do the work") as caught:
        list(work.each("working", dies, pieces))
    assert "\n" not in str(caught.value)


def test_machines_that_lack_our_code_are_not_ready_and_a_bug_of_ours_stays_one(
    work: OnRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [Piece(source=source) for source in find([write(tmp_path / "in", "csv")])][:1]
    here_only = ModuleType("here_only")
    exec("def task(piece, tell):\n    yield 1\n", here_only.__dict__)
    monkeypatch.setitem(sys.modules, "here_only", here_only)
    with pytest.raises(NotReadyError, match=r"No module named 'here_only'.*: check its machines"):
        list(work.each("working", here_only.task, pieces))

    def fails(piece: Piece, tell: Tell) -> Iterator[int]:
        yield 1
        raise KeyError("a bug of ours")

    with pytest.raises(KeyError, match="a bug of ours"):
        list(work.each("working", fails, pieces))


def test_the_command_says_on_stdout_what_it_wrote_and_nothing_else(tmp_path: Path) -> None:
    source = write(tmp_path / "in", "parquet")
    arguments = [source, str(tmp_path / "out"), "--text", "body", "--label", "topic", "--skip-empty"]
    command = [sys.executable, "-c", "from cluster.cli import main; main()", "prepare", *arguments]
    done = subprocess.run([*command, "--address", "local"], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.partition("\n\n")[0].splitlines())
    # `left out` are the empty texts.
    assert list(lines)[:6] == ["read", "left", "duplicates", "prepared", "rows", "labels"]
    assert lines["data_hash"] == read(store_of(str(tmp_path / "out"))).data_hash
