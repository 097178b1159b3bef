"""Files as people have them: other delimiters and encodings, rows without labels, tables of numbers."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cluster.cli.prepare import command
from cluster.prepare import prepare
from cluster.prepare.batches import Columns
from cluster.prepare.duplicates import EMPTY, Sample
from cluster.prepare.reading import WhatWasRead
from cluster.prepare.text_form import delimiter_of
from cluster.prepare.wide import with_wide
from cluster.report.what_was_read import doubts
from trainer.data.manifest import SPLITS, Manifest
from trainer.errors import InputError

HEADER = ("id", "body", "topic")
ROWS = [(str(number), f"l'\xe9t\xe9; word{number % 7} w{number}", ("art", "law")[number % 2]) for number in range(200)]


def as_text(rows: list[tuple[str, ...]], delimiter: str = ",") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\r\n").writerows([HEADER, *rows])
    return file.getvalue()


def written(path: Path, content: str, encoding: str = "utf-8") -> str:
    path.write_bytes(content.encode(encoding))
    return str(path)


def prepared(source: str, dest: Path, **options: object) -> tuple[Manifest, WhatWasRead]:
    reads: list[WhatWasRead] = []
    options = {"text": "body", "label": "topic", "on_read": reads.append} | options
    manifest = prepare([source], str(dest), **options)
    [read] = reads
    return manifest, read


def called(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The `data_hash` of ROWS as a plain CSV file."""
    folder = tmp_path_factory.mktemp("plain")
    manifest, read = prepared(written(folder / "a.csv", as_text(ROWS)), folder / "out")
    assert (read.delimiters, read.encodings) == ((",",), ("utf-8",))
    return manifest.data_hash


@pytest.mark.parametrize(
    ("delimiter", "encoding", "options"),
    [
        (";", "utf-8", {}),
        ("\t", "utf-8-sig", {}),
        ("|", "utf-16", {}),
        (",", "cp1252", {"encoding": "cp1252"}),
        ("~", "utf-8", {"delimiter": "~"}),
        ("\t", "utf-8", {"delimiter": "tab"}),
    ],
)
def test_the_same_rows_in_another_form_are_the_same_data(
    tmp_path: Path, plain: str, delimiter: str, encoding: str, options: dict[str, str]
) -> None:
    source = written(tmp_path / "a.csv", as_text(ROWS, delimiter), encoding)
    manifest, read = prepared(source, tmp_path / "out", **options)
    assert manifest.data_hash == plain
    assert read.delimiters == (delimiter,)
    assert read.encodings == (encoding.removesuffix("-sig"),)


def test_another_form_is_said_and_the_usual_one_is_not(tmp_path: Path) -> None:
    names = ("--text", "body", "--label", "topic")
    other = written(tmp_path / "b.csv", as_text(ROWS, ";"), "utf-16")
    said = called(other, str(tmp_path / "b"), *names).stdout
    assert "read        200 rows of 1 CSV file (delimiter ';'; encoding utf-16)\n" in said
    assert re.search(r"^class +train +validation +test\nart +\d+ +\d+ +\d+\nlaw +\d+ +\d+ +\d+$", said, re.MULTILINE)
    assert f"next        batchscope init {tmp_path / 'b'} " in said
    usual = called(written(tmp_path / "a.csv", as_text(ROWS)), str(tmp_path / "a"), *names).stdout
    assert "read        200 rows of 1 CSV file\n" in usual


