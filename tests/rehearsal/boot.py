"""Process 1 of a pretend machine: `python -m tests.rehearsal.boot FOLDER`, in namespaces of its own.

It sets up network, disk and metadata, carries out the user data as cloud-init does, lets people in by ssh, keeps the
services of the user data alive as systemd does, and ends the machine when it is told to power off. With it, the kernel
ends every process of the machine.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from tests.rehearsal import disk, metadata, network

SECONDS_FOR_A_CABLE = 10.0
SECONDS_BETWEEN_LOOKS = 0.2
CONTROL = Path("/run/rehearsal")
_UNITS = Path("/etc/systemd/system")
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def main(folder: Path) -> None:
    """Boot, and stay until the machine is to end."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    machine = json.loads((folder / "machine.json").read_text())
    _wait_for_cable()
    network.configure(machine["identity"]["privateIp"])
    root = disk.mount(folder)
    disk.furnish(root, server=machine["server"], public_key=machine["public_key"])
    _name(machine["identity"]["privateIp"], root)
    os.chroot(root)
    os.chdir("/")
    _run_clock()
    metadata.serve(machine["identity"], CONTROL)
    ssh = _ssh()
    subprocess.Popen([sys.executable, "-m", "tests.rehearsal.user_data"], env=_own())
    running: dict[str, subprocess.Popen[bytes]] = {}
    while ssh.poll() is None and not _shut_down():
        _reap()
        for unit in (CONTROL / "services").iterdir():
            if unit.name not in running or running[unit.name].poll() is not None:
                running[unit.name] = _service(unit.name)
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _reap() -> None:
    """Take leave of every process that has ended: those whose parents ended before them are ours too."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _wait_for_cable() -> None:
    ends = time.monotonic() + SECONDS_FOR_A_CABLE
    while not Path("/sys/class/net/eth0").exists() and "eth0" not in Path("/proc/net/dev").read_text():
        if time.monotonic() > ends:
            raise TimeoutError("no cable")
        time.sleep(0.01)


def _name(address: str, root: Path) -> None:
    """Call this machine as EC2 does, by its address."""
    name = "ip-" + address.replace(".", "-")
    socket.sethostname(name)
    (root / "etc/hostname").write_text(f"{name}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")


def _own() -> dict[str, str]:
    """The environment in which this machine's Python finds the rehearsal."""
    return {**_ENVIRONMENT, "PYTHONPATH": os.environ["PYTHONPATH"]}


def _run_clock() -> None:
    """Let /proc/uptime count from this machine's start, and from the shift of its clock that the region asks for."""
    began, file = time.monotonic(), Path("/run/uptime")
    file.write_text(f"{0:020.2f} 0.00\n")
    subprocess.run(["mount", "--bind", str(file), "/proc/uptime"], check=True)

    def go_on() -> None:
        while True:
            now = f"{_uptime(began):020.2f} 0.00\n".encode()
            with file.open("r+b") as clock:
                clock.write(now)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    threading.Thread(target=go_on, daemon=True).start()


def _uptime(began: float) -> float:
    shift = CONTROL / "shift"
    return time.monotonic() - began + (float(shift.read_text() or 0) if shift.exists() else 0.0)


def _shut_down() -> bool:
    """Whether the time of `shutdown -P +MINUTES` has come."""
    told = CONTROL / "shutdown"
    return told.exists() and float(Path("/proc/uptime").read_text().split()[0]) >= 60 * float(told.read_text())


def _ssh() -> subprocess.Popen[bytes]:
    Path("/run/sshd").mkdir(mode=0o755)
    options = {
        "HostKey": CONTROL / "host_key",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "no",
        "StrictModes": "no",
        "MaxStartups": "100",
        "PidFile": "none",
    }
    given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", "/dev/null", *given], env=_ENVIRONMENT)


def _service(name: str) -> subprocess.Popen[bytes]:
    """Start a service as its unit says, now and, a moment after it has ended, again."""
    unit: Any = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read(_UNITS / name)
    service = unit["Service"]
    kept = Path("/run", service["RuntimeDirectory"])
    if not kept.exists():
        kept.mkdir()
        kept.chmod(int(service["RuntimeDirectoryMode"], 8))
    log = (CONTROL / f"{name}.log").open("ab")
    command = service["ExecStart"].split()
    return subprocess.Popen(command, cwd=service["WorkingDirectory"], env=_ENVIRONMENT, stdout=log, stderr=log)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
