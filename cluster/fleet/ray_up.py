"""Ray's own cluster launcher, as child processes with deadlines: `ray up`, `ray down` and `ray dashboard`'s tunnel."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.fleet.spec import FleetSpec
from cluster.fleet.userdata import DASHBOARD_PORT
from cluster.process.ports import free_ports
from trainer.errors import NotReadyError

SECONDS_UP = 30 * 60
SECONDS_DOWN = 5 * 60
SECONDS_TUNNEL = 60
_RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def require_tools(spec: FleetSpec) -> None:
    """Raise NotReadyError if this machine lacks a program that `ray up` calls."""
    through_ssm = {"aws": "the AWS CLI", "session-manager-plugin": "AWS's Session Manager plugin"}
    needed = {"ssh": "OpenSSH", "rsync": "rsync", **({} if spec.ssh_from else through_ssm)}
    missing = [f"`{program}` ({name})" for program, name in needed.items() if shutil.which(program) is None]
    if missing:
        raise NotReadyError(f"{' and '.join(missing)} not found on this machine: install what is missing")


def up(config: Path) -> None:
    """Start the head of the rendered `config`.

    Raises:
        NotReadyError: it failed, or took longer than SECONDS_UP; Ray's output is on stderr.
    """
    _run(["up", "--yes", "--no-config-cache", str(config)], SECONDS_UP)


def down(config: Path) -> None:
    """Stop Ray and end the machines of the rendered `config`.

    Raises:
        NotReadyError: it failed, or took longer than SECONDS_DOWN.
    """
    _run(["down", "--yes", str(config)], SECONDS_DOWN)


@contextlib.contextmanager
def tunnel(config: Path) -> Iterator[str]:
    """A tunnel: the address on this machine's loopback at which the head's dashboard answers during the block.

    Raises:
        NotReadyError: the dashboard could not be reached within SECONDS_TUNNEL.
    """
    [port] = free_ports(1)
    command = [*_RAY, "dashboard", "--port", str(port), "--remote-port", str(DASHBOARD_PORT), str(config)]
    process = subprocess.Popen(command, env=_environment(), stdout=sys.stderr, start_new_session=True)
    try:
        ends = time.monotonic() + SECONDS_TUNNEL
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > ends:
                raise NotReadyError(f"no tunnel to the head within {SECONDS_TUNNEL} s: see Ray's output above")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _run(arguments: list[str], seconds: float) -> None:
    # Ray's output goes to stderr, because stdout is for the result.
    process = subprocess.Popen([*_RAY, *arguments], env=_environment(), stdout=sys.stderr, start_new_session=True)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise NotReadyError(f"`ray {arguments[0]}` took longer than {seconds / 60:g} minutes") from None
    finally:
        _end(process)
    if code:
        raise NotReadyError(f"`ray {arguments[0]}` ended with exit code {code}: see its output above")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and the ssh that it started (its process group), unless it has already ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, "RAY_UP_enable_autoscaler_v2": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
