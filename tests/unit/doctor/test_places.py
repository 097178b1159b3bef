"""The checks of a store and of a cache's disk."""

import os
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cluster.doctor import places
from cluster.doctor.finding import BewareError, NotHereError, Site, WrongError
from trainer.data.store import Folder


def test_a_store_that_creates_once_is_passed_and_left_as_it_was(tmp_path: Path) -> None:
    assert "created once, read, deleted" in places.store(Site(tmp_path, summary=str(tmp_path / "summary")))
    assert list((tmp_path / "summary").iterdir()) == []
    with pytest.raises(NotHereError, match="--summary"):
        places.store(Site(tmp_path))


def test_a_store_that_overwrites_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(self: Any, name: str, content: bytes) -> None:
        self.write(name, content)

    monkeypatch.setattr(Folder, "create", create)
    with pytest.raises(WrongError, match="two drivers could overwrite each other"):
        places.store(Site(tmp_path, summary=str(tmp_path / "summary")))


@mock_aws
def test_a_bucket_is_tried_and_where_its_credentials_are_from_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "pretend")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="here")
    s3.create_bucket(Bucket="away", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert places.store(Site(tmp_path, summary="s3://here/summary")).endswith("credentials: env; region us-east-1")
    with pytest.raises(BewareError, match=r"the bucket is in eu-west-1, this process asks for us-east-1"):
        places.store(Site(tmp_path, summary="s3://away/summary"))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "pretend")
    with pytest.raises(BewareError, match=r"the credentials \(env\) are temporary, and nothing renews them"):
        places.store(Site(tmp_path, summary="s3://here/summary"))


def test_a_partition_is_on_its_disk(tmp_path: Path) -> None:
    number = os.stat(tmp_path).st_dev
    assert places.disk_of(tmp_path, tmp_path) == "an unknown disk"
    partition = tmp_path / "devices" / "sda" / "sda1"
    (partition.parent / "queue").mkdir(parents=True)
    partition.mkdir()
    (partition / "partition").write_text("1")
    (partition.parent / "queue" / "rotational").write_text("1\n")
    (tmp_path / "dev" / "block").mkdir(parents=True)
    (tmp_path / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}").symlink_to(partition)
    assert places.disk_of(tmp_path, tmp_path) == "sda (rotating)"


def test_a_cache_on_a_rotating_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "disk_of", lambda folder: "nvme0n1")
    assert "random reads a second" in places.cache(Site(tmp_path))
    assert list((tmp_path / "cache").iterdir()) == []
    monkeypatch.setattr(places, "disk_of", lambda folder: "sda (rotating)")
    with pytest.raises(BewareError, match="solid-state"):
        places.cache(Site(tmp_path))
