"""Quotes in CSV and TSV: a text of several lines is one row, and no row is lost in a text."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.prepare import prepare
from cluster.prepare.batches import Columns
from cluster.prepare.delimited import label_type
from cluster.prepare.files import read
from cluster.prepare.sources import find
from trainer.data.manifest import Manifest
from trainer.errors import InputError

Row = tuple[str, str]


def opened_and_closed_later() -> list[Row]:
    """Sentences, a line each: a quotation opens in one, goes over the next and closes at the end of a third."""
    rows = []
    for number in range(80):
        rows.append((f'"We shall rebuild the bridge before winter said member {number}', "politics"))
        rows.append((f"The crowd in street {number} listened and then went home", "sport"))
        rows.append((f'Nobody here doubts it any more she added in hall {number}"', ("sport", "politics")[number % 2]))
    return rows + [(f"A plain sentence about road {number}", ("sport", "politics")[number % 2]) for number in range(40)]


def plainly(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("body", "topic")) -> str:
    """A file as someone writes it who knows of no quoting."""
    between = "\t" if path.suffix == ".tsv" else ","
    path.write_text("".join(between.join(row) + "\n" for row in [header, *rows]))
    return str(path)


def as_csv(path: Path, rows: Sequence[Sequence[str]], **options: object) -> str:
    """A file as the standard library writes it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",", **options)  # type: ignore[arg-type]
        writer.writerows([("body", "topic"), *rows])
    return str(path)


def read_back(source: str) -> list[Row]:
    (file,) = find([source])
    batches = read(file, Columns(text="body", label="topic"))
    return [row for batch in batches for row in zip(batch.texts, batch.labels.to_pylist(), strict=True)]


def prepared(source: str, tmp_path: Path, **options: str) -> Manifest:
    return prepare([source], str(tmp_path / "out"), **({"text": "body", "label": "topic"} | options))


def rows_of(manifest: Manifest) -> int:
    return sum(split.rows for split in manifest.splits.values())


def test_a_quote_in_a_tsv_of_plain_lines_is_a_character(tmp_path: Path) -> None:
    rows = [*opened_and_closed_later(), ('"Never!" he said', "sport"), ('an inch is 1"', "sport"), ('"', "politics")]
    source = plainly(tmp_path / "a.tsv", rows)
    assert read_back(source) == rows
    assert rows_of(prepared(source, tmp_path)) == len(rows)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("label_first", [False, True])
def test_also_with_other_line_ends_blank_lines_and_columns(tmp_path: Path, end: str, label_first: bool) -> None:
    rows = [("7", label, text) if label_first else ("7", text, label) for text, label in opened_and_closed_later()]
    header = ("id", "topic", "body") if label_first else ("id", "body", "topic")
    source = Path(plainly(tmp_path / "a.tsv", rows, header))
    source.write_bytes(source.read_bytes().replace(b"\n", end.encode()) + end.encode())
    assert read_back(str(source)) == opened_and_closed_later()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize(
    "body",
    [
        'Hello,\nthe printer "LX" is broken,\n\nregards, Ann',
        '"Help!"\nshe wrote',
        "Hello,\nplease help",
        "Name,Ann\nWhat,printer",
        "\nall of it\n",
        'the last line is a quote\n"',
    ],
)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_texts_of_several_lines_are_one_row_each(tmp_path: Path, name: str, body: str, quoting: int) -> None:
    rows = [(f"{body} {number}" if number % 3 else "one line", ("spam", "ham")[number % 2]) for number in range(150)]
    source = as_csv(tmp_path / name, rows, quoting=quoting)
    assert read_back(source) == rows
    assert rows_of(prepared(source, tmp_path)) == len(rows)


def test_texts_that_quote_a_row_now_and_then_are_no_reason_to_refuse(tmp_path: Path) -> None:
    rows = [
        (f"my table\nis,spam\nline {number}" if number < 40 else f"two\nlines {number}", "spam") for number in range(99)
    ]
    source = as_csv(tmp_path / "a.csv", [*rows, ("x", "ham")])
    [found] = find([source])
    assert label_type(found, Columns(text="body", label="topic")).label_type == "string"


