"""Every bad input is one line that names the thing, the value and the remedy, and writes nothing."""

import json
import os
import re
import signal
import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cluster.cli.prepare import command
from cluster.prepare import prepare
from cluster.process import signals
from trainer.errors import InputError, NotReadyError

ROWS = [{"body": f"text number {index}", "topic": f"t{index % 2}", "source": f"s{index % 30}"} for index in range(100)]


def write(tmp_path: Path, name: str, rows: list[dict[str, object]]) -> str:
    path = tmp_path / name
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        columns = list(rows[0])
        lines = [",".join("" if row[name] is None else str(row[name]) for name in columns) for row in rows]
        path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    return str(path)


def refused(tmp_path: Path, source: str | list[str], pattern: str, **options) -> None:
    dest = tmp_path / "out"
    options = {"text": "body", "label": "topic"} | options
    with pytest.raises(InputError) as caught:
        prepare([source] if isinstance(source, str) else source, str(dest), **options)
    message = str(caught.value)
    assert re.search(pattern, message), message
    assert "\n" not in message
    assert not dest.exists()
    assert not list(tmp_path.glob(".*"))


def changed(index: int, **values: object) -> list[dict[str, object]]:
    return [row | values if number == index else row for number, row in enumerate(ROWS)]


def test_source_that_does_not_exist(tmp_path: Path) -> None:
    refused(tmp_path, str(tmp_path / "none.csv"), r"source .*none\.csv does not exist: check the path")


def test_no_source(tmp_path: Path) -> None:
    refused(tmp_path, [], "no source was given")


def test_address_of_another_kind(tmp_path: Path) -> None:
    refused(tmp_path, "https://example.com/a.csv", r"https://example.com/a.csv is not a place that can be used")


