"""How a command ends that met what nobody expected: a full disk is said, and a bug is reported where there is room."""

import errno
import tempfile
from pathlib import Path

import click
import pytest

from cluster import cli

FULL = OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")


def failing(monkeypatch: pytest.MonkeyPatch, problem: Exception, behind: Exception | None = None) -> object:
    """The exit code of a command in which this is raised."""

    def command(**_: object) -> None:
        raise problem from behind

    monkeypatch.setattr(cli, "batchscope", command)
    return cli._ended()


@pytest.mark.parametrize(("problem", "behind"), [(FULL, None), (RuntimeError("a library's words"), FULL)])
def test_a_full_disk_is_one_sentence_wherever_it_is_met(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: Exception, behind: Exception | None
) -> None:
    assert failing(monkeypatch, problem, behind) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"batchscope: No space left on device at {tempfile.gettempdir()}: make room there")
    assert "Traceback" not in said


def test_a_bug_is_reported_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert failing(monkeypatch, ZeroDivisionError("of ours")) == 70
    [report] = tmp_path.iterdir()
    assert "ZeroDivisionError: of ours" in report.read_text()
    assert str(report) in capsys.readouterr().err


def test_a_bug_is_printed_where_no_report_can_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert failing(monkeypatch, ZeroDivisionError("of ours")) == 70
    said = capsys.readouterr().err
    assert "internal error (ZeroDivisionError: of ours); please report it (No such file or directory):" in said
    assert "Traceback (most recent call last)" in said


def test_a_users_mistake_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(monkeypatch, click.UsageError("no such option")) == 2
