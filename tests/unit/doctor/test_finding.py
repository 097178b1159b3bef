"""What the doctor makes of its checks: what cannot be looked at is not run, and a surprise is a finding."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from cluster.cli.doctor import command
from cluster.doctor import checks
from cluster.doctor.finding import BewareError, Check, Finding, NotHereError, WrongError, examined
from trainer.errors import NotReadyError


def raising(problem: Exception) -> Any:
    def look(site: Any) -> str:
        assert site.folder.is_dir()
        raise problem

    return look


CHECKS = (
    Check(1, "good", lambda site: "all well", quick=True),
    Check(2, "wrong", raising(WrongError("mend it"))),
    Check(3, "beware", raising(BewareError("know it"))),
    Check(4, "absent", raising(NotHereError("no GPU here"))),
    Check(5, "store", raising(NotReadyError("S3 does not answer"))),
    Check(6, "surprise", raising(KeyError("x"))),
)


def test_each_end_of_a_check_has_its_outcome() -> None:
    assert [(one.outcome, one.text) for one in examined(CHECKS)] == [
        ("passed", "all well"),
        ("FAILED", "mend it"),
        ("beware", "know it"),
        ("not run", "no GPU here"),
        ("FAILED", "S3 does not answer"),
        ("FAILED", "KeyError: 'x'"),
    ]


def test_the_command_fails_with_3_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECKS", CHECKS)
    done = CliRunner().invoke(command, [], standalone_mode=False)
    assert done.return_value == 3
    assert done.stdout.splitlines()[1] == " 2  wrong          FAILED   mend it"
    assert done.stdout.splitlines()[-1] == "1 passed, 3 failed, 1 not run"
    quick = CliRunner().invoke(command, ["--quick", "--format", "json"], standalone_mode=False)
    assert quick.return_value == 0
    assert [Finding(**one).name for one in json.loads(quick.stdout)["checks"]] == ["good"]


def test_there_are_sixteen_in_their_order() -> None:
    assert [check.number for check in checks.CHECKS] == list(range(1, 17))
    assert len({check.name for check in checks.CHECKS}) == 16
    assert [check.number for check in checks.CHECKS if check.quick] == [1, 2, 3, 4, 5, 6, 12, 15]