def test_unknown_ending(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("")
    refused(tmp_path, str(tmp_path / "a.xlsx"), r"a\.xlsx has the unknown ending '\.xlsx': use one of \.parquet")


def test_folder_without_data(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("")
    refused(tmp_path, str(tmp_path / "in"), r"no Parquet, JSONL or CSV file \(found: \.txt\)")


def test_the_same_file_twice(tmp_path: Path) -> None:
    source = write(tmp_path, "a.csv", ROWS)
    refused(tmp_path, [source, source], "given twice")


def written_twice(tmp_path: Path, name: str, double: str) -> str:
    """Rows of which one column stands twice, with other values the second time."""
    path = tmp_path / name
    columns = ["body", "topic", "source", double]
    lines = [[*(str(row[column]) for column in columns[:3]), "other"] for row in ROWS]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_arrays([pa.array(values) for values in zip(*lines, strict=True)], columns), path)
    elif path.suffix == ".jsonl":
        keys = [json.dumps(column) for column in columns]
        objects = [", ".join(f'{key}: "{value}"' for key, value in zip(keys, line, strict=True)) for line in lines]
        path.write_text("".join(f"{{{pairs}}}\n" for pairs in objects))
    else:
        between = "\t" if path.suffix == ".tsv" else ","
        path.write_text("".join(between.join(line) + "\n" for line in [columns, *lines]))
    return str(path)


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv", "a.tsv"])
@pytest.mark.parametrize("double", ["body", "topic", "source"])
def test_two_columns_of_one_name(tmp_path: Path, name: str, double: str) -> None:
    source = written_twice(tmp_path, name, double)
    pattern = f"a{Path(name).suffix}( line 1)? has several columns named '{double}' \\(2\\), .*: rename or drop"
    refused(tmp_path, source, pattern, group_by="source")
    if double == "source":
        prepare([source], str(tmp_path / "out"), text="body", label="topic")


def test_a_key_that_stands_twice_on_a_later_line_or_deeper_down(tmp_path: Path) -> None:
    lines = [json.dumps(row | {"more": {}}) for row in ROWS]
    lines[4] = lines[4].replace('"more": {}', '"more": {"body": 1, "body": 2}')
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    prepare([str(tmp_path / "a.jsonl")], str(tmp_path / "fine"), text="body", label="topic")
    lines[7] = f'{{"topic": "t9", {lines[7][1:]}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    refused(tmp_path, str(tmp_path / "a.jsonl"), "line 8 has several columns named 'topic'")


def test_mixed_formats(tmp_path: Path) -> None:
    sources = [write(tmp_path, "a.csv", ROWS), write(tmp_path, "b.parquet", ROWS)]
    refused(tmp_path, sources, "sources mix formats .*convert")


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv"])
class TestAnyFormat:
    def test_missing_column(self, tmp_path: Path, name: str) -> None:
        source = write(tmp_path, name, ROWS)
        refused(
            tmp_path,
            source,
            r"has no column 'bodi' \(did you mean 'body'\?\): its columns are body, topic",
            text="bodi",
        )
        refused(tmp_path, source, "has no column 'x': its columns are", group_by="x")

    def test_empty_text(self, tmp_path: Path, name: str) -> None:
        source = write(tmp_path, name, changed(41, body="  "))
        place = {"a.parquet": "row 42", "a.jsonl": "line 42", "a.csv": "line 43"}[name]
        refused(tmp_path, source, f"{place}: text 'body' is empty: correct it, or pass --skip-empty")

    def test_missing_label(self, tmp_path: Path, name: str) -> None:
        source = write(tmp_path, name, changed(50, topic=None))
        refused(tmp_path, source, r"(row 51|line 51|line 52): label 'topic' is missing: fill it in", batch_rows=20)

    def test_missing_label_after_a_skipped_row(self, tmp_path: Path, name: str) -> None:
        rows = changed(50, topic=None)
        rows[45] = rows[45] | {"body": " "}
        source = write(tmp_path, name, rows)
        refused(tmp_path, source, "(row 51|line 51|line 52): label 'topic' is missing", skip_empty=True)

    def test_empty_label(self, tmp_path: Path, name: str) -> None:
        refused(tmp_path, write(tmp_path, name, changed(50, topic="")), "label 'topic' is missing")

    def test_missing_group(self, tmp_path: Path, name: str) -> None:
        source = write(tmp_path, name, changed(50, source=None))
        refused(tmp_path, source, r"(row 51|line 51|line 52): group 'source' is missing", group_by="source")

    def test_one_label(self, tmp_path: Path, name: str) -> None:
        source = write(tmp_path, name, [row | {"topic": "a"} for row in ROWS])
        refused(tmp_path, source, "label 'topic' has only the value 'a': there must be at least two classes")

    def test_label_only_outside_train(self, tmp_path: Path, name: str) -> None:
        # Text number 100 is not in train; the search below finds such a row without knowing the hash.
        from cluster.prepare.splits import by_hash, hashes

        index = by_hash(hashes((str(row["body"]) for row in ROWS), split_seed=0)).tolist().index(1)
        source = write(tmp_path, name, changed(index, topic="rare"))
        refused(
            tmp_path, source, "label 'topic' 'rare' has 1 rows, none of them in the train split: drop those rows, merge"
        )

    def test_empty_split(self, tmp_path: Path, name: str) -> None:
        refused(tmp_path, write(tmp_path, name, ROWS[:4]), r"the (validation|test) split is empty \(4 rows in all")
        one_group = [row | {"source": "same"} for row in ROWS]
        refused(tmp_path, write(tmp_path, name, one_group), "split is empty.*groups", group_by="source")

    def test_words_as_regression(self, tmp_path: Path, name: str) -> None:
        refused(
            tmp_path, write(tmp_path, name, ROWS), "label 'topic' is 't0', not a number: correct", task="regression"
        )

    def test_number_that_is_not_finite(self, tmp_path: Path, name: str) -> None:
        rows = [row | {"topic": index + 0.5} for index, row in enumerate(ROWS)]
        rows[60]["topic"] = float("nan")
        refused(tmp_path, write(tmp_path, name, rows), "(row 61|line 61|line 62): label 'topic' is nan, not finite")
        with_empty = [row | {"body": " "} if index == 55 else row for index, row in enumerate(rows)]
        source = write(tmp_path, name, with_empty)
        refused(tmp_path, source, "(row 61|line 61|line 62): label 'topic' is nan, not finite", skip_empty=True)
        rows[60]["topic"] = 1e300
        refused(tmp_path, write(tmp_path, name, rows), "is 1e\\+300, not finite as a float32")

    def test_too_many_labels(self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cluster.prepare.labels.MOST_LABELS", 20)
        source = write(tmp_path, name, [row | {"topic": index} for index, row in enumerate(ROWS)])
        refused(tmp_path, source, r"more than 20 different values \(0, 1, \.\.\.\).*--task regression")


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
class TestTypedFormats:
    def test_missing_text(self, tmp_path: Path, name: str) -> None:
        source = write(tmp_path, name, changed(41, body=None))
        refused(tmp_path, source, r"(row|line) 42: text 'body' is missing \(null\)", skip_empty=True)

    def test_text_that_is_no_string(self, tmp_path: Path, name: str) -> None:
        source = write(tmp_path, name, [row | {"body": 5} for row in ROWS])
        refused(tmp_path, source, "'body' (has the type|is a) int.*--text column")

    def test_label_that_is_a_list(self, tmp_path: Path, name: str) -> None:
        source = write(tmp_path, name, [row | {"topic": ["a"]} for row in ROWS])
        refused(tmp_path, source, "'topic' (has the type|is a) list.*--label column")


def test_group_that_is_a_list(tmp_path: Path) -> None:
    source = write(tmp_path, "a.parquet", [row | {"source": ["a"]} for row in ROWS])
    refused(tmp_path, source, "'source' has the type list.*--group-by", group_by="source")


def test_label_that_is_a_date(tmp_path: Path) -> None:
    table = pa.table({"body": ["a", "b"], "topic": pa.array([1, 2], pa.date32())})
    pq.write_table(table, tmp_path / "a.parquet")
    refused(tmp_path, str(tmp_path / "a.parquet"), "'topic' has the type date32.*--label")


@pytest.mark.parametrize(("batch_rows", "other"), [(1000, 5), (10, 5), (10, True)])
def test_labels_of_two_types(tmp_path: Path, batch_rows: int, other: object) -> None:
    source = write(tmp_path, "a.jsonl", changed(50, topic=other))
    refused(tmp_path, source, "label.*'topic'.*(one type)", batch_rows=batch_rows)


def test_files_whose_labels_have_two_types(tmp_path: Path) -> None:
    sources = [
        write(tmp_path, "a.parquet", ROWS),
        write(tmp_path, "b.parquet", [row | {"topic": 1} for row in ROWS]),
    ]
    refused(tmp_path, sources, "label 'topic' is integer in one place and string in another")


def test_damaged_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really PAR1")
    refused(tmp_path, str(tmp_path / "a.parquet"), r"a\.parquet cannot be read as Parquet")


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ('{"body": "x", ', r"line 3 is not JSON \(.*\): there must be one JSON object on each line"),
        ("[1]", "line 3 is a JSON list, not an object"),
        ('{"body": "\\ud800", "topic": "a"}', "line 3: text 'body' contains half a surrogate"),
    ],
)
def test_malformed_json(tmp_path: Path, line: str, pattern: str) -> None:
    lines = [json.dumps(row) for row in ROWS]
    lines[2] = line
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    refused(tmp_path, str(tmp_path / "a.jsonl"), pattern)


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("a,b,c,d", "line 3 has 4 fields, but the header has 3: correct the line"),
        ('"a,b,c', "line 3 is not CSV .*quote"),
        ('a"b"," c"d,e', "line 3 is not CSV"),
    ],
)
def test_malformed_csv(tmp_path: Path, line: str, pattern: str) -> None:
    path = Path(write(tmp_path, "a.csv", ROWS))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    refused(tmp_path, str(path), pattern)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_bytes_that_are_not_utf8(tmp_path: Path, name: str) -> None:
    path = Path(write(tmp_path, name, changed(4, body="caf\xe9 x")))
    path.write_bytes(path.read_text().replace("\\u00e9", "\xe9").encode("latin-1"))
    refused(tmp_path, str(path), f"line {5 if name == 'a.jsonl' else 6} is not UTF-8 .*save the file as UTF-8")


