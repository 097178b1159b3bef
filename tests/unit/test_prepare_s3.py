"""Prepared data from and to S3, against a local server that speaks S3."""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs as pafs

from cluster.prepare import prepare
from trainer.errors import InputError, NotReadyError
from trainer.manifest import read

ROWS = [{"body": f"text number {index}", "topic": f"t{index % 2}"} for index in range(100)]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What to append to an `s3://` address to reach the server, which holds the bucket `articles`."""
    from moto.server import ThreadedMotoServer

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="articles")
    yield f"?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    server.stop()


def test_from_s3_to_s3(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filesystem, _ = pafs.FileSystem.from_uri(f"s3://articles/{s3}")
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, "articles/in/a.parquet", filesystem=filesystem)
    with filesystem.open_output_stream("articles/lines/a.jsonl") as file:
        file.write("".join(json.dumps(row) + "\n" for row in ROWS).encode())
    pq.write_table(table, tmp_path / "a.parquet")
    local = prepare([str(tmp_path / "a.parquet")], str(tmp_path / "out"), text="body", label="topic")

    order: list[str] = []
    copy = pafs.copy_files

    def copied(source: str, destination: str, **options: object) -> None:
        order.append(Path(destination).name)
        copy(source, destination, **options)

    monkeypatch.setattr(pafs, "copy_files", copied)
    dest = f"s3://articles/prepared/wiki{s3}"
    for source in ("in", "lines"):
        remote = prepare([f"s3://articles/{source}{s3}"], f"s3://articles/{source}-out{s3}", text="body", label="topic")
        assert remote.data_hash == local.data_hash
    assert order[-1] == "manifest.json"
    assert len(order) == len(set(order)) * 2
    assert read(f"s3://articles/in-out{s3}") == local

    prepare([f"s3://articles/in{s3}"], dest, text="body", label="topic")
    with pytest.raises(InputError, match="already holds prepared data"):
        prepare([f"s3://articles/in{s3}"], dest, text="body", label="topic")

    def fails_at_the_manifest(source: str, destination: str, **options: object) -> None:
        if destination.endswith("manifest.json"):
            raise OSError("the network is gone")
        copy(source, destination, **options)

    monkeypatch.setattr(pafs, "copy_files", fails_at_the_manifest)
    with pytest.raises(NotReadyError, match="the network is gone"):
        prepare([f"s3://articles/in{s3}"], f"s3://articles/broken{s3}", text="body", label="topic")
    assert not filesystem.get_file_info(pafs.FileSelector("articles/broken", allow_not_found=True))

    with pytest.raises(InputError, match=r"source s3://articles/none.* does not exist"):
        prepare([f"s3://articles/none{s3}"], f"s3://articles/x{s3}", text="body", label="topic")
