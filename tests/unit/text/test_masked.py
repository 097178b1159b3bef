"""No message shows the password of an address, whichever command was given it."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cluster.stores import client
from cluster.summary.store import Summary
from cluster.text.masked import masked
from trainer.errors import InputError

SECRET = "h4nter2-do-not-tell"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:8265/x", "http://host:8265/x"),
        ("me:secret@host:8265", "host:8265"),
        ("ray://me:s/ec@ret@host:1", "ray://host:1"),
        ("S3 says 'HTTPS://me:secret@host' is wrong", "S3 says 'HTTPS://host' is wrong"),
        ("http://host:8265", "http://host:8265"),
        ("two: http://a:b@c, http://d:e@f", "two: http://c, http://f"),
        ("", ""),
    ],
)
def test_what_stands_before_a_host_is_left_out(text: str, shown: str) -> None:
    assert masked(text) == shown


ADDRESS = f"http://user:{SECRET}@127.0.0.1:1"
COMMANDS = [
    ["list", "--address", ADDRESS],
    ["submit", "STUDY", "--address", ADDRESS],
    ["submit", "STUDY", "--address", f"user:{SECRET}@127.0.0.1:1"],
    ["run", "STUDY", "--address", ADDRESS],
    ["run", "STUDY", "--address", f"user:{SECRET}@127.0.0.1:1"],
    ["plan", "STUDY", "--address", ADDRESS],
    ["prepare", "rows.jsonl", "out", "--text", "t", "--label", "l", "--address", ADDRESS],
    ["prepare", "rows.jsonl", "out", "--text", "t", "--label", "l", "--address", f"user:{SECRET}@127.0.0.1:1"],
    ["results", "--summary", f"s3://user:{SECRET}@bucket/summary"],
    ["results", "--summary", f"http://user:{SECRET}@bucket/summary"],
    ["prepare", f"s3://user:{SECRET}@bucket/rows.csv", "out", "--text", "t", "--label", "l"],
    ["prepare", "rows.jsonl", f"s3://user:{SECRET}@bucket/out", "--text", "t", "--label", "l"],
    ["export", "wiki", "--to", f"tensorboard:http://user:{SECRET}@host"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words[:1] + words[-1:]).replace(SECRET, "x"))
def test_no_command_prints_the_password_of_an_address(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster import cli

    (tmp_path / "study.yaml").write_text(
        "{study: a, data: s3://b/d, summary: s3://b/s, task: classification, budget: {updates: 1}, "
        "axes: {global_batch: [8], learning_rate: 0.1, seeds: 1}}"
    )
    Summary(str(tmp_path / "summary")).write_study(
        {"study": "wiki", "spec_hash": "a", "started_at": datetime(2026, 1, 1, tzinfo=UTC), "trials": 1}
    )
    (tmp_path / "rows.jsonl").write_text('{"t": "a b", "l": "c"}\n' * 9)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["batchscope", *("study.yaml" if word == "STUDY" else word for word in words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capfd.readouterr()
    assert end.value.code in (2, 3), err
    assert SECRET not in out + err
    assert "://user" not in out + err
    assert err.startswith("batchscope: ")


def test_the_report_of_an_internal_error_holds_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster import cli

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConnectionError) as raised:
        raise ConnectionError(f"no answer from {ADDRESS}/bucket")
    assert cli.report_bug(raised.value) == cli.EXIT_BUG
    [report] = tmp_path.iterdir()
    for text in (report.read_text(), capsys.readouterr().err):
        assert "no answer from http://127.0.0.1:1/bucket" in text
        assert SECRET not in text


def test_an_endpoint_of_s3_that_is_wrong_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRET}@")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(InputError, match="correct AWS_ENDPOINT_URL") as refused:
        client.client()
    assert SECRET not in str(refused.value)
