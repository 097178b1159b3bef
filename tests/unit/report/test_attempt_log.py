"""What a trial left behind is printed as text: its attempts, their errors and tracebacks, and what runs still."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cluster.cli.logs import command
from cluster.lanes.traceback_end import MOST_CHARACTERS, traceback_end
from cluster.process.worker_logs import mark, pieces
from cluster.summary.store import Summary
from trainer.errors import InputError

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AXES = {"global_batch": 16, "learning_rate": 0.01, "optimizer": "adam", "dtype": "float32", "seed": 3}


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A study of one trial: it failed with a hostile text, was lost, and runs again."""
    summary = Summary(str(tmp_path / "summary"))
    summary.write_study({"study": "mine", "spec_hash": "a1", "trials": 1, "started_at": BEGAN})
    trial: dict[str, Any] = {"study": "mine", "trial_id": "4aad01", **AXES, "started_at": BEGAN}
    failed = {
        "state": "FAILED",
        "error": "ValueError: \x1b[31mno (my_models.py:39)",
        "traceback": 'Traceback:\n  File "my_models.py", line 39\n\x1b]0;title\x07ValueError: no',
    }
    ended = {"ended_at": BEGAN + timedelta(seconds=75), "updates": 12, "node_type": "local"}
    summary.write_trial({**trial, **ended, **failed, "attempt": 1})
    summary.write_trial({**trial, **ended, "state": "LOST", "attempt": 2})
    summary.attempt_started("mine", "4aad01", 3, {**AXES, "started_at": BEGAN})
    return summary.uri


def told(*arguments: str) -> str:
    result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_each_attempt_of_a_trial_is_in_its_log_with_the_end_of_its_traceback(uri: str) -> None:
    assert told("mine", "--trial", "4aa", "--summary", uri) == (
        "trial 4aad01 of study mine: global batch 16, rate 0.01, adam, float32, seed 3\n\n"
        "attempt 1 ended FAILED, 2026-01-02 03:05:20 UTC, after 1 min 15 s, 12 updates, on local\n"
        "error: ValueError: no (my_models.py:39)\n"
        "the end of its traceback:\n"
        "    Traceback:\n"
        '      File "my_models.py", line 39\n'
        "    ValueError: no\n\n"
        "attempt 2 ended LOST, 2026-01-02 03:05:20 UTC, after 1 min 15 s, 12 updates, on local\n\n"
        "attempt 3 began at 2026-01-02 03:04:05 UTC and has no end yet: it is running, or was killed with its driver\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["mine", "--trial", "5"], "has no trial whose id begins with '5' \\(nearest: 4aad01\\)"),
        (["mime", "--trial", "4"], "did you mean 'mine'"),
        (["mine", "--trial", "4", "-f"], "-f follows a job"),
    ],
)
def test_a_trial_that_is_not_there_is_refused(uri: str, arguments: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        told(*arguments, "--summary", uri)


def test_without_a_cluster_and_a_trial_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match=re.escape("`batchscope logs STUDY --trial ID` has what a trial left")):
        told("mine")


def test_the_end_of_a_traceback_is_kept_in_whole_lines_without_passwords() -> None:
    try:
        raise ValueError("start " + "line of words\n" * 1000 + "\x1b[31mcannot read http://me:secret@host/x")
    except ValueError as problem:
        text = traceback_end(problem)
    assert text.startswith("...\nline of words\n")
    assert text.endswith("\ncannot read http://host/x")
    assert len(text) <= MOST_CHARACTERS + len("...\n")


def test_a_short_traceback_is_whole() -> None:
    try:
        raise KeyError("x")
    except KeyError as problem:
        text = traceback_end(problem)
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("KeyError: 'x'")


def test_what_a_worker_wrote_about_a_trial_is_found_until_its_next_trial(tmp_path: Path) -> None:
    logs = tmp_path / "batchscope-ray-abc" / "session_2026" / "logs"
    logs.mkdir(parents=True)
    first = f"{mark('aa')}old\n{mark('bb')}other\n{mark('aa')}new\x1b[31m\nTraceback\n{mark('cc')}later\n"
    (logs / "worker-1-01000000-77.err").write_text(first)
    (logs / "worker-2-01000000-78.err").write_text("nothing")
    (logs / "raylet.err").write_text(first)
    (tmp_path / "batchscope-ray-abc" / "session_latest").symlink_to(logs.parent)
    assert list(pieces("aa", str(tmp_path))) == [(str(logs / "worker-1-01000000-77.err"), "new\nTraceback")]
    assert list(pieces("dd", str(tmp_path))) == []
