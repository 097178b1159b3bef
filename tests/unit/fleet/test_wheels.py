"""The wheelhouse of a fleet: filled once, installed from without an index, never with other files than the lock's."""

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.fleet import render, spec
from cluster.fleet.node import wheels

BUCKET, REGION = "our-bucket", "us-east-1"
# A bucket as a folder: `aws s3 ls PLACE`, and `aws s3 cp` between a file, or `-`, and a place.
AWS = """#!/bin/sh
path() { echo "$FOLDER/${1#s3://}"; }
echo "$*" >> "$FOLDER/asked"
case "$2 $3" in
    "ls "*) test -e "$(path "$3")" ;;
    "cp s3://"*) cat "$(path "$3")" ;;
    *) mkdir -p "$(dirname "$(path "$4")")" && cp "$3" "$(path "$4")" ;;
esac
"""


def wheel(folder: Path, text: str) -> Path:
    """A wheel of one module."""
    record, info = [], "tiny-1.0.dist-info"
    files = {
        "tiny.py": text,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: here\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}\n")
        packed.writestr(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))
    return path


class World:
    """An index with one wheel, a bucket, and a machine without anything installed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bucket, self.index, self.installed = folder / "buckets", folder / "index", folder / "installed"
        for made in (self.bucket, self.index, folder / "programs"):
            made.mkdir()
        self.wheel = wheel(self.index, "answer = 42\n")
        self.lock = folder / "base.lock"
        digest = hashlib.sha256(self.wheel.read_bytes()).hexdigest()
        self.lock.write_text(f"tiny==1.0 \\\n    --hash=sha256:{digest}\n")
        (folder / "programs/aws").write_text(AWS)
        (folder / "programs/aws").chmod(0o755)
        self._patch = monkeypatch
        for name, value in {
            "PATH": f"{folder / 'programs'}:/usr/bin:/bin",
            "FOLDER": self.bucket,
            "PIP_NO_INDEX": 1,
            "PIP_TARGET": self.installed,
            "PIP_NO_CACHE_DIR": 1,
        }.items():
            monkeypatch.setenv(name, str(value))
        self.with_index()

    def with_index(self) -> None:
        """Let the index answer."""
        self._patch.setenv("PIP_FIND_LINKS", str(self.index))

    def without_index(self) -> None:
        """Let nothing but the bucket answer."""
        self._patch.delenv("PIP_FIND_LINKS")

    @property
    def packed(self) -> Path:
        """The wheelhouse of the lock."""
        return self.bucket / wheels.place_of(self.lock, BUCKET).removeprefix("s3://")

    def call(self, action: str) -> int:
        """Call the module as a machine does."""
        with self._patch.context() as patch:
            if action == "fill":
                patch.delenv("PIP_TARGET")
            return wheels.main(action, BUCKET, REGION, str(self.lock))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.mark.slow
def test_what_the_head_filled_is_installed_without_an_index(world: World) -> None:
    assert world.call("fill") == 0
    written = world.packed.stat().st_mtime_ns
    world.without_index()
    assert world.call("fill") == 0, "once"
    assert world.packed.stat().st_mtime_ns == written
    assert world.call("install") == 0
    assert (world.installed / "tiny.py").read_text() == "answer = 42\n"


@pytest.mark.slow
@pytest.mark.parametrize("there", ["nothing", "a part", "another file"])
def test_where_the_bucket_has_not_what_the_lock_says_the_index_is_asked(
    world: World, there: str, tmp_path: Path
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(wheel(tmp_path, "answer = 43\n"), arcname="tiny-1.0-py3-none-any.whl")
    if there != "nothing":
        world.packed.parent.mkdir(parents=True)
        world.packed.write_bytes(packed.getvalue()[: 700 if there == "a part" else None])
    assert world.call("install") == 0
    assert (world.installed / "tiny.py").read_text() == "answer = 42\n"
    assert "s3 cp" in (world.bucket / "asked").read_text()


@pytest.mark.slow
def test_a_head_that_cannot_download_puts_nothing_there(world: World) -> None:
    world.without_index()
    assert world.call("fill") == 1
    assert not world.packed.exists()


def test_machines_install_from_the_bucket_and_the_head_fills_it_beside() -> None:
    fleet = spec.FleetSpec(fleet="wiki", region="eu-west-1")
    found: Any = yaml.safe_load(render.render(fleet, spec.placeholders(fleet)))
    bucket = spec.placeholders(fleet).bucket
    locks = {"head": ["base.lock"], "worker": ["base.lock", "cuda.lock"]}
    for role, names in locks.items():
        [install] = [one for one in found[f"{role}_setup_commands"] if "node.wheels install" in one]
        files = " ".join(f"$HOME/batchscope-provider/{name}" for name in names)
        assert install.endswith(f"-m cluster.fleet.node.wheels install {bucket} eu-west-1 {files}")
    # Once Ray runs, which it does not disturb.
    *_, started, fill = found["head_start_ray_commands"]
    assert "ray start --head" in started
    assert f"node.wheels fill {bucket} eu-west-1" in fill
    assert fill.startswith("nohup nice -n 19 ")
    assert fill.endswith("< /dev/null &")
