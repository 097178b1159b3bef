"""Keys, tokens and passwords in the environment of a command are in nothing that it prints or writes."""

import sys
from pathlib import Path

import pytest

from cluster.process import signals
from cluster.stores import bucket, calls
from tests.support.keys import KEYS, holding, planted_in

# Nobody listens there, and a company's proxy may ask for a password.
PROXY = "http://somebody:planted-password-of-a-proxy@127.0.0.1:1"
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), PROXY)
# TEST-NET-1: no machine has such an address, and a proxy is asked for it.
ELSEWHERE = "http://192.0.2.1:8265"


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {**KEYS, **PROXIES, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    # Set by commands for their own process.
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(bucket, "SECONDS", 1.0)
    monkeypatch.setattr(calls, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def end_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command in this process."""
    from cluster import cli

    monkeypatch.setattr(sys, "argv", ["batchscope", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code)


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--address", ELSEWHERE],
        ["submit", "study.yaml", "--address", ELSEWHERE],
        ["results", "wiki", "--summary", "s3://bucket/summary"],
        ["report", "wiki", "--summary", "s3://bucket/summary", "-o", "page.html"],
        ["prepare", "s3://bucket/rows.csv", "out", "--text", "t", "--label", "l"],
    ],
    ids=lambda words: words[0],
)
def test_no_key_and_no_password_of_a_proxy_is_printed_or_written(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("study.yaml").write_text(
        "{study: a, data: s3://b/d, summary: s3://b/s, task: classification, budget: {updates: 1}, "
        "axes: {global_batch: [8], learning_rate: 0.1, seeds: 1}}"
    )
    code = end_of(words, monkeypatch)
    out, err = capfd.readouterr()
    assert code in (2, 3), err
    assert err.startswith("batchscope: ")
    assert not planted_in(out + err), err
    assert holding(tmp_path) == []


def test_the_report_of_an_internal_error_has_no_key_of_the_environment(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from cluster import cli

    with pytest.raises(ConnectionError) as raised:
        raise ConnectionError(f"no answer through {PROXY} from {KEYS['AWS_ENDPOINT_URL_S3']}/bucket")
    assert cli.report_bug(raised.value) == cli.EXIT_BUG
    [report] = tmp_path.iterdir()
    assert "no answer through http://127.0.0.1:1 from https://s3.example.org/bucket" in report.read_text()
    assert holding(tmp_path) == []
    assert not planted_in("".join(capfd.readouterr()))


def test_what_fails_while_a_command_stops_is_printed_without_a_password(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from cluster import cli

    def interrupted(standalone_mode: bool) -> None:
        raise ConnectionError(f"no answer through {PROXY}")

    monkeypatch.setattr(cli, "batchscope", interrupted)
    monkeypatch.setattr(signals, "count", lambda: 1)
    assert cli._ended() == cli.EXIT_BUG
    assert capfd.readouterr().err == (
        "batchscope: while stopping: ConnectionError: no answer through http://127.0.0.1:1\n"
    )
