"""The checks of a store and of a cache's disk."""

import os
from pathlib import Path
from typing import Any

import pytest

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
