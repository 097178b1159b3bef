"""What is written for people is true: the files, commands, keys and targets that documents name exist, and all do."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from cluster.cli import COMMANDS
from cluster.study.spec import StudySpec

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "tests/README.md", "deploy/RUNBOOK.md")),
    *(ROOT / ".github").glob("*.md"),
    *(ROOT / "cluster").rglob("README.md"),
    *(ROOT / "trainer").rglob("README.md"),
]


def test_the_readme_is_short_and_names_what_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.split()) < 1050
    named = re.findall(r"`((?:cluster|trainer|tests)/[\w/]+\.(?:py|md))`", readme)
    assert len(named) > 8
    commands = set(re.findall(r"^    batchscope (\w+)", readme, re.MULTILINE))
    assert commands == {"prepare", "noise", "plan", "run", "report", "submit", "results", "fleet"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_and_links_what_exists(document: Path) -> None:
    text = document.read_text()
    named = re.findall(r"`((?:cluster|trainer|tests|deploy)/[\w/.-]*\w)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    linked = [link.partition("#")[0] for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)]
    assert [link for link in linked if link and not (document.parent / link).exists()] == []


def test_every_command_is_shown_with_its_other_commands() -> None:
    shown = (ROOT / "cluster" / "cli" / "README.md").read_text()
    assert set(re.findall(r"^    batchscope (\w+)", shown, re.MULTILINE)) == set(COMMANDS)


def test_every_key_of_a_study_is_explained() -> None:
    explained = set(re.findall(r"`([\w.]+)`", (ROOT / "cluster" / "study" / "README.md").read_text()))
    assert sorted(set(_keys(StudySpec)) - explained) == []


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The keys of a model that hold a value; of those with keys of their own, these."""
    for name, field in model.model_fields.items():
        kinds = [kind for kind in get_args(field.annotation) or [field.annotation] if isinstance(kind, type)]
        inner = [kind for kind in kinds if issubclass(kind, BaseModel)]
        if not inner:
            yield f"{prefix}{name}"
        for kind in inner:
            yield from _keys(kind, f"{prefix}{name}.")


def test_every_promise_of_the_readme_has_its_row_among_all() -> None:
    rows = (ROOT / "tests" / "README.md").read_text()
    held = set(re.findall(r"^\| .* \| `(tests/[^`]*)`", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert len(held) >= 9
    assert [test for test in held if test not in rows] == []


def test_every_room_stands_in_the_tree() -> None:
    tree = (ROOT / "README.md").read_text().partition("## The house")[2]
    rooms = {path.parent.name for package in ("trainer", "cluster") for path in (ROOT / package).glob("*/__init__.py")}
    assert rooms - set(re.findall(r"(\w+)/ ", tree)) == set()


def test_make_alone_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    shown = subprocess.run(["make", "--silent"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^make (\w+) +\S", shown, re.MULTILINE) == phony.split()


def test_the_one_workflow_calls_what_anybody_runs() -> None:
    [workflow] = (ROOT / ".github" / "workflows").iterdir()
    assert re.findall(r"^ +- run: (.*)$", workflow.read_text(), re.MULTILINE) == [".ci/run"]
