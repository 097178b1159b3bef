"""Labels stay what they are: no class is merged with another one or renamed, whatever the format and the type."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.prepare import prepare
from cluster.prepare.batches import Batch, Columns
from cluster.prepare.fields import field_type, typed, widest
from cluster.prepare.labels import Counts, count
from cluster.prepare.rows import checked
from trainer.data.manifest import SPLITS, Manifest
from trainer.errors import InputError

COUNT = 240


def text(index: int) -> str:
    return f"text number {index} w{index % 7}"


def prepared(tmp_path: Path, name: str, labels: Sequence[Any], **options: Any) -> Manifest:
    """A data set whose row i has the label `labels[i % len(labels)]`."""
    path, values = tmp_path / name, [labels[index % len(labels)] for index in range(COUNT)]
    if path.suffix == ".parquet":
        column = values if not isinstance(labels, pa.Array) else pa.array(values, labels.type)
        pq.write_table(pa.table({"body": [text(index) for index in range(COUNT)], "topic": column}), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"body": text(i), "topic": label}) + "\n" for i, label in enumerate(values)))
    else:
        between = "\t" if path.suffix == ".tsv" else ","
        path.write_text(f"body{between}topic\n" + "".join(f"{text(i)}{between}{x}\n" for i, x in enumerate(values)))
    return prepare([str(path)], str(tmp_path / "out"), text="body", label="topic", **options)


def counts_of(manifest: Manifest) -> dict[str, int]:
    """The rows of each class, over all splits."""
    counts = np.sum([manifest.splits[name].label_counts for name in SPLITS], axis=0)
    return dict(zip(manifest.label_names, counts.tolist(), strict=True))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize(
    "labels",
    [
        ["01", "02", "1", "10"],
        ["007", "042"],
        ["+1", "-1"],
        [" 1", "1"],
        ["1", "1 "],
        ["-0", "0"],
        ["1", "1_0"],
        ["1", "٣"],
        ["12345678901234567890", "12345678901234567891"],
        ["00.5", "1.5"],
        ["1", "1.0", "x"],
        ["1", "N/A"],
    ],
    ids=str,
)
def test_a_field_that_is_no_plain_number_makes_the_column_text(tmp_path: Path, name: str, labels: list[str]) -> None:
    manifest = prepared(tmp_path, name, labels)
    assert manifest.task == "classification"
    assert manifest.label_names == tuple(sorted(labels))
    assert set(counts_of(manifest).values()) == {COUNT // len(labels)}


@pytest.mark.parametrize("labels", [["1", "1.0", "1.00"], ["0.5", "1.0", "1e0"], ["1", "1.5"]], ids=str)
def test_classes_of_numbers_keep_the_text_that_was_written(tmp_path: Path, labels: list[str]) -> None:
    manifest = prepared(tmp_path, "a.csv", labels, task="classification")
    assert counts_of(manifest) == dict.fromkeys(sorted(labels), COUNT // len(labels))


@pytest.mark.parametrize("labels", [["0.5", "1", "-3e-2"], [".5", "5.", "+1.5"]], ids=str)
def test_numbers_to_predict_may_be_written_in_any_way(tmp_path: Path, labels: list[str]) -> None:
    assert prepared(tmp_path, "a.csv", labels).task == "regression"


def test_the_task_makes_numbers_of_codes_and_a_blank_is_named(tmp_path: Path) -> None:
    assert prepared(tmp_path, "a.csv", ["01", "2"], task="regression").label_names == ()
    with pytest.raises(InputError, match=r"line 3: label 'topic' is ' 2', not a number"):
        prepared(tmp_path / "out", "../b.csv", ["1", " 2", "x"], task="regression")


@pytest.mark.parametrize("labels", [["nan", "1", "2"], ["1", "2.5", "NaN"]], ids=str)
def test_not_a_number_is_no_class_among_numbers(tmp_path: Path, labels: list[str]) -> None:
    with pytest.raises(InputError, match="not finite"):
        prepared(tmp_path, "a.csv", labels, task="classification")
    with pytest.raises(InputError, match="not finite"):
        prepared(tmp_path, "a.csv", labels)
    assert prepared(tmp_path, "b.csv", [*labels, "Nan Goldin"]).label_names == tuple(sorted([*labels, "Nan Goldin"]))


@pytest.mark.parametrize(
    "labels", [[1, "1"], [1, 1.0], [1.0, 1], [1.0, True], [True, 1.0], [1, True], [0, False], ["true", True]], ids=str
)
@pytest.mark.parametrize("batch_rows", [1, 1000])
def test_json_values_of_two_types_are_no_labels(tmp_path: Path, labels: list[Any], batch_rows: int) -> None:
    with pytest.raises(
        InputError, match=r"label.*'topic' .*(do not fit one type \(.*line 1\).*line 2|make it one type)"
    ):
        prepared(tmp_path, "a.jsonl", [*labels, *labels], task="classification", batch_rows=batch_rows)


PARQUET: list[tuple[pa.Array, tuple[str, ...]]] = [
    (pa.array([1.0, 0.5, 2.0]), ("0.5", "1.0", "2.0")),
    (pa.array([1.0, 0.1, 16777217.0], pa.float32()), ("0.1", "1.0", "16777216.0")),
    (pa.array([1.5, 0.1], pa.float16()), ("0.1", "1.5")),
    (pa.array([Decimal("1.10"), Decimal("1.25")]), ("1.10", "1.25")),
    (pa.array([Decimal("12345678901234567890.1"), Decimal("12345678901234567890.2")]), ("12345678901234567890.1",) * 2),
    (pa.array([Decimal("7"), Decimal("10")], pa.decimal128(38, 0)), ("7", "10")),
    (pa.array([Decimal("1.10"), Decimal("1.25")], pa.decimal32(9, 2)), ("1.10", "1.25")),
    (pa.array([Decimal("7"), Decimal("10")], pa.decimal64(18, 0)), ("7", "10")),
    (pa.array([True, False]), ("false", "true")),
    (pa.array([2**63, 2**63 + 1], pa.uint64()), (str(2**63), str(2**63 + 1))),
    (pa.array(["01", "1"]).cast(pa.string_view()), ("01", "1")),
]


@pytest.mark.parametrize(("labels", "names"), PARQUET, ids=[str(labels.type) for labels, _ in PARQUET])
@pytest.mark.parametrize("dictionary", [False, True])
def test_parquet_labels_are_told_apart_and_named_by_their_own_digits(
    tmp_path: Path, labels: pa.Array, names: tuple[str, ...], dictionary: bool
) -> None:
    path = tmp_path / "a.parquet"
    column = pa.array([labels[index % len(labels)].as_py() for index in range(COUNT)], labels.type)
    of_arrow = pa.types.is_string_view, pa.types.is_decimal32, pa.types.is_decimal64
    if dictionary and not any(is_kind(labels.type) for is_kind in of_arrow):
        column = column.dictionary_encode()
    pq.write_table(pa.table({"body": [text(index) for index in range(COUNT)], "topic": column}), path)
    manifest = prepare([str(path)], str(tmp_path / "out"), text="body", label="topic", task="classification")
    expected = (names[0], names[0][:-1] + "2") if names[0] == names[1] else names
    assert counts_of(manifest) == dict.fromkeys(expected, COUNT // len(labels))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()], ids=str)
@pytest.mark.parametrize("batch_rows", [1, 1000])
def test_zero_is_one_class_with_either_sign(tmp_path: Path, kind: pa.DataType, batch_rows: int) -> None:
    for name, values in (("a", [-0.0, 0.0, 1.5]), ("b", [0.0, -0.0, 1.5])):
        options: dict[str, Any] = {"task": "classification", "batch_rows": batch_rows}
        (tmp_path / name).mkdir()
        manifest = prepared(tmp_path / name, f"{name}.parquet", pa.array(values, kind), **options)
        assert counts_of(manifest) == {"0.0": 2 * COUNT // 3, "1.5": COUNT // 3}


def test_rows_of_both_zeros_are_all_counted() -> None:
    column = pa.array([0.0, -0.0, 1.5])
    batch = Batch(file="a", unit="row", places=range(3), texts=["a", "b", "c"], labels=column, groups=None, share=1.0)
    (rows,) = checked([batch], Columns(text="body", label="topic"), max_tokens=9)
    counts: Counts = {}
    count(counts, rows, np.zeros(3, np.uint8), column="topic", task="classification")
    assert {value: row.tolist() for value, row in counts["float"].items()} == {0.0: [2, 0, 0], 1.5: [1, 0, 0]}


def test_whole_decimals_are_classes_and_others_are_predicted(tmp_path: Path) -> None:
    whole = pa.array([Decimal("7"), Decimal("10")], pa.decimal128(38, 0))
    assert prepared(tmp_path, "a.parquet", whole).label_names == ("7", "10")
    with pytest.raises(InputError, match="already holds"):
        prepared(tmp_path, "a.parquet", whole)
    (tmp_path / "other").mkdir()
    assert prepared(tmp_path / "other", "b.parquet", pa.array([Decimal("7.5"), Decimal("1.0")])).task == "regression"


def test_files_of_whole_numbers_and_of_floats_have_no_classes_in_common(tmp_path: Path) -> None:
    for name, values in (("a", [1, 2]), ("b", [1.0, 2.0])):
        rows = [{"body": text(index) + name, "topic": values[index % 2]} for index in range(COUNT)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    sources = [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]
    with pytest.raises(InputError, match="label 'topic' is float in one place and integer in another: make it one"):
        prepare(sources, str(tmp_path / "out"), text="body", label="topic", task="classification")
    assert prepare(sources, str(tmp_path / "out"), text="body", label="topic").task == "regression"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_blank_label_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="label 'topic' is missing in 80 of 240 rows"):
        prepared(tmp_path, name, ["a", "b", " "])


@pytest.mark.parametrize("missing", [float("nan"), None, " "])
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_missing_group_is_no_group(tmp_path: Path, name: str, missing: object) -> None:
    values: list[object] = ["a", "b", "c", missing] if isinstance(missing, str) else [1.0, 2.0, 3.0, missing]
    rows = [{"body": text(i), "topic": i % 2, "source": values[i] if i < 4 else values[i % 3]} for i in range(COUNT)]
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"(line|row) 4: group 'source' is missing"):
        prepare([str(tmp_path / name)], str(tmp_path / "out"), text="body", label="topic", group_by="source")


def test_a_number_is_one_group_in_whatever_type_it_is(tmp_path: Path) -> None:
    columns = {
        "a": pa.array(range(60)),
        "b": pa.array(np.arange(60.0)),
        "c": pa.array([Decimal(number) for number in range(60)], pa.decimal128(9, 2)),
    }
    for name, column in columns.items():
        table = {"body": [f"{name} {text(index)}" for index in range(60)], "topic": [0, 1] * 30, "source": column}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    sources = [str(tmp_path / f"{name}.parquet") for name in columns]
    prepare(sources, str(tmp_path / "out"), text="body", label="topic", group_by="source")
    splits: dict[int, set[str]] = {}
    for name in SPLITS:
        for file in (tmp_path / "out").glob(f"{name}-*.parquet"):
            for row in pq.read_table(file)["row"].to_pylist():
                splits.setdefault(row % 60, set()).add(name)
    assert {len(found) for found in splits.values()} == {1}


@given(st.lists(st.integers() | st.floats() | st.text(alphabet="01.-+e n", max_size=4), min_size=1))
def test_a_column_of_any_fields_keeps_every_two_of_them_apart(values: list[Any]) -> None:
    fields = [str(value) for value in values]
    kind = widest({field_type(field) for field in fields})
    found = typed(kind, fields, where="a.csv").to_pylist()
    if kind != "float":
        names = ["" if value is None else str(value) for value in found]
        assert names == fields
