"""Values that no reader can use, however they came to be: one line with the place, and never an error of our own."""

import json
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.prepare import prepare
from trainer.errors import InputError

ROWS = [{"body": f"text number {index}", "topic": f"t{index % 2}", "source": f"s{index % 30}"} for index in range(100)]
LONG = 50 * 2**20


def refused(source: Path, pattern: str, **options: Any) -> None:
    with pytest.raises(InputError, match=pattern) as caught:
        prepare([str(source)], str(source.parent / "out"), **({"text": "body", "label": "topic"} | options))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert [path.name for path in source.parent.iterdir()] == [source.name]


def jsonl(tmp_path: Path, changes: dict[str, Any], index: int = 40) -> Path:
    path = tmp_path / "a.jsonl"
    rows = [row | changes if number == index else row for number, row in enumerate(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parquet(tmp_path: Path, column: str, values: pa.Array) -> Path:
    table = pa.Table.from_pylist(ROWS[: len(values)])
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, values), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


@pytest.mark.parametrize(("what", "column"), [("text", "body"), ("label", "topic"), ("group", "source")])
def test_half_a_surrogate_pair_is_no_character(tmp_path: Path, what: str, column: str) -> None:
    source = jsonl(tmp_path, {column: "x\ud800"})
    refused(source, rf"line 41: {what} '{column}' contains half a surrogate pair", group_by="source")


@pytest.mark.parametrize("value", [["a"], {"a": 1}, [[["a"]]]])
def test_a_group_in_json_is_one_value(tmp_path: Path, value: object) -> None:
    source = jsonl(tmp_path, {"source": value})
    refused(source, r"line 41: group 'source' is a (list|dict): it must be .*--group-by", group_by="source")


@pytest.mark.parametrize("column", ["body", "topic", "source"])
@pytest.mark.parametrize("dictionary", [False, True])
def test_text_in_parquet_that_is_not_utf8_is_named(tmp_path: Path, column: str, dictionary: bool) -> None:
    texts = [str(row[column]).encode() for row in ROWS]
    texts[40] = b"caf\xe9"
    values = pa.array(texts, pa.binary()).view(pa.string())
    source = parquet(tmp_path, column, values.dictionary_encode() if dictionary else values)
    refused(source, f"row 41: '{column}' is not UTF-8", group_by="source", batch_rows=17)


@pytest.mark.parametrize("deep", [300, 900, 100_000])
@pytest.mark.parametrize("column", ["body", "topic", "source", "x"])
def test_lists_in_lists_in_lists(tmp_path: Path, deep: int, column: str) -> None:
    source = jsonl(tmp_path, {column: "HERE"} if column != "x" else {"x": "HERE"}, 0)
    source.write_text(source.read_text().replace('"HERE"', "[" * deep + "1" + "]" * deep))
    if column != "x":
        refused(source, r"line 1(:| is not JSON)", group_by="source")
    else:
        refused(source, r"line 1(:| is not JSON)", text=None, features="x")


DATES: Sequence[pa.Array] = [
    pa.array([2**30] * 100, pa.int32()).cast(pa.date32()),
    pa.array([2**60] * 100, pa.int64()).cast(pa.timestamp("ms")),
    pa.array([2**60] * 100, pa.int64()).cast(pa.duration("s")),
]


@pytest.mark.parametrize("dates", DATES, ids=lambda dates: str(dates.type))
def test_a_group_that_is_a_date_of_no_calendar(tmp_path: Path, dates: pa.Array) -> None:
    source = parquet(tmp_path, "source", dates)
    refused(source, "column 'source' has a value that is out of range .*--group-by", group_by="source")


@pytest.mark.parametrize("first", [[None], [None, [1.0, 2.0]], [[]], [[], [1.0, 2.0]]])
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_sequence_whose_first_vector_is_missing(tmp_path: Path, name: str, first: Any) -> None:
    rows = [{"x": [[float(index), 2.0]], "topic": index % 2} for index in range(100)]
    rows[0]["x"] = first
    if name == "a.jsonl":
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    refused(tmp_path / name, r"(row|line) 1: features 'x' .*has an empty list", text=None, features="x")


@pytest.mark.parametrize("tokens", [2**31, 10**30])
def test_more_tokens_than_can_be_counted(tmp_path: Path, tokens: int) -> None:
    refused(
        jsonl(tmp_path, {}), rf"--max-tokens is {tokens}: use 1 or more, and at most 2,147,483,647", max_tokens=tokens
    )


@pytest.mark.parametrize(("name", "value"), [("vocabulary", 10**30), ("vocabulary", 2), ("split_seed", 2**63)])
def test_a_number_that_cannot_be_used_is_named_with_its_bounds(tmp_path: Path, name: str, value: int) -> None:
    option = f"--{name.replace('_', '-')}"
    refused(jsonl(tmp_path, {}), rf"{option} is {value}: use .* (at most|to) [\d,]+", **{name: value})


def test_a_cut_beyond_all_texts_takes_the_memory_of_the_texts(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    manifest = prepare([str(jsonl(tmp_path, {}))], str(tmp_path / "out"), text="body", label="topic", max_tokens=10**9)
    assert (manifest.max_tokens, manifest.longest) == (10**9, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv"])
@pytest.mark.timeout(60)
def test_a_text_of_many_megabytes_is_named_and_not_worked_on(tmp_path: Path, name: str) -> None:
    rows = [row | {"body": "x " * (LONG // 2)} if index == 40 else row for index, row in enumerate(ROWS)]
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    elif name == "a.jsonl":
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        (tmp_path / name).write_text("body,topic\n" + "".join(f"{row['body']},{row['topic']}\n" for row in rows))
    refused(tmp_path / name, r"(row|line) 4[12]: text 'body' has 52,428,800 characters, more than 4,194,304: cut it")


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv"])
def test_a_label_of_many_characters_is_not_said_whole(tmp_path: Path, name: str) -> None:
    rows = [row | {"topic": "long " * 100_000} if index == 40 else row for index, row in enumerate(ROWS)]
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    elif name == "a.jsonl":
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        (tmp_path / name).write_text("body,topic\n" + "".join(f"{row['body']},{row['topic']}\n" for row in rows))
    refused(tmp_path / name, r"(row|line) 4[12]: label 'topic' has 500,000 characters \(long .*\), more than 1,000")


def test_a_header_of_long_names_is_not_said_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",".join("n" * 5_000 + str(number) for number in range(3)) + "\na,b,c\n")
    refused(tmp_path / "a.csv", "has no column 'body': its columns are nnn")
