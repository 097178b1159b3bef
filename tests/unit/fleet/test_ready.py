"""Whether a new machine may join its fleet, and what it leaves and does if it may not."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cluster.fleet.node import ready

ONE_CARD = '{"CPU": 4, "GPU": 1}'
LISTED = "GPU 0: NVIDIA L4 (UUID: GPU-1)\n"
FINE: dict[str, Any] = {"listed": LISTED, "driver": "570.86.15\n", "service": "active\n"}


@pytest.mark.parametrize(
    ("resources", "changes", "why"),
    [
        (ONE_CARD, {}, None),
        ('{"CPU": 4}', {"listed": None, "driver": None}, None),
        ("", {"listed": None, "driver": None}, None),
        (ONE_CARD, {"listed": ""}, "nvidia-smi lists 0 of its 1 cards"),
        ('{"GPU": 4}', {}, "nvidia-smi lists 1 of its 4 cards"),
        (ONE_CARD, {"listed": None}, "nvidia-smi fails: the driver does not run"),
        (ONE_CARD, {"driver": "535.1\n570.2\n"}, "its driver 535.1"),
        (ONE_CARD, {"driver": "[N/A]"}, "older than 560"),
        (ONE_CARD, {"service": None}, "dead-man switches do not run"),
        ("", {"service": "failed\n"}, "systemd calls batchscope-node.service failed"),
    ],
)
def test_who_may_join(resources: str, changes: dict[str, Any], why: str | None) -> None:
    found = ready.problem(resources, **{**FINE, **changes})
    assert found is None if why is None else why in str(found)


class Machine:
    """The programs of a machine, each of which writes down how it was called and what it was given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, listed: str) -> None:
        self.log = folder / "log"
        for name, says in {"nvidia-smi": listed, "systemctl": "active", "aws": "", "sudo": ""}.items():
            noted = f'#!/bin/sh\necho "{name} $* $(cat)" >> {self.log}\n'
            (folder / name).write_text(
                f'{noted}case "$*" in *driver_version*) echo 570.1 ;; *) echo "{says}" ;; esac\n'
            )
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setenv(ready.RESOURCES, ONE_CARD)
        monkeypatch.setattr(ready, "instance_id", lambda: "i-1")


def test_a_machine_without_its_card_says_so_in_the_bucket_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, monkeypatch, listed="")
    assert ready.main("our-bucket", "us-east-1") == 1
    assert "may not join: nvidia-smi lists 0 of its 1 cards" in capsys.readouterr().out
    *_, told, ended = machine.log.read_text().splitlines()
    assert told == "aws s3 cp - s3://our-bucket/machines/i-1 --region us-east-1 nvidia-smi lists 0 of its 1 cards"
    assert ended.strip() == "sudo systemctl poweroff"


def test_a_machine_with_its_card_joins_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, listed="GPU 0: NVIDIA L4")
    assert ready.main("our-bucket", "us-east-1") == 0
    assert [line.split()[0] for line in machine.log.read_text().splitlines()] == [
        "nvidia-smi",
        "nvidia-smi",
        "systemctl",
    ]


def test_it_needs_nothing_but_python(tmp_path: Path) -> None:
    """The machine's own Python has no packages, and no batchscope but what the fleet ships."""
    here = Path(ready.__file__).parent
    place = tmp_path / "cluster/fleet/node"
    place.mkdir(parents=True)
    for name in ("probe.py", "ready.py"):
        (place / name).write_bytes((here / name).read_bytes())
    command = ["/usr/bin/env", "python3", "-I", "-S", "-c"]
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import cluster.fleet.node.ready"
    done = subprocess.run([*command, code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
