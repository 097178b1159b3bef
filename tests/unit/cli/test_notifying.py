"""`--notify`: who is told how a study ended, with the same exit code and error as without it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.cli import notifying, run, submit
from cluster.process import notice as process_notice
from cluster.process.signals import StoppedError
from cluster.report.notice import notice
from cluster.study.spec import load
from tests.conftest import write_prepared
from tests.support import agents
from tests.support.simulated import spec_of
from tests.support.studies import LSTM, write_study
from trainer.errors import NotReadyError

HOOK = "https://hooks.example.com/secret-path"
Told = list[dict[str, Any]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """The notices that were given, to nobody."""
    found: Told = []

    def give(receiver: Any, given: dict[str, Any]) -> str:
        found.append(given)
        return f"could not notify {receiver.shown}"

    monkeypatch.setattr(process_notice, "give", give)
    return found


@pytest.fixture
def file(tmp_path: Path) -> str:
    write_prepared(tmp_path / "data")
    return str(write_study(tmp_path, model=LSTM))


def ran(file: str, work: Callable[..., int], monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    monkeypatch.setattr(run, "run_and_watch", work)
    return CliRunner().invoke(run.command, [file, *options], standalone_mode=False)


@pytest.mark.parametrize(
    ("status", "outcome"), [(0, "completed"), (1, "refused"), (4, "failed_trials"), (6, "out_of_budget")]
)
def test_the_end_is_told_and_the_exit_code_stays(
    told: Told, file: str, monkeypatch: pytest.MonkeyPatch, status: int, outcome: str
) -> None:
    result = ran(file, lambda spec, **_: status, monkeypatch, "--notify", HOOK)
    assert (result.exception, result.return_value, result.stdout) == (None, status, "")
    assert [(one["schema_version"], one["study"], one["outcome"]) for one in told] == [(1, "tiny", outcome)]
    assert result.stderr == "could not notify https://hooks.example.com/...\n"


@pytest.mark.parametrize(
    ("problem", "outcome", "line"),
    [
        (
            NotReadyError("s3://key:secret@bucket does not answer \x1b[2J"),
            "error",
            "s3://bucket does not answer \\u001b[2J",
        ),
        (StoppedError(), "stopped", "Its results cannot be read from here."),
        (ZeroDivisionError("secret"), "error", "internal error (ZeroDivisionError)"),
    ],
)
def test_what_ends_it_is_told_and_raised_all_the_same(
    told: Told, file: str, monkeypatch: pytest.MonkeyPatch, problem: BaseException, outcome: str, line: str
) -> None:
    def work(spec: Any, **_: Any) -> int:
        raise problem

    notified = notifying.receiver(HOOK, joins_cluster=False)
    with pytest.raises(type(problem)):
        notifying.with_notice(notified, load(file), lambda: work(None))
    assert [(one["outcome"], one["headline"]) for one in told] == [(outcome, line)]


def test_nobody_is_told_by_default_and_a_wrong_receiver_starts_nothing(
    told: Told, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran(file, lambda spec, **_: 0, monkeypatch).return_value == 0
    assert told == []
    result = ran(file, lambda spec, **_: pytest.fail("it was started"), monkeypatch, "--notify", "http://example.com/x")
    assert "in the clear" in str(result.exception)


def test_on_a_cluster_the_address_comes_by_the_environment_which_no_child_inherits(
    told: Told, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = ran(file, lambda spec, **_: 0, monkeypatch, "--address", "auto", "--notify", HOOK)
    assert "put it into the environment variable BATCHSCOPE_NOTIFY" in str(result.exception)
    assert "secret-path" not in str(result.exception)
    monkeypatch.setenv(notifying.VARIABLE, HOOK)
    inherited: list[str | None] = []

    def work(spec: Any, **_: Any) -> int:
        inherited.append(os.environ.get(notifying.VARIABLE))
        return 0

    assert ran(file, work, monkeypatch, "--address", "auto").return_value == 0
    assert (inherited, len(told)) == ([None], 1)


def test_submit_tells_only_if_it_waits(told: Told, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [file, "--address", "http://127.0.0.1:8265", "--notify", HOOK]
    result = CliRunner().invoke(submit.command, arguments, standalone_mode=False)
    assert "needs --wait" in str(result.exception)
    monkeypatch.setattr(submit, "reach", lambda *_: None)
    for status, count in ((4, 1), (130, 1), (143, 2)):
        monkeypatch.setattr("cluster.cli.following.hand_over", lambda *_, status=status, **__: status)
        result = CliRunner().invoke(submit.command, [*arguments, "--wait"], standalone_mode=False)
        assert (result.return_value, len(told)) == (status, count)
    assert [one["outcome"] for one in told] == ["failed_trials", "stopped"]


def test_a_notice_has_the_answer_and_what_an_error_quotes_is_text(tmp_path: Path) -> None:
    spec = spec_of(study="topics", summary=agents.decided(tmp_path / "decided"))
    found = notice(spec, "completed", None)
    assert list(found) == ["schema_version", "study", "outcome", "headline", "text"]
    assert found["headline"].startswith("Yes: the batch size changes the quality here. Use B = 32")
    broken = agents.failed(tmp_path / "failed", error="<!channel> \x1b[2J {}")
    found = notice(spec_of(study="broken", summary=broken), "failed_trials", None)
    assert "&lt;!channel&gt;" in found["text"]
    assert "\\u001b" not in json.dumps(found).replace("\\\\u001b", "")