def test_no_rows(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"body": pa.array([], pa.string()), "topic": pa.array([], pa.string())}), tmp_path / "a.parquet"
    )
    refused(tmp_path, str(tmp_path / "a.parquet"), "no rows with text")
    (tmp_path / "a.csv").write_text("body,topic\n")
    refused(tmp_path, str(tmp_path / "a.csv"), "no rows with text")


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"label": "body"}, "--text and --label both name the column 'body'"),
        ({"max_tokens": 0}, "--max-tokens is 0: use 1 or more"),
        ({"vocabulary": 2}, "--vocabulary is 2: use 3 or more"),
        ({"task": "ranking"}, "--task is 'ranking'"),
        ({"split_seed": -1}, "--split-seed is -1"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, object], pattern: str) -> None:
    refused(tmp_path, write(tmp_path, "a.csv", ROWS), pattern, **options)


def test_destination_in_use(tmp_path: Path) -> None:
    source = write(tmp_path, "a.csv", ROWS)
    dest = tmp_path / "out"
    prepare([source], str(dest), text="body", label="topic")
    before = {path.name: path.read_bytes() for path in dest.iterdir()}
    with pytest.raises(InputError, match="already holds prepared data: choose another folder or delete it"):
        prepare([source], str(dest), text="body", label="topic")
    assert {path.name: path.read_bytes() for path in dest.iterdir()} == before
    with pytest.raises(InputError, match=r"is not empty \(it holds .*\) and is not prepared data"):
        prepare([source], str(tmp_path), text="body", label="topic")
    with pytest.raises(InputError, match="is a file"):
        prepare([source], source, text="body", label="topic")


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path: Path) -> None:
    source = write(tmp_path, "a.csv", ROWS)
    (tmp_path / "empty").mkdir()
    for dest in (tmp_path / "empty", tmp_path / "x" / "y"):
        prepare([source], str(dest), text="body", label="topic")
        assert (dest / "manifest.json").exists()


