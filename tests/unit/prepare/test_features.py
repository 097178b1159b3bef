"""Numbers instead of text, and text without labels: what stands in the shards, what is read back, what is refused."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cluster.prepare import prepare, shards
from trainer.data.inputs import PADDING_NUMBER, SEQUENCES, TOKENS, VECTORS, Inputs
from trainer.data.manifest import SPLITS, Manifest, read
from trainer.data.rows import open_rows
from trainer.data.store import Folder
from trainer.errors import InputError
from trainer.order.shapes import LENGTH_MULTIPLE

COUNT, WIDTH = 200, 3
LIST = pa.list_(pa.float32())


def vectors(seed: int = 0) -> list[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    return [{"x": np.float32(draw.normal(size=WIDTH)).tolist(), "y": "ab"[index % 2]} for index in range(COUNT)]


def sequences(seed: int = 0, longest: int = 11) -> list[dict[str, Any]]:
    """Some of their vectors are all zeros, at the end too."""
    draw = np.random.default_rng(seed)

    def numbers(length: int) -> Any:
        return np.float32(draw.normal(size=(length, WIDTH)) * (draw.random((length, 1)) < 0.6)).tolist()

    return [{"x": numbers(draw.integers(1, longest + 1)), "y": float(index)} for index in range(COUNT)]


def write(path: Path, rows: list[dict[str, Any]], kind: pa.DataType | None = None) -> str:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        table = pa.Table.from_pylist(rows)
        if kind is not None:
            table = table.set_column(0, "x", table["x"].cast(kind))
        pq.write_table(table, path)
    return str(path)


def prepared(tmp_path: Path, rows: list[dict[str, Any]], name: str = "a.parquet", **options: Any) -> Manifest:
    kind = options.pop("kind", None)
    dest = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    fields = {"features": "x", "label": "y", "batch_rows": 17} | options
    return prepare([write(tmp_path / name, rows, kind)], str(dest), **fields)


def newest(tmp_path: Path) -> Path:
    return max(tmp_path.glob("out-*"), key=lambda path: int(path.name.split("-")[1]))


def read_split(folder: Path, name: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob(f"{name}-*.parquet")))


@pytest.mark.parametrize(
    ("rows", "kind", "column"), [(vectors(), VECTORS, LIST), (sequences(), SEQUENCES, pa.list_(LIST))], ids=str
)
def test_shards_and_rows_hold_the_numbers_that_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], kind: str, column: pa.DataType
) -> None:
    monkeypatch.setattr(shards, "ROW_GROUP_ROWS", 30)
    manifest = prepared(tmp_path, rows, shard_bytes=1000)
    assert len(manifest.splits["train"].shards) > 1
    folder = newest(tmp_path)
    assert manifest == read(Folder(str(folder)))
    assert (manifest.kind, manifest.features_width, manifest.token_dtype) == (kind, WIDTH, "float32")
    assert (manifest.vocabulary_size, manifest.tokenizer_sha256) == (0, "")
    assert not (folder / "tokenizer.json").exists()
    seen = []
    for name in SPLITS:
        table, split = read_split(folder, name), manifest.splits[name]
        assert table.schema.names == ["row", "features", "label"]
        assert table.schema.field("features").type == column
        given = [rows[row]["x"] for row in table["row"].to_pylist()]
        assert table["features"].to_pylist() == given
        assert (split.rows, split.tokens) == (len(given), sum(map(len, given)))
        seen += table["row"].to_pylist()
        assert_read_back(folder, manifest, name, given)
    assert sorted(seen) == list(range(COUNT))


def assert_read_back(folder: Path, manifest: Manifest, name: str, given: list[Any]) -> None:
    """Any rows, few and many, are what was given, and nothing but padding after it."""
    opened = open_rows(Folder(str(folder)), manifest.splits[name], manifest.inputs)
    draw = np.random.default_rng(1)
    for count in (0, 1, 5, 300):
        asked = draw.integers(0, len(given), count)
        found = opened.tokens(asked)
        assert found.dtype == np.float32
        assert opened.lengths(asked).tolist() == [len(given[row]) for row in asked]
        if manifest.kind == VECTORS:
            assert found.shape == (count, WIDTH)
            assert found.tolist() == [given[row] for row in asked]
            continue
        assert found.shape[1] % LENGTH_MULTIPLE == 0
        assert found.shape[2] == WIDTH
        for numbers, row in zip(found.tolist(), asked, strict=True):
            end = len(given[row])
            assert numbers[:end] == given[row]
            assert numbers[end:] == [[PADDING_NUMBER] * WIDTH] * (len(numbers) - end)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float32(), WIDTH)])
def test_the_same_numbers_of_any_type_or_format_are_the_same_data_set(tmp_path: Path, kind: pa.DataType) -> None:
    one = prepared(tmp_path, vectors(), kind=kind)
    other = prepared(tmp_path, vectors(), name="a.jsonl", batch_rows=1000)
    assert one.data_hash == other.data_hash
    changed = vectors()
    changed[5]["x"][1] = math.nextafter(changed[5]["x"][1], 9.0) + 1e-6
    assert prepared(tmp_path, changed).data_hash != one.data_hash


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, [{"x": [index, index * index], "y": index % 2} for index in range(COUNT)])
    assert manifest.inputs == Inputs(VECTORS, 2)
    assert [2.0, 4.0] in read_split(newest(tmp_path), "train")["features"].to_pylist()


def test_sequences_are_cut_on_the_right_and_vectors_are_not(tmp_path: Path) -> None:
    rows = sequences()
    manifest = prepared(tmp_path, rows, max_tokens=4)
    table = read_split(newest(tmp_path), "train")
    assert table["features"].to_pylist() == [rows[row]["x"][:4] for row in table["row"].to_pylist()]
    long = sum(len(rows[row]["x"]) > 4 for row in table["row"].to_pylist())
    assert manifest.splits["train"].truncated_rows == long > 0
    assert prepared(tmp_path, vectors(), max_tokens=2).splits["train"].truncated_rows == 0
    assert all(len(x) == WIDTH for x in read_split(newest(tmp_path), "train")["features"].to_pylist())


def test_rows_of_the_same_numbers_and_of_one_group_share_a_split(tmp_path: Path) -> None:
    rows = [row | {"g": f"g{index % 40}"} for index, row in enumerate(vectors())]
    prepared(tmp_path, [row for row in rows for _ in range(3)])
    by_numbers = [set(map(tuple, read_split(newest(tmp_path), name)["features"].to_pylist())) for name in SPLITS]
    assert sum(map(len, by_numbers)) == len(set.union(*by_numbers)) == COUNT
    prepared(tmp_path, rows, group_by="g")
    groups = [{rows[row]["g"] for row in read_split(newest(tmp_path), name)["row"].to_pylist()} for name in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 40


def changed(index: int, value: Any, rows: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    return [row | {"x": value} if number == index else row for number, row in enumerate(rows or vectors())]


V, S = vectors()[0]["x"], sequences()[0]["x"]
REFUSED = [
    (changed(30, None), r"row 31: features 'x' \(None\) is missing \(null\): fill it in or drop the row"),
    (changed(30, []), r"row 31: features 'x' \(\[\]\) has an empty list: fill it in"),
    (changed(30, [1.0, None, 2.0]), r"row 31: .* has a number that is missing or not finite as a float32: correct"),
    (changed(30, [1.0, math.nan, 2.0]), r"row 31: .*nan.* not finite"),
    (changed(30, [1.0, 1e39, 2.0]), r"row 31: .*1e\+39.* not finite"),
    (changed(30, [PADDING_NUMBER, 1.0, 2.0]), r"row 31: .* not finite"),
    (
        changed(30, [1.0, 2.0]),
        r"row 31: features 'x' \(\[1.0, 2.0\]\) has a vector that does not have 3 numbers.*the same width",
    ),
    (changed(30, [[]], sequences()), r"row 31: features 'x' \(\[\[\]\]\) has an empty list"),
    (changed(30, [], sequences()), r"row 31: features 'x' \(\[\]\) has an empty list"),
    (changed(30, [None], sequences()), r"row 31: .* has an empty list"),
    (changed(30, [[1.0, 2.0, 3.0], [1.0, 2.0]], sequences()), r"row 31: .* a vector that does not have 3 numbers"),
    (changed(30, [[1.0, math.inf, 3.0]], sequences()), r"row 31: .*inf.* not finite"),
]


@pytest.mark.parametrize(("rows", "pattern"), REFUSED)
@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, rows: Any, pattern: str, name: str) -> None:
    refused(tmp_path, pattern if name == "a.parquet" else pattern.replace("row 31", "line 31"), rows, name)


@pytest.mark.parametrize(
    ("value", "said"),
    [("a text", "'a text'"), ([["a"]], "'a'"), ([[1.0]], "1.0"), (3, "3")],
)
def test_a_json_value_that_is_no_list_of_numbers_is_named(tmp_path: Path, value: Any, said: str) -> None:
    refused(
        tmp_path,
        rf"line 31: features 'x' is .*{said}.*: (it must be|make all rows) ?a list",
        changed(30, value),
        "a.jsonl",
    )


def refused(tmp_path: Path, pattern: str, rows: list[dict[str, Any]], name: str = "a.parquet", **options: Any) -> None:
    with pytest.raises(InputError) as caught:
        prepared(tmp_path, rows, name, **options)
    message = str(caught.value)
    assert re.search(pattern, message), message
    assert "\n" not in message
    assert not list(tmp_path.glob("out-*"))


def test_a_text_column_as_features_and_numbers_as_text_are_refused(tmp_path: Path) -> None:
    texts = [row | {"x": "words"} for row in vectors()]
    refused(tmp_path, "column 'x' has the type string: features must be lists of numbers .*--text", texts)
    refused(tmp_path, "line 1: features 'x' is 'words'", texts, "a.jsonl")
    refused(tmp_path, "column 'x' has the type list.*text must be strings", vectors(), features=None, text="x")


def test_files_of_two_widths_or_kinds_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "a.parquet", vectors())
    for name, rows in (("b", [{"x": [1.0, 2.0], "y": "a"}]), ("c", [{"x": [[1.0, 2.0, 3.0]], "y": "a"}])):
        other = write(tmp_path / f"{name}.parquet", rows)
        with pytest.raises(
            InputError, match=rf"{name}\.parquet has \w+ of \d numbers, but the files before it have vectors of 3"
        ):
            prepare([one, other], str(tmp_path / "out"), features="x", label="y")


def test_csv_cannot_hold_lists(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match=r"--features x: a field of CSV cannot hold a list: .* Parquet or JSONL"):
        prepare([str(tmp_path / "a.csv")], str(tmp_path / "out"), features="x", label="y")


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"text": "x"}, "--text and --features are both given"),
        ({"features": None}, "neither --text nor --features is given"),
        ({"label": None}, "--label is not given: .*--task language_model"),
        ({"label": "x"}, "--features and --label both name the column 'x'"),
        ({"skip_empty": True}, "--skip-empty is for texts"),
        ({"tokenizer": "bytes"}, "--tokenizer bytes is for texts"),
        ({"task": "language_model", "label": None}, "--task language_model learns text"),
        ({"text": "x", "features": None, "task": "language_model"}, "has no labels: leave --label y out"),
        ({"task": "clustering"}, "--task is 'clustering'"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: dict[str, Any], pattern: str) -> None:
    refused(tmp_path, pattern, vectors(), **options)


TEXTS = [{"body": f"the number {index} of w{index % 7}", "y": index % 2} for index in range(COUNT)]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_a_language_models_text_needs_no_label(tmp_path: Path, name: str) -> None:
    alone = [{"body": row["body"]} for row in TEXTS]
    manifest = prepared(tmp_path, alone, name, features=None, text="body", label=None, task="language_model")
    folder = newest(tmp_path)
    assert (manifest.task, manifest.label_names, manifest.label_dtype) == ("language_model", (), "")
    assert (manifest.kind, manifest.features_width) == (TOKENS, 0)
    for split in SPLITS:
        table = read_split(folder, split)
        assert table.schema.names == ["row", "tokens"]
        opened = open_rows(Folder(str(folder)), manifest.splits[split], manifest.inputs)
        labels = opened.labels(np.arange(len(opened)))
        assert labels.dtype == np.int32
        assert labels.tolist() == [0] * table.num_rows
        end = len(table["tokens"][0])
        assert opened.tokens(np.arange(1))[0, :end].tolist() == table["tokens"][0].as_py()


def test_labels_change_no_token(tmp_path: Path) -> None:
    prepared(tmp_path, TEXTS, features=None, text="body")
    labelled = read_split(newest(tmp_path), "train")
    prepared(tmp_path, TEXTS, features=None, text="body", label=None, task="language_model")
    assert read_split(newest(tmp_path), "train")["tokens"].equals(labelled["tokens"])


def test_the_hash_of_text_is_pinned(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, TEXTS, features=None, text="body")
    assert manifest.data_hash == "9f1b5ba6dec686d9e2c0f5711e853045db0a797e9b04d91ad932a20bdeeb4170"


def test_the_hash_of_numbers_is_pinned(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, sequences())
    assert manifest.data_hash == "f9d8d8ff0edd5868e028f467e067291cfec6d5c33a04e724a3ba9a90037ade9f"


def test_the_command_says_what_was_prepared(tmp_path: Path) -> None:
    from cluster.cli import batchscope

    source = write(tmp_path / "a.parquet", sequences())
    options = ["prepare", source, str(tmp_path / "out"), "--features", "x", "--label", "y", "--max-tokens", "5"]
    said = CliRunner().invoke(batchscope, options).stdout
    assert "features    sequences of 3 numbers\n" in said
    assert re.search(r"lengths     p50 \d, p90 5, p99 5 vectors; \d+\.\d% of the rows cut at 5", said)
    assert "vocabulary" not in said
