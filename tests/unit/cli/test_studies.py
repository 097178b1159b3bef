"""`batchscope studies`: lists that fit a terminal, JSON with its version, and no deletion that nobody confirmed."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.cli.studies import command
from cluster.report import studies
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.studies import unfinished
from cluster.summary.studies.place import StudyPlace
from cluster.summary.studies.unfinished import Change
from cluster.text.table import to_text
from trainer.errors import InputError

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
WHY = "Does a global batch of 256 cost quality on the tickets of the last quarter, or only memory and speed?"


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    one = Summary(str(tmp_path / "summary"))
    spec = {"spec_hash": "5bec", "spec_json": '{"study": "wiki"}', "trials": 12, "task": "classification"}
    times = {"declared_at": AT, "started_at": AT.replace(day=9)}
    one.write_study({**spec, **times, "study": "wiki", "description": WHY, "tags": "tickets, base line"})
    one.write_study({**spec, **times, "study": "a-much-longer-name-of-a-study", "data": "/data"})
    return one


def run(summary: Summary, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--summary", summary.uri], standalone_mode=False)


def of_json(summary: Summary, *arguments: str) -> Any:
    result = run(summary, *arguments, "--format", "json")
    assert result.exception is None, result.output
    found = json.loads(result.stdout)
    assert found["schema_version"] == 1
    return found


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_fits_its_terminal_and_is_aligned(width: int, summary: Summary) -> None:
    rows = studies.shortened(studies.listed(query.overview(summary), []))
    lines = to_text(rows, studies.COLUMNS, width=width).splitlines()
    table = [line for line in lines if not line.startswith("(")]
    assert all(len(line) <= width for line in lines)
    begins = {line.index("2026-01-02 03:04") for line in table if "2026-01-02" in line}
    assert len(begins) == 1
    assert "tickets, base line" in "".join(table) or width < 80
    assert "Does a global batch of 256 ..." in "".join(table) or width < 120


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_study_is_shown_in_lines_of_words(width: int, summary: Summary) -> None:
    run(summary, "note", "wiki", "a note " * 30)
    shown = studies.text(studies.shown(StudyPlace(summary, "wiki")), width)
    assert all(len(line) <= width for line in shown.splitlines() if "/" not in line)
    assert WHY in " ".join(shown.split())
    assert "a note a note a note" in " ".join(shown.split())
    assert "started      2026-01-02 03:04 UTC; last run 2026-01-09 03:04" in shown
    assert "declared 2026-01-02 03:04 UTC" in " ".join(shown.split())


def test_the_list_for_programs_has_whole_texts_and_a_tag_chooses(summary: Summary) -> None:
    assert [row["study"] for row in of_json(summary, "list")["rows"]] == ["a-much-longer-name-of-a-study", "wiki"]
    [row] = of_json(summary, "list", "--tag", "base line")["rows"]
    assert (row["study"], row["description"], row["started_at"]) == ("wiki", WHY, AT.isoformat())
    assert of_json(summary, "list", "--tag", "base")["rows"] == []


def test_notes_are_kept_with_their_time_and_shown_as_text(summary: Summary) -> None:
    assert of_json(summary, "note", "wiki", "asked by \x1b[2JEva")["done"] == "note"
    run(summary, "note", "wiki", "again")
    found = of_json(summary, "show", "wiki")
    assert [note["text"] for note in found["notes"]] == ["asked by \x1b[2JEva", "again"]
    assert found["tags"] == ["tickets", "base line"]
    assert [spec["declared_at"] for spec in found["specs"]] == [AT.isoformat()]
    assert "asked by Eva" in run(summary, "show", "wiki").stdout
    assert [row["notes"] for row in of_json(summary, "list")["rows"]] == [0, 2]
    summary.store.write("notes/study=wiki/0.json", b"[]")
    with pytest.warns(UserWarning, match="not a note"):
        assert len(of_json(summary, "show", "wiki")["notes"]) == 2
    for wrong in (" ", "x" * 2001):
        assert isinstance(run(summary, "note", "wiki", wrong).exception, InputError)
    assert "did you mean 'wiki'" in str(run(summary, "note", "wikki", "why").exception)


def test_nothing_is_deleted_unless_somebody_said_so(summary: Summary) -> None:
    for form in ("table", "json"):
        refused = run(summary, "delete", "wiki", "--format", form).exception
        assert isinstance(refused, InputError)
        assert refused.exit_code == 2
        assert "give --yes" in str(refused)
    assert "wiki" in query.names(summary)
    assert of_json(summary, "delete", "wiki", "--yes") == {"schema_version": 1, "done": "delete", "study": "wiki"}
    assert query.names(summary) == ["a-much-longer-name-of-a-study"]


@pytest.mark.parametrize(("answer", "left"), [("n\n", 2), ("y\n", 1)])
def test_a_person_is_asked(answer: str, left: int, summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.cli.studies._is_asked", lambda form: form == "table")
    arguments = ["delete", "wiki", "--summary", summary.uri]
    result = CliRunner().invoke(command, arguments, input=answer, standalone_mode=False)
    assert result.exception is None
    assert result.return_value == (1 if left == 2 else 0)
    assert len(query.names(summary)) == left


def test_studies_are_renamed_copied_moved_and_merged(summary: Summary) -> None:
    other = Summary(f"{summary.uri}-2")
    assert of_json(summary, "rename", "wiki", "news")["name"] == "news"
    of_json(summary, "copy", "news", other.uri)
    assert query.names(other) == ["news"]
    assert of_json(other, "merge", summary.uri)["studies"] == ["a-much-longer-name-of-a-study", "news"]
    assert isinstance(run(summary, "move", "news", other.uri).exception, InputError)
    of_json(summary, "delete", "news", "--yes")
    of_json(other, "move", "news", summary.uri)
    assert query.names(summary) == ["a-much-longer-name-of-a-study", "news"]
    assert query.names(other) == ["a-much-longer-name-of-a-study"]
    for name in ("../news", "-news", "a" * 65, "a/b"):
        arguments = ["rename", "--summary", summary.uri, "--", "news", name]
        refused = CliRunner().invoke(command, arguments, standalone_mode=False).exception
        assert isinstance(refused, InputError), name
        assert "cannot be a study's name" in str(refused)


def test_what_was_not_finished_is_named(summary: Summary) -> None:
    place = StudyPlace(summary, "wiki")
    unfinished.begin(place, Change(unfinished.MOVE, place, StudyPlace(summary, "news")))
    half = f"batchscope studies rename wiki news --summary {summary.uri}"
    assert of_json(summary, "show", "wiki")["unfinished_command"] == half
    assert f"wiki is half-way through `{half}`" in run(summary, "list").stderr
    refused = run(summary, "note", "wiki", "why").exception
    assert half in str(refused)
    assert half in str(run(summary, "rename", "wiki", "else").exception)


def test_alone_it_is_the_list(tmp_path: Path, summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, [], standalone_mode=False)
    assert result.exit_code == 0
    assert result.stdout == run(summary, "list").stdout
