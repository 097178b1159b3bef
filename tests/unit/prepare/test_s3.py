"""Prepared data from and to S3, against a local server that speaks S3."""

import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.prepare import prepare
from cluster.prepare.publish import CLAIM, MANIFEST, refuse_used, staging
from cluster.prepare.sources import find, opened
from cluster.stores import store_of
from cluster.stores.bucket import Bucket
from trainer.data.manifest import Manifest, read
from trainer.data.store import Store
from trainer.errors import InputError, NotReadyError

ROWS = [{"body": f"text number {index}", "topic": f"t{index % 2}"} for index in range(100)]
PREPARED = ["manifest.json", "test-00000.parquet", "tokenizer.json", "train-00000.parquet", "validation-00000.parquet"]


@pytest.fixture
def store(bucket: str) -> Store:
    """A bucket with the rows in one Parquet file, in two, in JSONL and in CSV, among notes."""
    store = store_of(f"s3://{bucket}")
    for name, rows in [("in/a", ROWS), ("in-two/a", ROWS[:40]), ("in-two/b/c", ROWS[40:])]:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        store.write(f"{name}.parquet", sink.getvalue().to_pybytes())
    store.write("lines/a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS).encode())
    store.write("fields/a.csv", "".join(f"{row['body']},{row['topic']}\n" for row in [*HEADER, *ROWS]).encode())
    store.write("in-two/README.md", b"notes are passed over")
    store.write("in-two/_SUCCESS", b"")
    return store


HEADER = [{"body": "body", "topic": "topic"}]


@pytest.fixture
def local(tmp_path: Path) -> Manifest:
    """What the rows give on a disk."""
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    return prepare([str(tmp_path / "a.parquet")], str(tmp_path / "out"), text="body", label="topic")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are made meanwhile."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("source", ["in", "in/", "in/a.parquet", "in-two", "lines", "fields/a.csv"])
def test_from_s3_to_s3_is_what_it_is_on_a_disk(store: Store, local: Manifest, temporary: Path, source: str) -> None:
    dest = f"{store.uri}/prepared/wiki"
    remote = prepare([f"{store.uri}/{source}"], dest, text="body", label="topic")
    assert remote.data_hash == local.data_hash
    assert read(store_of(dest)) == remote
    if "two" not in source:
        assert remote == local
    assert store_of(dest).names() == PREPARED
    assert not list(temporary.iterdir())


def test_one_copy_is_on_the_disk_at_a_time(store: Store, temporary: Path) -> None:
    first, second = find([f"{store.uri}/in-two"])
    assert [file.name for file in (first, second)] == [
        f"{store.uri}/in-two/a.parquet",
        f"{store.uri}/in-two/b/c.parquet",
    ]
    with opened(first) as path:
        assert path.stat().st_size == first.bytes
        assert path.is_relative_to(temporary)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        ("none", "source s3://.*/none does not exist"),
        ("i", "source s3://.*/i does not exist"),
        ("in-two/README.md", r"README\.md has the unknown ending '\.md'"),
    ],
)
def test_sources_that_cannot_be(store: Store, source: str, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern):
        find([f"{store.uri}/{source}"])


def test_an_empty_bucket_and_a_missing_one(bucket: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find([f"s3://{bucket}"])
    with pytest.raises(NotReadyError, match="NoSuchBucket"):
        find([f"s3://{bucket}-none/a"])


def test_an_object_that_goes_away_is_named(store: Store) -> None:
    (file,) = find([f"{store.uri}/in"])
    store.delete("in/a.parquet")
    with pytest.raises(InputError, match=r"source s3://.*/in/a\.parquet is no longer there"), opened(file):
        pass


def test_a_bad_row_is_named_by_the_object_and_nothing_is_put(store: Store, temporary: Path) -> None:
    store.write("lines/b.jsonl", b'{"body": "x", "topic": null}\n')
    with pytest.raises(InputError, match=r"s3://.*/lines/b\.jsonl line 1: label 'topic' is missing"):
        prepare([f"{store.uri}/lines"], f"{store.uri}/out", text="body", label="topic")
    assert not store.names("out/")
    assert not list(temporary.iterdir())


def test_shards_leave_the_disk_when_they_are_full_and_the_manifest_is_put_last(
    store: Store, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    left: list[int] = []
    write = Bucket.write

    def watched(self: Bucket, name: str, content: bytes) -> None:
        order.append(name)
        left.append(len(list(temporary.glob("batchscope-prepare-*/*.parquet"))))
        write(self, name, content)

    monkeypatch.setattr(Bucket, "write", watched)
    monkeypatch.setattr("cluster.prepare.shards.ROW_GROUP_ROWS", 10)
    manifest = prepare(
        [f"{store.uri}/in"], f"{store.uri}/out", text="body", label="topic", shard_bytes=1, batch_rows=10
    )
    assert len(manifest.splits["train"].shards) > 4
    assert (order[0], order[-1]) == ("tokenizer.json", MANIFEST)
    assert max(left) <= 3
    assert store.names("out/") == sorted(f"out/{name}" for name in order)


@pytest.mark.parametrize("failing", ["tokenizer.json", "test-00000.parquet", MANIFEST])
def test_what_was_put_is_taken_away_when_it_fails(
    store: Store, temporary: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    write = Bucket.write

    def fails(self: Bucket, name: str, content: bytes) -> None:
        write(self, name, content)
        if name == failing:
            raise NotReadyError("the network is gone")

    monkeypatch.setattr(Bucket, "write", fails)
    with pytest.raises(NotReadyError, match="the network is gone"):
        prepare([f"{store.uri}/in"], f"{store.uri}/out", text="body", label="topic")
    assert not store.names("out/")
    assert not list(temporary.iterdir())


def test_a_data_set_that_is_there_is_refused_before_any_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare([f"{store.uri}/in"], f"{store.uri}/out", text="body", label="topic")
    before = store.names()
    monkeypatch.setattr("cluster.prepare.dataset.find", None)
    with pytest.raises(InputError, match="already holds prepared data"):
        prepare([f"{store.uri}/in"], f"{store.uri}/out", text="body", label="topic")
    with pytest.raises(InputError, match=r"is not empty \(it holds a\.jsonl\) and is not prepared data"):
        prepare([f"{store.uri}/in"], f"{store.uri}/lines", text="body", label="topic")
    assert store.names() == before


def test_of_two_into_one_place_the_second_stops_and_the_first_is_whole(store: Store) -> None:
    dest = f"{store.uri}/out"
    within = []

    def another(stage: str, share: float) -> None:
        if stage == "writing tokens" and not within:
            within.append(stage)
            with pytest.raises(InputError, match="is being written by another `prepare`"), staging(dest):
                pass

    manifest = prepare([f"{store.uri}/in"], dest, text="body", label="topic", progress=another)
    assert within
    assert read(store_of(dest)) == manifest
    assert store_of(dest).names() == PREPARED


def test_one_that_comes_after_the_other_is_done_touches_nothing(store: Store) -> None:
    dest = f"{store.uri}/out"
    done = []

    def another(stage: str, share: float) -> None:
        if not done:
            done.append(prepare([f"{store.uri}/lines"], dest, text="body", label="topic"))

    refuse_used(dest)
    with pytest.raises(InputError, match="already holds prepared data"):
        prepare([f"{store.uri}/in"], dest, text="body", label="topic", progress=another)
    assert read(store_of(dest)) == done[0]
    assert store_of(dest).names() == PREPARED
    assert CLAIM not in store_of(dest).names()
