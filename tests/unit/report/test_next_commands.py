"""The commands that come next are those that can be typed where the last one was."""

import sys
from pathlib import Path

import pytest

from cluster.report.next_commands import aligned, indented, next_commands, program_name, summary_option


@pytest.mark.parametrize(
    ("summary", "option"),
    [
        ("{here}/summary", ""),
        ("{here}/demo/summary", " --summary demo/summary"),
        ("{here}/a b", " --summary 'a b'"),
        ("{here}-2/summary", " --summary {here}-2/summary"),
        ("s3://bucket/summary", " --summary s3://bucket/summary"),
    ],
)
def test_the_summary_is_named_where_it_is_not_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, summary: str, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    place = summary.format(here=tmp_path)
    option = option.format(here=tmp_path)
    assert summary_option(place) == option
    report, serve, follow = [line.partition("  #")[0].rstrip() for line in next_commands("wiki", place)]
    assert report.endswith(f"report wiki -o wiki.html{option}")
    assert serve.endswith(f"serve{option}")
    assert follow.endswith(f"next wiki -o wiki-next.yaml{option}")


def test_a_program_that_is_not_on_the_path_is_called_by_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "my env" / "batchscope"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program), "demo"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program_name() == "'my env/batchscope'"
    monkeypatch.setenv("PATH", str(program.parent))
    assert program_name() == "batchscope"


def test_where_a_line_is_too_long_comments_are_above_their_commands() -> None:
    lines = aligned({"run a": "runs", "serve": "in a browser"})
    assert indented(lines, None) == indented(lines, 80) == ["    run a  # runs", "    serve  # in a browser"]
    assert indented(lines, 24) == ["    # runs", "    run a", "    # in a browser", "    serve"]
