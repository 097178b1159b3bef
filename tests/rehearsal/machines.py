"""The pretend machines: each boots in namespaces of its own, and is gone with every process when it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rehearsal import network
from tests.rehearsal.disk import HERE

SECONDS_TO_UNSHARE = 10.0


@dataclass
class Machine:
    """A machine of the region; times are Unix seconds."""

    instance_id: str
    address: str
    instance_type: str
    market: str
    zone: str
    folder: Path
    began: float
    process: subprocess.Popen[bytes]
    cable: str
    ended: float | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def control(self) -> Path:
        """The folder through which the region speaks to the machine."""
        return self.folder / "control"

    @property
    def role(self) -> str:
        """`head` or `worker`."""
        return self.tags.get("ray-node-type", "")

    def lose(self) -> None:
        """End at once, without a word, as when the hardware fails."""
        self.process.send_signal(signal.SIGKILL)

    def cut_off(self) -> None:
        """Pull the cable."""
        network.set_link(self.cable, "down")

    def plug_in(self) -> None:
        """Put the cable back."""
        network.set_link(self.cable, "up")

    def give_notice(self, seconds: float) -> None:
        """EC2's notice that it takes this spot machine back that many seconds from now."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        _write(self.control / "notice.json", json.dumps({"action": "terminate", "time": when}))

    def advise(self) -> None:
        """EC2's advice that it may take this spot machine back, minutes or hours from now or never."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        _write(self.control / "rebalance.json", json.dumps({"noticeTime": now}))

    def tag(self, tags: dict[str, str]) -> None:
        """Add tags, which its metadata service shows."""
        self.tags |= tags
        _write(self.control / "tags.json", json.dumps(self.tags))

    def shift_clock(self, seconds: float) -> None:
        """Let the machine have been up for that many seconds more."""
        _write(self.control / "shift", str(seconds))


def boot(
    folder: Path,
    *,
    identity: dict[str, Any],
    user_data: str,
    public_key: str,
    server: str,
    seconds_of_credentials: float,
    cards: bool,
    cable: str,
) -> subprocess.Popen[bytes]:
    """Start a machine; returns its outermost process, with which it ends."""
    control = folder / "control"
    (control / "services").mkdir(parents=True)
    (control / "user-data").write_text(user_data)
    shutil.copy(folder.parent / "host_key", control / "host_key")
    if not cards:
        (control / "no_cards").touch()
    (control / "credentials").write_text(str(seconds_of_credentials))
    machine = {"identity": identity, "public_key": public_key, "server": server}
    (folder / "machine.json").write_text(json.dumps(machine))
    log = (folder / "boot.log").open("wb")
    process = subprocess.Popen(
        [
            *("unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"),
            *(sys.executable, "-m", "tests.rehearsal.boot", str(folder)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE)},
        start_new_session=True,
    )
    _until(lambda: _namespace(process.pid) != _namespace(os.getpid()), SECONDS_TO_UNSHARE)
    network.connect(cable, process.pid)
    return process


def _namespace(process: int) -> str:
    return os.readlink(f"/proc/{process}/ns/net")


def _until(true: Callable[[], bool], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.01)


def _write(file: Path, text: str) -> None:
    """Write a file that the machine reads at any moment."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)
