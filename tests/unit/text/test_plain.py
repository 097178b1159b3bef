"""What people and files named reaches the terminal as text: it colours, moves and turns around nothing."""

import sys
from pathlib import Path

import pytest

from cluster import cli
from cluster.text.plain import plain, plain_lines

RED = "\x1b[31mred\x1b[0m"
TITLE = "\x1b]0;owned\x07"


def said(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["batchscope", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert not set(out + err) & {chr(code) for code in [*range(10), *range(11, 32), 0x7F, 0x202E]}
    return int(end.value.code or 0), out + err


def test_a_line_keeps_its_text_and_lines_stay_lines() -> None:
    assert plain(f"{RED} {TITLE}a\tb\u202ec\ud800") == "red abc"
    assert plain_lines(f"one {RED}\n{TITLE}two\r\n") == "one red\ntwo\n"


@pytest.mark.parametrize("name", ["a.csv", f"{RED}.csv"])
def test_errors_about_headers_labels_and_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(f"{RED}{TITLE},topic\na,b\n")
    code, text = said(["prepare", name, "out", "--text", "body", "--label", "topic"], monkeypatch, capsys)
    assert code == 2
    assert "its columns are red, topic" in text
    Path(name).write_text(f"body,topic\na,{RED}\nb,{RED}\n" * 1 + "".join(f"c{n},{RED}\n" for n in range(99)))
    code, text = said(["prepare", name, "out", "--text", "body", "--label", "topic"], monkeypatch, capsys)
    assert (code, "there must be at least two classes" in text) == (2, True)


def test_the_summary_of_what_was_prepared_and_a_wrong_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = [RED, f"{TITLE}\u202eblue"]
    Path("a.csv").write_text("body,topic\n" + "".join(f"w{n % 9} number {n},{labels[n % 2]}\n" for n in range(200)))
    code, text = said(["prepare", "a.csv", "out", "--text", "body", "--label", "topic"], monkeypatch, capsys)
    assert code == 0
    assert "in train: " in text
    assert "red" in text
    code, text = said(["prepare", "a.csv", "out", f"--{RED}"], monkeypatch, capsys)
    assert (code, "No such option" in text) == (2, True)


def test_keys_of_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text('study: x\n"k\\e[31mey": 1\n"other\\e[31m": 2\n')
    code, text = said(["plan", "s.yaml"], monkeypatch, capsys)
    assert code == 2
    assert "s.yaml: key is not a known key" in text
    assert len(text.splitlines()) == 6
