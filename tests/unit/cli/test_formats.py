"""Every command has `--format json`, one document with `schema_version` on stdout, but for a few with a reason."""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from cluster.cli import COMMANDS, batchscope, check, run, stop, submit
from cluster.drive.result import End, RunResult
from tests.conftest import write_prepared
from tests.support import agents
from tests.support.studies import LSTM, write_study
from trainer.check import Proof

EXCEPTIONS = {
    "demo": "it is a person's first minutes, and ends with a table, a page and advice",
    "serve": "it is a server: its JSON is under /api",
    "mcp": "its stdin and stdout are a protocol",
    "fleet render": "its stdout is a YAML file for `ray up`",
}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and subcommand, by the words that call it."""
    context = click.Context(batchscope)
    for name in COMMANDS:
        found = batchscope.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from ((f"{name} {sub}", found.commands[sub]) for sub in found.commands)
        else:
            yield name, found


def answers_json(command: click.Command) -> bool:
    kinds = [option.type for option in command.params if "--format" in option.opts]
    return any(isinstance(kind, click.Choice) and "json" in kind.choices for kind in kinds)


def test_every_command_answers_a_program() -> None:
    assert {name for name, command in commands() if not answers_json(command)} == set(EXCEPTIONS)


def document(command: str, *arguments: str, status: int | None = None) -> dict[str, Any]:
    """The one document that a command prints."""
    found = batchscope.get_command(click.Context(batchscope), command)
    result = CliRunner().invoke(found, [*arguments, "--format", "json"], standalone_mode=False)
    assert (result.exception, result.return_value) == (None, status), result
    printed: dict[str, Any] = json.loads(result.stdout)
    assert printed["schema_version"] == 1
    return printed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_what_is_prepared_and_begun(folder: Path) -> None:
    rows = "\n".join(f"word{n % 40} and word{n % 7} are here,{'ab'[n % 2]}" for n in range(300))
    (folder / "a.csv").write_text(f"text,label\n{rows}\n")
    found = document("prepare", "a.csv", "prepared", "--text", "text", "--label", "label")
    assert (found["dest"], found["task"], found["label_names"]) == ("prepared", "classification", ["a", "b"])
    assert sum(found["rows"].values()) == found["read"][0]["rows"] == 300
    assert isinstance(found["warnings"], list)
    found = document("init", "prepared", "--no-calibration")
    assert (found["file"], found["study"], found["source"]) == ("study.yaml", "prepared", "guess")
    assert found["seconds"] > 0
    assert any("batchscope run study.yaml" in line for line in found["next"])


@pytest.mark.slow
def test_what_follows_and_what_was_written(folder: Path) -> None:
    agents.noisy(folder / "summary")
    found = document("next", "noisy")
    assert (found["study"], found["file"], found["next_study"]) == ("noisy", "next.yaml", "noisy-next")
    assert len(found["trainings"]) == len(found["seconds"]) == 2
    found = document("report", "noisy")
    assert (found["file"], found["bytes"]) == ("noisy.html", (folder / "noisy.html").stat().st_size)
    found = document("compact")
    assert found["studies"] == [{"study": "noisy", "removed_files": 0, "left_alone": None}]
    found = document("export", "noisy")
    assert len(found["rows"]) == 20
    found = document("export", "noisy", "--tables", "tables")
    assert all((folder / path).exists() for path in found["files"])
    assert any(path.endswith(".parquet") for path in found["files"])
    agents.decided(folder / "decided")
    found = document("next", "topics", "--summary", "decided", "-o", "other.yaml")
    assert (found["file"], found["trainings"]) == (None, [])
    assert found["why"].startswith("nothing is undecided in topics")


def test_a_check_that_fails_says_no(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_prepared(folder / "data")
    file = str(write_study(folder, model=LSTM))
    proof = Proof(
        rows=64, dtype="float32", repeats=True, micro_batches=1e-3, workers=0.0, evaluation=0.0, tolerance=1e-5
    )
    monkeypatch.setattr(check, "check_study", lambda study: [proof])
    monkeypatch.setattr("cluster.process.ray_session.local", lambda **_: contextlib.nullcontext())
    found = document("check", file, status=1)
    assert (found["study"], found["passed"]) == ("tiny", False)
    assert [(one["largest"], one["passed"]) for one in found["checks"]] == [(1e-3, False)]


def test_how_a_run_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = agents.failed(folder / "summary")
    spec = SimpleNamespace(study="broken", summary=summary)
    ended = RunResult(study=SimpleNamespace(spec=spec), end=End.COMPLETED, failed=4, cost_usd=0.5)
    monkeypatch.setattr(run, "watch", lambda *_, **__: ended)
    monkeypatch.setattr("cluster.study.spec.load", lambda path: spec)
    found = document("run", "study.yaml", status=4)
    assert (found["outcome"], found["exit_code"], found["failed_trials"], found["cost_usd"]) == (
        "failed_trials",
        4,
        4,
        0.5,
    )
    assert found["headline"].startswith("All 4 trials failed")


def test_what_a_cluster_is_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_prepared(folder / "data")
    file = str(write_study(folder, model=LSTM))
    job = SimpleNamespace(study="tiny", id="tiny-1", active=False, state="STOPPED", submitted_at=datetime.now(UTC))
    head = SimpleNamespace(jobs=list, log=lambda _: "a\nb\x1b[2J\n")
    for module in (submit, stop):
        monkeypatch.setattr(module, "reach", lambda *_: head)
    monkeypatch.setattr("cluster.cli.logs.reach", lambda *_: head)
    monkeypatch.setattr("cluster.jobs.job.find", lambda *_: job)
    monkeypatch.setattr("cluster.jobs.submit.submit", lambda *_, **__: SimpleNamespace(job=job, before=False))
    address = ("--address", "http://127.0.0.1:8265")
    found = document("submit", file, *address, status=0)
    assert (found["job"], found["submitted"], found["exit_code"]) == ("tiny-1", True, None)
    monkeypatch.setattr("cluster.cli.following.follow_to_end", lambda *_, to_stderr: 4 if to_stderr else 0)
    assert document("submit", file, *address, "--wait", status=4)["exit_code"] == 4
    assert document("stop", "tiny", *address)["state"] == "STOPPED"
    assert document("logs", "tiny", *address, status=0)["lines"] == ["a", "b\x1b[2J"]
