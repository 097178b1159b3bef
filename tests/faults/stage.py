"""The place of a run: a study in a folder of its own on small disks, its driver, its processes, and its orders."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cluster.summary.store import Summary
from tests.conftest import write_prepared
from tests.faults import points
from tests.support.processes import heeding_ctrl_c
from tests.support.runs import COMMAND, MARK, ROOT, processes_of
from tests.support.studies import write_study

DISKS = {"summary": "32m", "t": "64m", "r": "96m", "c": "32m"}
# A guard against hanging, not a measurement: beside other work a step of seconds takes minutes.
SECONDS = 600.0
SECONDS_TO_GO = 60.0
PLANTED = Path(__file__).parent / "planted"
# As titles of Ray's processes have them.
ROLES = {
    "worker": "ray::RayTrainWorker",
    "lane": "ray::ResourceTrainable",
    "board": "ray::Board",
    "raylet": "raylet/raylet",
    "gcs": "gcs_server",
}
STUDY = {
    "model": {"factory": "tests.support.unhurried:build"},
    "budget": {"updates": 90},
    "evaluate_every": {"updates": 15},
    "checkpoint_every_seconds": 0.25,
}
AXES = {"learning_rate": 0.01}
# How many workers share a trial, by the run.
LAYOUTS = {
    "one worker": {"axes": {**AXES, "global_batch": [17], "seeds": 6}},
    "two workers": {
        "axes": {**AXES, "global_batch": [17], "seeds": 4},
        "resources": {"lanes": 1, "workers": 2, "cpus_per_worker": 0.5},
    },
}


class StuckError(Exception):
    """Something that had to happen did not happen in time."""


@dataclass
class Stage:
    """A run's folder; `store` is the address of its bucket, if its study is in one, and `disks` whether it has some."""

    folder: Path
    layout: str
    disks: bool
    environment: dict[str, str] = field(default_factory=dict)
    bucket: str | None = None
    driver: subprocess.Popen[bytes] | None = None
    drivers: int = 0

    @property
    def mark(self) -> str:
        """By which its processes are known."""
        return str(self.folder)

    @property
    def orders(self) -> Path:
        """The folder of its orders."""
        return self.folder / "orders"

    @property
    def file(self) -> Path:
        """The study."""
        return self.folder / "study.yaml"

    @property
    def summary(self) -> Summary:
        """Where its results are."""
        return Summary(f"s3://{self.bucket}/summary" if self.bucket else str(self.folder / "summary"))

    def prepare(self) -> None:
        """Write the data and the study."""
        self.orders.mkdir()
        write_prepared(self.folder / "data")
        there = {"summary": self.summary.uri}
        if self.bucket:
            from cluster.stores import store_of

            there["data"] = f"s3://{self.bucket}/data"
            for path in (self.folder / "data").iterdir():
                store_of(there["data"]).write(path.name, path.read_bytes())
        write_study(self.folder, **{**STUDY, **LAYOUTS[self.layout], **there})

    def start(self) -> None:
        """Start a driver."""
        self.drivers += 1
        self.driver = self.begin(self.folder / f"said-{self.drivers}")

    def begin(self, said: Path) -> subprocess.Popen[bytes]:
        """A new process of the command, which writes what it says in a file."""
        place = {"TMPDIR": "t", "RAY_TMPDIR": "r", "BATCHSCOPE_CACHE": "c"}
        environment = {
            **os.environ,
            **self.environment,
            **{name: str(self.folder / where) for name, where in place.items()},
            MARK: self.mark,
            points.ORDERS: str(self.orders),
            "PYTHONPATH": f"{PLANTED}:{ROOT}",
            "RAY_worker_niceness": "0",
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        with said.open("wb") as stderr:
            return subprocess.Popen(
                [*COMMAND, "run", str(self.file)],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=environment,
                cwd=ROOT,
                preexec_fn=_heeding_all,
            )

    def said(self) -> str:
        """What the last driver said."""
        return (self.folder / f"said-{self.drivers}").read_text(errors="replace")

    def runs(self) -> bool:
        """Whether a driver is there."""
        return self.driver is not None and self.driver.poll() is None

    def order(self, point: str) -> None:
        """Let whoever comes to a point next stay there."""
        (self.orders / point).touch()

    def held(self, point: str) -> int | None:
        """The number of the process that is held at a point."""
        names = [path.name.rpartition(".") for path in self.orders.iterdir()]
        return next((int(number) for name, _, number in names if name == point and number.isdigit()), None)

    def release(self) -> None:
        """Take back all orders, and let go on who is held."""
        for path in self.orders.iterdir():
            if path.name != points.CLOCK:
                path.unlink(missing_ok=True)

    def until(self, reached: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
        """Wait for something."""
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                raise StuckError(f"{what} did not come within {seconds:g} s: {self.said()[-2000:]}")
            time.sleep(0.02)

    def reach(self, *names: str, seconds: float = SECONDS) -> tuple[str, int] | None:
        """Wait until somebody is held at one of the points: which, and the process. None if the driver ended first."""
        for name in names:
            self.order(name)
        ended = False

        def there() -> bool:
            nonlocal ended
            ended = not self.runs()
            return ended or any(self.held(name) for name in names)

        self.until(there, f"the point {names}", seconds)
        return next(((name, pid) for name in names if (pid := self.held(name))), None)

    def ended(self, seconds: float = SECONDS) -> int:
        """Wait for the driver's end and for that of all its processes: its exit code."""
        assert self.driver is not None
        self.until(lambda: not self.runs(), "the end of the driver", seconds)
        self.until(lambda: not processes_of(self.mark), f"the end of {processes_of(self.mark)}", SECONDS_TO_GO)
        self.release()
        return int(self.driver.returncode)

    def of_role(self, role: str) -> list[psutil.Process]:
        """The processes of a role that are there."""
        if role == "driver":
            return [psutil.Process(self.driver.pid)] if self.driver and self.runs() else []
        if role == "all":
            return processes_of(self.mark)
        return [process for process in processes_of(self.mark) if self.role_of(process) == role]

    def role_of(self, process: psutil.Process) -> str:
        """The role of a process of the run."""
        if self.driver is not None and process.pid == self.driver.pid:
            return "driver"
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            return next((role for role, sign in ROLES.items() if sign in words), "another of Ray's")
        return "gone"

    def leftovers(self) -> list[str]:
        """Files outside of the summary that no process of the product needs once there is none."""
        return [str(path) for place in ("t", "r") for path in (self.folder / place).iterdir()]

    def unfinished(self) -> list[str]:
        """Files in a folder's summary whose writers were killed; the end of a study sweeps them."""
        return [str(path) for path in (self.folder / "summary").rglob("*.partial")]

    def clear(self) -> None:
        """End every process, whatever it does."""
        for process in processes_of(self.mark):
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self.driver is not None:
            self.driver.wait()


@contextlib.contextmanager
def staged(layout: str, *, disks: bool, bucket: str | None = None, **environment: str) -> Iterator[Stage]:
    """A stage for a run, gone when the block ends. Ray's sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="f-", dir="/tmp"))
    stage = Stage(folder, layout, disks, environment, bucket)
    try:
        for name, size in DISKS.items():
            (folder / name).mkdir()
            if disks:
                subprocess.run(
                    ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder / name)], check=True, timeout=30
                )
        stage.prepare()
        yield stage
    finally:
        stage.clear()
        for name in DISKS if disks else ():
            subprocess.run(["umount", "--lazy", str(folder / name)], check=False, timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _heeding_all() -> None:
    heeding_ctrl_c()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