def test_a_file_in_another_encoding_is_refused_with_what_it_would_say(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", as_text(ROWS), "cp1252")
    with pytest.raises(
        InputError, match=r"line 2 is not UTF-8 .* if \"0,l'\xe9t\xe9; .*\" is .*, pass --encoding cp1252"
    ):
        prepared(source, tmp_path / "out")
    with pytest.raises(InputError, match=r"is not ascii after line 0 .* pass another --encoding"):
        prepared(source, tmp_path / "out", encoding="ascii")


@pytest.mark.parametrize(
    ("header", "wanted", "found"),
    [
        ("a;b,c", ["a;b"], ","),
        ("a;b,c", ["b,c"], ";"),
        ("a;b;c", ["typo"], ";"),
        ("a,b;c", ["typo"], ","),
        ('"a,b";c', ["a,b", "c"], ";"),
        ("a b", ["a"], ","),
    ],
)
def test_the_delimiter_is_the_one_that_gives_the_columns(header: str, wanted: list[str], found: str) -> None:
    assert delimiter_of(header, wanted, ",") == found


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("a.csv", {"delimiter": ";;"}, "--delimiter is ';;': give one character"),
        ("a.csv", {"encoding": "utf-99"}, "--encoding is 'utf-99', which is none"),
        ("a.csv", {"encoding": "base64"}, "--encoding is 'base64', which is none"),
        ("a.parquet", {"encoding": "cp1252"}, "Parquet is always UTF-8"),
        ("a.jsonl", {"delimiter": ";"}, "is for CSV files only"),
    ],
)
def test_a_form_that_cannot_be_is_refused(tmp_path: Path, name: str, options: dict[str, str], problem: str) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        prepared(written(tmp_path / name, as_text(ROWS)), tmp_path / "out", **options)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_all_bad_rows_are_counted_and_left_out_on_demand(tmp_path: Path, name: str) -> None:
    rows = [
        (id_, "  " if int(id_) % 50 == 3 else body, "" if int(id_) % 40 == 7 else topic) for id_, body, topic in ROWS
    ]
    source = str(tmp_path / name)
    if name == "a.csv":
        written(tmp_path / name, as_text(rows))
    else:
        pq.write_table(pa.table(dict(zip(HEADER, zip(*rows, strict=True), strict=True))), source)
    unit, first = ("line", 2) if name == "a.csv" else ("row", 1)
    with pytest.raises(InputError) as refused:
        prepared(source, tmp_path / "out")
    assert str(refused.value).splitlines() == [
        f"text 'body' is empty in 4 of 200 rows: correct them, or pass --skip-empty ({source} {unit} {3 + first}; "
        f"{source} {unit} {53 + first}; {source} {unit} {103 + first}, ...)",
        "label 'topic' is missing in 5 of 200 rows: fill it in, drop those rows, or pass --skip-unlabelled "
        f"({source} {unit} {7 + first}; {source} {unit} {47 + first}; {source} {unit} {87 + first}, ...)",
    ]
    assert not (tmp_path / "out").exists()
    manifest, read = prepared(source, tmp_path / "out", skip_empty=True, skip_unlabelled=True)
    assert (read.rows, manifest.skipped_rows, sum(manifest.splits[split].rows for split in SPLITS)) == (200, 9, 191)
    kept = [row for row in rows if row[1].strip() and row[2]]
    alone, _ = prepared(written(tmp_path / "kept.csv", as_text(kept)), tmp_path / "kept")
    assert {split: alone.splits[split].label_counts for split in SPLITS} == {
        split: manifest.splits[split].label_counts for split in SPLITS
    }
    said = called(
        source, str(tmp_path / "c"), "--text", "body", "--label", "topic", "--skip-empty", "--skip-unlabelled"
    )
    assert "left out    4 with an empty text, 5 without a label\n" in said.stdout


def test_bad_rows_of_several_files_are_counted_together(tmp_path: Path) -> None:
    for name, missing in (("a", {3, 5}), ("b", {7, 9, 11})):
        rows = [(id_, f"{name} {body}", "" if int(id_) in missing else topic) for id_, body, topic in ROWS]
        written(tmp_path / f"{name}.csv", as_text(rows))
    with pytest.raises(InputError) as refused:
        prepared(str(tmp_path), tmp_path.parent / f"{tmp_path.name}-out")
    places = "; ".join(f"{tmp_path}/{place}" for place in ("a.csv line 5", "a.csv line 7", "b.csv line 9"))
    assert "missing in 5 of 400 rows" in str(refused.value)
    assert str(refused.value).endswith(f"({places}, ...)")


def test_rows_of_numbers_without_a_label_are_left_out_too(tmp_path: Path) -> None:
    lines = [f"{number};{number % 7};{'' if number % 9 == 4 else number % 2}" for number in range(150)]
    source = written(tmp_path / "a.csv", "\n".join(["x;y;kind", *lines]))
    manifest, read = prepared(source, tmp_path / "out", text=None, features="x,y", label="kind", skip_unlabelled=True)
    assert read.faults["without label"][0] == manifest.skipped_rows == 17
    kept = written(tmp_path / "b.csv", "\n".join(["x;y;kind", *(line for line in lines if not line.endswith(";"))]))
    same, _ = prepared(kept, tmp_path / "kept", text=None, features="x,y", label="kind")
    assert manifest.data_hash == same.data_hash


