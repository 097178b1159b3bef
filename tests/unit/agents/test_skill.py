"""The skill is true: its commands are parsed by the real ones, and every field and claim in it exists."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from cluster.agents.skill import skill_text
from cluster.cli import COMMANDS, batchscope, run
from cluster.drive.result import End, RunResult
from cluster.plan import as_json
from cluster.report.claims import PREDICATES, parse_claim
from tests.support import agents

TEXT = skill_text()


def parsed(words: list[str]) -> None:
    """Let the command of these words parse its options and arguments, without running it."""
    command = batchscope.get_command(click.Context(batchscope), words[0])
    assert command is not None, words
    command.make_context(words[0], list(words[1:]))


def lines() -> list[list[str]]:
    """The command lines of the skill: in its blocks, after `batchscope` in a sentence, and in its table."""
    blocks = re.findall(r"```\n(.*?)```", TEXT, re.DOTALL)
    found = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    found += [shlex.split(line) for line in re.findall(r"`(batchscope [^`\n]+)`", TEXT)]
    assert all(words[0] == "batchscope" for words in found)
    return [words[1:] for words in found] + [shlex.split(line) for line in table("command")]


def table(head: str) -> dict[str, list[str]]:
    """The table whose first column has this head: the code in it, and the code beside."""
    [rows] = re.findall(rf"\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT)
    cells = [[re.findall("`([^`]+)`", cell) for cell in row.strip("|").split(" | ")] for row in rows.splitlines()]
    return {first[0]: beside for first, beside in cells}


def test_every_command_is_parsed_by_the_real_one() -> None:
    found = lines()
    assert len(found) > 10
    for words in found:
        parsed(words)
    with pytest.raises(click.NoSuchOption):
        parsed(["results", "--verdicts"])


def test_every_command_that_an_agent_needs_is_there() -> None:
    assert {words[0] for words in lines()} >= {"prepare", "init", "plan", "run", "results", "next", "report", "mcp"}
    assert set(re.findall(r"`(\w+)`", TEXT)) & {"demo"} == set()


def test_every_tool_is_there_with_fields_that_it_answers(tmp_path: Path) -> None:
    _, offered = agents.offered(str(tmp_path))
    fields = {tool["name"]: set(tool["output_schema"].get("properties", {})) for tool in offered}
    told = table("tool")
    assert set(told) == set(fields)
    for name, beside in told.items():
        known = (
            fields[name]
            if name != "plan"
            else set(re.findall(r'^        "(\w+)":', Path(as_json.__file__).read_text(), re.M))
        )
        assert beside
        assert set(beside) <= known, name


def test_every_claim_is_there_and_can_be_read() -> None:
    assert {parse_claim(text).predicate for text in table("claim")} == set(PREDICATES)


def printed(words: list[str]) -> dict[str, Any]:
    command = batchscope.get_command(click.Context(batchscope), words[0])
    result = CliRunner().invoke(command, words[1:], standalone_mode=False)
    assert result.exception is None, result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_every_key_is_in_what_the_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    summary = agents.decided(tmp_path / "summary")
    spec = SimpleNamespace(study="topics", summary=summary)
    ended = RunResult(study=SimpleNamespace(spec=spec), end=End.COMPLETED)
    monkeypatch.setattr(run, "watch", lambda *_, **__: ended)
    monkeypatch.setattr("cluster.study.spec.load", lambda path: spec)
    for line, keys in table("command").items():
        found = printed(shlex.split(line.replace("my-study", "topics")))
        assert {"schema_version", *keys} <= set(found), line
        assert keys


def test_it_is_a_skill_and_the_command_prints_it() -> None:
    _, head, _ = TEXT.split("---\n", 2)
    known = yaml.safe_load(head)
    assert (known["name"], list(known)) == ("batchscope", ["name", "description"])
    # What agents read of every skill, before they open one.
    assert len(known["description"]) < 1024
    assert TEXT.count("\n") < 150
    command = batchscope.get_command(click.Context(batchscope), "mcp")
    assert CliRunner().invoke(command, ["--skill"], standalone_mode=False).stdout == TEXT
    assert "mcp" in COMMANDS
