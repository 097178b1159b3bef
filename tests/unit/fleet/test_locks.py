"""What machines install: each file by its hash, and in the versions with which everything is tested."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cluster.fleet import lifecycle, render, spec

ROOT = Path(__file__).parents[3]
LOCKS = Path(render.__file__).parent / "locks"


def pinned(file: Path) -> set[tuple[str, str]]:
    """The names and versions in a lock, each of which has hashes; some names have one for each of several Pythons."""
    text = file.read_text()
    hashes = r"\\(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+$"
    entries = re.findall(rf"(?m)^([A-Za-z0-9._-]+)==(\S+)(?: ; [^\n]*)? {hashes}", text)
    assert len(entries) == len(re.findall(r"(?m)^\S", text))
    return {(canonicalize_name(name), version) for name, version in entries}


def names(found: set[tuple[str, str]]) -> set[str]:
    return {name for name, _ in found}


def test_machines_have_the_versions_of_the_tests() -> None:
    tested, base = pinned(ROOT / "requirements.lock"), pinned(LOCKS / render.BASE_LOCK)
    assert base <= tested
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {canonicalize_name(Requirement(text).name) for text in wanted} <= names(base)


def test_cards_need_what_the_others_need_and_libraries_of_their_own() -> None:
    cuda = names(pinned(LOCKS / render.CUDA_LOCK))
    assert all(name.startswith("nvidia-") for name in cuda)
    assert {"nvidia-cudnn-cu12", "nvidia-cublas-cu12", "nvidia-nccl-cu12"} <= cuda
    assert not cuda & names(pinned(LOCKS / render.BASE_LOCK))


def test_machines_install_nothing_without_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = spec.FleetSpec(fleet="wiki", region="eu-west-1")
    found = yaml.safe_load(render.render(fleet, spec.placeholders(fleet)))
    for key, locks in (("head_setup_commands", ["base"]), ("worker_setup_commands", ["base", "cuda"])):
        [install] = [command for command in found[key] if "node.wheels install" in command]
        assert re.findall(r"\$HOME/batchscope-provider/(\w+)\.lock", install) == locks
        assert not [command for command in found[key] if "pip install" in command]
    monkeypatch.setattr(spec, "STATE_FOLDER", str(tmp_path))
    lifecycle._write_provider(fleet)
    for name in (render.BASE_LOCK, render.CUDA_LOCK):
        assert (fleet.folder / "provider" / name).read_bytes() == (LOCKS / name).read_bytes()