@pytest.mark.parametrize("commas", ["", ", as far as is known,"])
@pytest.mark.parametrize("label_first", [False, True])
def test_quotes_of_a_csv_that_swallow_rows_are_refused_with_the_line(
    tmp_path: Path, commas: str, label_first: bool
) -> None:
    plain = [("a first sentence", "sport"), *opened_and_closed_later()]
    rows = [(text.replace(" ", commas + " ", 1) if text.startswith('"') else text, label) for text, label in plain]
    if label_first:
        rows = [(label, text) for text, label in rows]
    source = plainly(tmp_path / "a.csv", rows, ("topic", "body") if label_first else ("body", "topic"))
    pattern = r"a\.csv line 3: a quote opens a field there that ends on line 5 .*quote the field and double the quotes"
    with pytest.raises(InputError, match=pattern):
        prepared(source, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("header", [("body", "id"), ("id", "body"), ("id", "title", "body", "kind")])
def test_swallowed_rows_are_also_seen_where_nothing_is_labelled(tmp_path: Path, header: Sequence[str]) -> None:
    fields = [
        {"body": text, "id": str(index), "title": f"title {index}", "kind": kind}
        for index, (text, kind) in enumerate([("a first sentence", "sport"), *opened_and_closed_later()])
    ]
    source = plainly(tmp_path / "a.csv", [[row[name] for name in header] for row in fields], header)
    pattern = (
        r"line 3: a quote opens a field there that ends on line 5 and contains what look like rows: quote the field"
    )
    with pytest.raises(InputError, match=pattern):
        prepare([source], str(tmp_path / "out"), text="body", task="language_model")
    assert not (tmp_path / "out").exists()


def test_texts_of_several_lines_need_no_label(tmp_path: Path) -> None:
    body = "Dear all,\n1, 2, 3 and off,\n7,high\nregards, Ann"
    with (tmp_path / "a.csv").open("w", newline="") as file:
        rows = [(index, f"{body} {index}", ("high", "low")[index % 2], f"title {index}") for index in range(150)]
        csv.writer(file).writerows([("id", "body", "priority", "title"), *rows])
    manifest = prepare([str(tmp_path / "a.csv")], str(tmp_path / "out"), text="body", task="language_model")
    assert rows_of(manifest) == len(rows)


def test_swallowed_rows_with_numbers_as_labels_are_seen_by_their_kind(tmp_path: Path) -> None:
    rows = [(text, f"{index / 7:.3f}") for index, (text, _) in enumerate(opened_and_closed_later())]
    with pytest.raises(InputError, match=r"line 2: a quote opens a field there that ends on line 4"):
        prepared(plainly(tmp_path / "a.csv", rows), tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_quotes_escaped_with_a_backslash_are_named_as_such(tmp_path: Path, name: str) -> None:
    between = "\t" if name == "a.tsv" else ","
    plain = [("nothing to escape", "sport"), *opened_and_closed_later()]
    lines = ['"{}"'.format(text.replace('"', '\\"')) + between + label for text, label in plain]
    (tmp_path / name).write_text("\n".join([f"body{between}topic", *lines]) + "\n")
    if name == "a.csv":
        with pytest.raises(InputError, match=r"line 3 .*escaped with a backslash: double them instead"):
            prepared(str(tmp_path / name), tmp_path)
    else:
        assert len(read_back(str(tmp_path / name))) == len(plain)


def test_a_tsv_of_one_column_whose_quotes_stay_open_is_refused_with_the_line(tmp_path: Path) -> None:
    texts = [(text,) for text, _ in opened_and_closed_later()]
    source = plainly(tmp_path / "a.tsv", [("plain",), *texts], ("body",))
    with pytest.raises(
        InputError, match=r"line 3 begins with a quote that is not closed on that line: with a single column"
    ):
        prepare([source], str(tmp_path / "out"), text="body", task="language_model")


def test_a_quote_that_nothing_closes_is_named_with_the_line_where_it_opens(tmp_path: Path) -> None:
    rows = [("plain", "a"), ('"never closed', "b"), *[(f"text {number}", "a") for number in range(50)]]
    with pytest.raises(InputError, match=r"line 3 is not CSV .*look for a quote that is not closed or doubled"):
        prepared(plainly(tmp_path / "a.csv", rows), tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_that_stands_again_among_the_rows_is_no_row(tmp_path: Path, name: str, mark: str) -> None:
    rows = [(f"text number {number}", ("spam", "ham")[number % 2]) for number in range(100)]
    source = Path(plainly(tmp_path / name, rows))
    source.write_text(mark + source.read_text() + mark + source.read_text())
    with pytest.raises(InputError, match=rf"{name} line 102 is the header again: .*; delete the line"):
        prepared(str(source), tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_lines_that_end_with_a_carriage_return_alone_are_named_as_such(tmp_path: Path, name: str) -> None:
    rows = [(f"text number {number}", ("spam", "ham")[number % 2]) for number in range(100)]
    source = Path(plainly(tmp_path / name, rows))
    source.write_bytes(source.read_bytes().replace(b"3\tham\n", b"3\tham\r").replace(b"3,ham\n", b"3,ham\r"))
    with pytest.raises(
        InputError, match=r"line 5 contains a lone carriage return: end lines with LF or CR LF, or quote"
    ):
        prepared(str(source), tmp_path)


def test_a_column_whose_name_has_spaces_around_it_is_shown_as_it_is(tmp_path: Path) -> None:
    source = plainly(tmp_path / "a.csv", [("text", "a", "b")], ("body", " topic", "to\u00a0pic "))
    pattern = r"no column 'topic' \(did you mean ' topic'\?\): its columns are body, ' topic', 'to\\xa0pic '"
    with pytest.raises(InputError, match=pattern):
        prepared(source, tmp_path)


texts = st.text(st.sampled_from('ab "\n\r,;\\é'), min_size=1, max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(texts, st.sampled_from(["one", 'the "other"', "a,b"])), min_size=1, max_size=8))
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_what_a_writer_of_csv_wrote_is_read_back_whatever_it_is(tmp_path: Path, name: str, rows: list[Row]) -> None:
    assert read_back(as_csv(tmp_path / name, rows, quoting=csv.QUOTE_ALL)) == rows


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(st.sampled_from('ab "'), min_size=1), st.sampled_from(["x", "y"])), min_size=1))
def test_every_line_of_a_plain_tsv_is_a_row(tmp_path: Path, rows: list[Row]) -> None:
    assert len(read_back(plainly(tmp_path / "a.tsv", rows))) == len(rows)