def test_labels_that_are_probably_one_or_none_are_doubted(tmp_path: Path) -> None:
    labels = ["General"] * 90 + ["general "] * 40 + ["N/A"] * 40 + ["law"] * 30
    rows = [(id_, body, label) for (id_, body, _), label in zip(ROWS, labels, strict=True)]
    source = written(tmp_path / "a.csv", as_text(rows))
    manifest, _ = prepared(source, tmp_path / "out")
    assert doubts(manifest) == [
        "2 classes differ only in case or spaces from another: 'General' (90), 'general ' (40). Write each label in "
        "one way, or they are learnt as different classes",
        "'N/A' (40) looks like no label, but is a class here: empty the field and pass --skip-unlabelled to leave such "
        "rows out",
    ]
    said = called(source, str(tmp_path / "b"), "--text", "body", "--label", "topic")
    assert said.stderr.count("warning: ") == 2
    assert "'general '" in said.stdout
    plain, _ = prepared(written(tmp_path / "c.csv", as_text(ROWS)), tmp_path / "c")
    assert doubts(plain) == []


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl"])
@pytest.mark.parametrize("option", ["x1,x2,y", "x*,y", "*"])
def test_columns_of_numbers_are_the_vector_of_a_row(tmp_path: Path, name: str, option: str) -> None:
    drawn = np.random.default_rng(0).normal(size=(150, 3)).round(3)
    table = pa.table({"x1": drawn[:, 0], "x2": drawn[:, 1], "y": drawn[:, 2], "kind": [str(n % 2) for n in range(150)]})
    source = str(tmp_path / name)
    if name == "a.parquet":
        pq.write_table(table, source)
    elif name == "a.jsonl":
        table.to_pandas().to_json(source, orient="records", lines=True)
    else:
        table.to_pandas().to_csv(source, index=False, sep=";")
    manifest, read = prepared(source, tmp_path / "out", text=None, features=option, label="kind")
    assert (manifest.kind, manifest.features_width, read.rows) == ("vectors", 3, 150)
    lists = pa.table({"f": pa.array(drawn.tolist()), "kind": table["kind"].cast(pa.string())})
    pq.write_table(lists, tmp_path / "lists.parquet")
    same, _ = prepared(str(tmp_path / "lists.parquet"), tmp_path / "lists", text=None, features="f", label="kind")
    assert {split: manifest.splits[split].digest for split in SPLITS} == {
        split: same.splits[split].digest for split in SPLITS
    }


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("a,bb", "1", "no column is called 'bb' (did you mean 'b'?)"),
        ("a,kind", "1", "has the column 'kind', which is also a label or group"),
        ("z*", "1", "no column is called 'z*'"),
        ("a,b", "1,5", "line 4: features 'b' is '1,5', not a number"),
        ("a,b", "1_0", "line 4: features 'b' is '1_0', not a number"),
        ("a,b", "", "line 4: features 'a,b' ([2.0, nan]) has a number that is missing or not finite"),
        ("a", "1", "a field of CSV cannot hold a list"),
    ],
)
def test_a_column_that_holds_no_numbers_is_refused(tmp_path: Path, option: str, value: str, problem: str) -> None:
    rows = "".join(f"{number};{value if number == 2 else number};{number % 2}\n" for number in range(60))
    source = written(tmp_path / "a.csv", f"a;b;kind\n{rows}")
    with pytest.raises(InputError, match=re.escape(problem)):
        prepared(source, tmp_path / "out", text=None, features=option, label="kind")


def test_a_column_whose_name_looks_like_a_pattern_is_itself() -> None:
    columns = Columns(text=None, features="a,b", label="k")
    assert with_wide(columns, "a,b", lambda: ("a,b", "a", "b", "k")).wide == ()
    assert with_wide(columns, "a,b*", lambda: ("a", "b*", "bb", "k")).wide == ("a", "b*")


def test_duplicates_are_counted_and_estimated_where_they_are_many(tmp_path: Path) -> None:
    rows = [*ROWS, *[(id_, f" {body.upper()}", topic) for id_, body, topic in ROWS[:30]]]
    _, read = prepared(written(tmp_path / "a.csv", as_text(rows)), tmp_path / "out")
    assert read.duplicates == 30
    hashes = np.random.default_rng(1).integers(2**64, size=40_000, dtype=np.uint64)
    found = EMPTY
    for part in np.split(np.concatenate([hashes, hashes]), 10):
        found = found.joined(Sample(part), most=20_000)
    assert found.halvings > 0
    assert found.duplicates() == pytest.approx(40_000, rel=0.05)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("a.xlsx", r"save its sheet as CSV \(in Excel: Save As, CSV UTF-8\)"),
        ("a.csv.gz", r"unpack it first: gunzip -k .*a\.csv\.gz"),
        ("a.zip", r"unpack it first: unzip .*a\.zip"),
    ],
)
def test_a_file_that_is_not_read_has_a_way_to_one_that_is(tmp_path: Path, name: str, remedy: str) -> None:
    with pytest.raises(InputError, match=f"unknown ending .*; {remedy}"):
        prepared(written(tmp_path / name, "x"), tmp_path / "out")
