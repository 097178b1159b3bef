"""`batchscope run` and `check` under signals in each of their phases: exit codes, words, and nothing left behind."""

import contextlib
import itertools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.summary import query
from cluster.summary.store import Summary
from tests.conftest import write_prepared
from tests.support.processes import heeding_ctrl_c
from tests.support.runs import COMMAND, MARK, ROOT, wait_for_end_of
from tests.support.studies import LONG, write_study

pytestmark = [pytest.mark.ray, pytest.mark.slow]
SECONDS = 120.0

Phase = Callable[["Run"], bool]


class Run:
    """A study of long trials, started, with all that it writes; its temporary folder is short enough for Ray."""

    def __init__(self, folder: Path, command: str = "run") -> None:
        folder.mkdir()
        self.folder, self.temporary = folder, Path(tempfile.mkdtemp(prefix="bs-", dir="/tmp"))
        write_prepared(folder / "data")
        write_study(
            folder,
            **{**LONG, "budget": {"updates": 100_000}, "evaluate_every": {"updates": 50_000}},
        )
        self.stderr = folder / "stderr"
        environment = {**os.environ, "TMPDIR": str(self.temporary), MARK: str(folder)}
        with self.stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                [*COMMAND, command, str(folder / "study.yaml")],
                stdout=stderr,
                stderr=stderr,
                env=environment,
                cwd=ROOT,
                preexec_fn=_heeding_all,
            )

    def until(self, phase: Phase) -> None:
        deadline = time.monotonic() + SECONDS
        while not phase(self):
            assert time.monotonic() < deadline, self.stderr.read_text()
            assert self.process.poll() is None, self.stderr.read_text()
            time.sleep(0.05)

    def ended(self) -> tuple[int, str]:
        """Its exit code and what it said, once nothing of it is left."""
        status = self.process.wait(SECONDS)
        wait_for_end_of(str(self.folder))
        assert list(self.temporary.iterdir()) == [], (status, self.stderr.read_text())
        self.temporary.rmdir()
        return status, self.stderr.read_text()


def _heeding_all() -> None:
    heeding_ctrl_c()
    # A test run under `nohup` ignores it, and so would its children.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def said(text: str) -> Phase:
    return lambda run: text in run.stderr.read_text()


def ray_begins(run: Run) -> bool:
    return any(run.temporary.glob("batchscope-ray-*"))


def ray_is_there(run: Run) -> bool:
    return any(path for path in run.temporary.iterdir() if path.name.startswith("batchscope-tune-"))


def trained(run: Run) -> bool:
    return any((run.folder / "summary" / "checkpoints").glob("*/*/resume-*.json"))


# Twice where a run does not save yet or should hurry; once is in test_faults.py and test_run.py. With --long both
# everywhere.
TWICE = ("starting", "ending")


def test_a_signal_in_any_phase_of_a_run_has_its_exit_code_and_leaves_nothing(tmp_path: Path, long: bool) -> None:
    phases: dict[str, tuple[Phase, signal.Signals]] = {
        "before": (lambda run: (run.folder / "summary" / "attempts").exists(), signal.SIGINT),
        "starting": (ray_begins, signal.SIGTERM),
        "between": (ray_is_there, signal.SIGHUP),
        "training": (trained, signal.SIGHUP),
        "ending": (trained, signal.SIGINT),
    }
    for name, gap in itertools.product(phases, (None, 0.3)) if long else itertools.product(TWICE, (0.3,)):
        phase, number = phases[name]
        run = Run(tmp_path / f"{name}-{gap}")
        run.until(phase)
        run.process.send_signal(number)
        if name == "ending":
            run.until(said("saving and stopping"))
        if gap is not None:
            time.sleep(gap)
            with contextlib.suppress(ProcessLookupError):
                run.process.send_signal(number)
        status, stderr = run.ended()
        expected = 130 if number is signal.SIGINT else 143
        assert status == expected, (name, stderr)
        assert "internal error" not in stderr, name
        assert "Traceback" not in stderr, (name, stderr)
        if gap is None and name in ("training", "ending"):
            assert "the same command goes on from here" in stderr
            [row] = query.trials(Summary(str(run.folder / "summary")), "tiny").to_pylist()
            assert row["state"] == "CANCELLED"


def test_a_check_ends_with_the_signal_too(tmp_path: Path) -> None:
    run = Run(tmp_path / "check", "check")
    run.until(said("checking one real batch"))
    time.sleep(2.0)
    run.process.send_signal(signal.SIGTERM)
    status, stderr = run.ended()
    assert (status, "Traceback" in stderr, "internal error" in stderr) == (143, False, False), stderr
