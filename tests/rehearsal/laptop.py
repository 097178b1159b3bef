"""The laptop of somebody who has a fleet: a home, credentials, and the real commands, one after another."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.rehearsal.disk import HERE, PROGRAMS

BATCHSCOPE = (sys.executable, "-m", "cluster.cli")
RAY = (sys.executable, "-m", "ray.scripts.scripts")
SECONDS_OF_A_COMMAND = 900.0
DASHBOARD = "http://127.0.0.1:8265"


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended."""

    status: int
    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True)
class Laptop:
    """The folder of its user, and the address of the region."""

    home: Path
    server: str

    def batchscope(self, *arguments: str, status: int = 0, seconds: float = SECONDS_OF_A_COMMAND) -> Said:
        """Run a batchscope command to its end, which must be `status`."""
        return self.run(*BATCHSCOPE, *arguments, status=status, seconds=seconds)

    def run(self, *command: str, status: int = 0, seconds: float = SECONDS_OF_A_COMMAND) -> Said:
        """Run any command to its end, which must be `status`."""
        began, words = time.monotonic(), " ".join(command[2:])
        # Its words are there while it runs, for whoever looks on.
        with (self.home / "commands.log").open("a+") as log:
            log.write(f"$ {words}\n")
            log.flush()
            from_here = log.tell()
            done = subprocess.run(
                command, cwd=self.home, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True,
                timeout=seconds, check=False,
            )  # fmt: skip
            log.seek(from_here)
            said = Said(done.returncode, done.stdout, log.read(), time.monotonic() - began)
            log.write(f"{said.stdout}-> {said.status} after {said.seconds:.1f} s\n\n")
        assert said.status == status, (
            f"{words} ended with {said.status}, not {status}:\n{said.stdout[-2000:]}\n{said.stderr[-4000:]}"
        )
        return said

    @contextlib.contextmanager
    def tunnel(self, cluster: Path) -> Iterator[None]:
        """`ray dashboard` as long as the block lasts: the head's dashboard on this machine's loopback."""
        log = (self.home / "tunnel.log").open("ab")
        process = subprocess.Popen(
            [*RAY, "dashboard", str(cluster)],
            cwd=self.home,
            env={**self.environment, "RAY_UP_enable_autoscaler_v2": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)

    @property
    def environment(self) -> Mapping[str, str]:
        """What the user's shell has exported."""
        return {
            "PATH": f"{PROGRAMS}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(HERE),
            "HOME": str(self.home),
            "USER": "reader",
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": self.server,
            "AWS_ACCESS_KEY_ID": "AKIAPRETEND",
            "AWS_SECRET_ACCESS_KEY": "pretend",
            "AWS_DEFAULT_REGION": "us-east-1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
