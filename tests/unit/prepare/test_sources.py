"""Which files a SOURCE means: each once, none passed over without a word, nothing that hangs."""

import os
from pathlib import Path

import pytest

from cluster.prepare import prepare
from cluster.prepare.sources import find
from trainer.errors import InputError

FILE = "body,topic\na b,x\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file and one below."""
    (tmp_path / "in" / "b").mkdir(parents=True)
    (tmp_path / "in" / "a.csv").write_text(FILE)
    (tmp_path / "in" / "b" / "c.csv").write_text(FILE)
    return tmp_path / "in"


def names(folder: Path) -> list[str]:
    return [os.path.relpath(source.name, folder) for source in find([str(folder)])]


def refused(sources: list[str], pattern: str) -> None:
    with pytest.raises(InputError, match=pattern) as caught:
        find(sources)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_second_name_of_a_file_is_refused(folder: Path, link: object) -> None:
    link(folder / "a.csv", folder / "latest.csv")  # type: ignore[operator]
    refused([str(folder)], r"latest\.csv is the file .*a\.csv under another name: name it once, or delete the link")
    refused([str(folder / "a.csv"), str(folder / "latest.csv")], r"latest\.csv is the file")


def test_a_file_of_a_folder_that_is_named_as_well_is_given_twice(folder: Path) -> None:
    refused([str(folder), str(folder / "a.csv")], r"a\.csv is given twice")
    refused([str(folder), str(folder / "b" / ".." / "a.csv")], r"a\.csv is given twice")


def test_links_to_folders_are_followed_once_and_loops_end(folder: Path) -> None:
    for name in ("loop", "again", "b/up"):
        (folder / name).symlink_to(folder)
    (folder / ".hidden").symlink_to(folder / "b")
    assert names(folder) == ["a.csv", "b/c.csv"]
    (folder / "z").mkdir()
    (folder / "z" / "d.csv").write_text(FILE)
    (folder / "to-z").symlink_to(folder / "z")
    assert names(folder) == ["a.csv", "b/c.csv", "to-z/d.csv"]


@pytest.mark.parametrize("name", ["a.csv.gz", "A.CSV.GZ", "b/more.jsonl.zst", "x.parquet.bz2", "x.tsv.zip"])
def test_a_compressed_file_is_not_passed_over(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    refused(
        [str(folder)],
        rf"holds {name}, but compressed files are not read: unpack it first: \w+ .*{name}, or move it away",
    )


def test_notes_and_hidden_files_are_passed_over(folder: Path) -> None:
    for name in ("README.md", "notes.gz", "_SUCCESS", ".a.csv.gz", "b/_old.csv"):
        (folder / name).write_bytes(b"")
    (folder / "note.txt").symlink_to(folder / "nothing")
    assert names(folder) == ["a.csv", "b/c.csv"]


@pytest.mark.parametrize("name", ["", " ", "\t"])
def test_an_empty_name_is_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(folder)
    refused([name], "a source is an empty text: name a")
    with pytest.raises(InputError, match="the destination is an empty text: name a folder"):
        prepare([str(folder)], name, text="body", label="topic")


@pytest.mark.timeout(20)
def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.csv")
    for source in (folder, folder / "pipe.csv"):
        refused([str(source)], r"pipe\.csv is a pipe or a device, .*: save it as a file")


def test_a_link_to_nothing_is_named(folder: Path) -> None:
    (folder / "gone.csv").symlink_to(folder / "nothing.csv")
    refused([str(folder)], r"gone\.csv is a link to nothing: delete it")