def test_destination_that_cannot_be_written(tmp_path: Path) -> None:
    source = write(tmp_path, "a.csv", ROWS)
    with pytest.raises(NotReadyError, match="cannot be written"):
        prepare([source], f"{source}/below-a-file", text="body", label="topic")


def test_source_that_changes_while_it_is_read(tmp_path: Path) -> None:
    source = Path(write(tmp_path, "a.csv", ROWS))

    def grow(stage: str, share: float) -> None:
        if stage == "counting words":
            with source.open("a") as file:
                file.write("one more,t0,s0\n")

    refused(tmp_path, str(source), r"the sources changed while they were being read \(100 rows, then", progress=grow)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source = write(tmp_path, "a.csv", ROWS)
    # In the background of a shell they are ignored.
    signal.signal(number, signal.SIG_DFL)
    signals.install()

    def signalled(_: object) -> object:
        assert list(tmp_path.glob(".out.partial-*/data/train-*.parquet"))
        os.kill(os.getpid(), number)
        raise AssertionError("not reached")

    monkeypatch.setattr("cluster.prepare.dataset.identified", signalled)
    CliRunner().invoke(command, [source, str(tmp_path / "out"), "--text", "body", "--label", "topic"])
    assert signals.count() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "local:x", ":6379"])
def test_an_address_of_no_kind(tmp_path: Path, address: str) -> None:
    source = write(tmp_path, "a.csv", ROWS)
    refused(tmp_path, source, "--address .* is not the address of a cluster to join", address=address)


def test_an_address_where_nothing_answers(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NotReadyError, match=f"nothing answers at --address {address}"):
            prepare(
                [write(tmp_path, "a.csv", ROWS)], str(tmp_path / "out"), text="body", label="topic", address=address
            )
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_the_command_says_what_it_wrote_and_what_is_next(tmp_path: Path) -> None:
    source = write(tmp_path, "a.csv", ROWS)
    arguments = [source, str(tmp_path / "out"), "--text", "body", "--label", "topic"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    # Every row has a number of its own.
    assert all("are not in the vocabulary" in line for line in result.stderr.splitlines())
    described, _, table = result.stdout.partition("\n\n")
    assert table.split()[:4] == ["class", "train", "validation", "test"]
    assert table.splitlines()[-1].startswith(f"next        batchscope init {tmp_path / 'out'} ")
    lines = dict(line.split(maxsplit=1) for line in described.splitlines())
    assert list(lines) == [
        "read",
        "prepared",
        "rows",
        "labels",
        "vocabulary",
        "lengths",
        "repeated",
        "data_hash",
        "time",
    ]
    assert lines["labels"].startswith("2; in train: t")
    again = CliRunner().invoke(command, arguments)
    assert isinstance(again.exception, InputError)
    assert again.exception.exit_code == 2
