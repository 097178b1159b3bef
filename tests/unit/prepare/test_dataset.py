"""A prepared data set: what stands in it, and that the same rows always give the same one."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from cluster import articles
from cluster.prepare import prepare
from cluster.prepare.keys import words_key
from cluster.prepare.publish import Staged
from cluster.prepare.shards import SplitWriter
from cluster.prepare.vocabulary import build, count_words, names
from cluster.stores import store_of
from trainer.data.manifest import SPLITS, Manifest, read, sha256_of_file
from trainer.errors import InputError

WORDS = ["river", "stone", "Bridge", "café", "über", "light", "nine", "2024", "music,", "law;", "(science)", "don't"]


def rows(count: int = 300, seed: int = 0) -> list[dict[str, object]]:
    draw = np.random.default_rng(seed)
    return [
        {
            "body": " ".join(draw.choice(WORDS, size=draw.integers(1, 12))) + f" w{draw.integers(60)}",
            "topic": str(draw.choice(["art", "law", "zoo"])),
            "source": f"s{draw.integers(80)}",
            "score": float(draw.normal()),
        }
        for _ in range(count)
    ]


def write(path: Path, data: list[dict[str, object]]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(data), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in data))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(data[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(data)
    return str(path)


def prepared(tmp_path: Path, data: list[dict[str, object]], name: str = "a.parquet", **options) -> Manifest:
    options = {"text": "body", "label": "topic"} | options
    dest = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    return prepare([write(tmp_path / name, data)], str(dest), **options)


def newest(tmp_path: Path) -> Path:
    return max(tmp_path.glob("out-*"), key=lambda path: int(path.name.split("-")[1]))


def read_split(folder: Path, name: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob(f"{name}-*.parquet")))


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    data = rows()
    manifest = prepared(tmp_path, data, max_tokens=6, vocabulary=30)
    assert manifest.splits["validation"].unknown_tokens > 0
    folder = newest(tmp_path)
    assert manifest == read(store_of(str(folder)))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    seen: list[int] = []
    for name in SPLITS:
        table = read_split(folder, name)
        split = manifest.splits[name]
        assert table.schema.types == [pa.int64(), pa.list_(pa.uint16()), pa.int32()]
        assert table.schema.names == ["row", "tokens", "label"]
        assert table["row"].to_pylist() == sorted(table["row"].to_pylist())
        for row, tokens, label in zip(*(table[column].to_pylist() for column in table.schema.names), strict=True):
            assert tokens == tokenizer.encode(data[row]["body"]).ids
            assert manifest.label_names[label] == data[row]["topic"]
        lengths = [len(tokens) for tokens in table["tokens"].to_pylist()]
        assert max(lengths) == 6
        assert (split.rows, split.tokens) == (len(lengths), sum(lengths))
        assert list(split.label_counts) == [table["label"].to_pylist().count(index) for index in range(3)]
        assert Counter(length.bit_length() - 1 for length in lengths) == {
            power: count for power, count in enumerate(split.length_histogram) if count
        }
        assert split.unknown_tokens == sum(tokens.count(1) for tokens in table["tokens"].to_pylist())
        expected = [int(np.percentile(lengths, share, method="inverted_cdf")) for share in (50, 90, 99)]
        assert list(split.length_percentiles) == expected
        tokenizer.no_truncation()
        assert split.truncated_rows == sum(
            len(tokenizer.encode(data[row]["body"]).ids) > 6 for row in table["row"].to_pylist()
        )
        tokenizer.enable_truncation(6)
        for shard in split.shards:
            assert shard.sha256 == sha256_of_file(str(folder / shard.file))
            assert shard.bytes == os.path.getsize(folder / shard.file)
        seen += table["row"].to_pylist()
    assert sorted(seen) == list(range(len(data)))
    assert manifest.label_names == ("art", "law", "zoo")


def test_the_vocabulary_is_of_the_train_split_only(tmp_path: Path) -> None:
    data = [row | {"body": f"{row['body']} only{index}"} for index, row in enumerate(rows())]
    prepared(tmp_path, data)
    folder = newest(tmp_path)
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    train = set(read_split(folder, "train")["row"].to_pylist())
    assert {f"only{index}" in ids for index in train} == {True}
    assert {f"only{index}" in ids for index in set(range(len(data))) - train} == {False}
    assert (ids["[PAD]"], ids["[UNK]"]) == (0, 1)


def test_a_text_that_names_a_special_token_holds_no_padding() -> None:
    words = {"[": 1, "]": 1}
    assert build(words, size=9).encode("[PAD][UNK]").ids.count(0) == 0


@pytest.mark.slow
def test_the_same_rows_give_the_same_data_set_whatever_the_batches_and_shards(tmp_path: Path) -> None:
    data = rows(400)
    results = [
        prepared(tmp_path, data, vocabulary=40, batch_rows=batch_rows, shard_bytes=shard_bytes)
        for batch_rows, shard_bytes in [(2048, 2**26), (2048, 2**26), (7, 2**26), (1, 1)]
    ]
    assert {result.data_hash for result in results} == {results[0].data_hash}
    assert {result.tokenizer_sha256 for result in results} == {results[0].tokenizer_sha256}


def test_small_shards_are_many_and_hold_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.prepare.shards.ROW_GROUP_ROWS", 50)
    few = prepared(tmp_path, rows(400))
    many = prepared(tmp_path, rows(400), shard_bytes=1, batch_rows=10)
    folder = newest(tmp_path)
    assert len(many.splits["train"].shards) > 3
    assert all(50 <= shard.rows < 60 for shard in many.splits["train"].shards[:-1])
    assert read_split(folder, "train").num_rows == few.splits["train"].rows
    assert many.data_hash == few.data_hash


@pytest.mark.parametrize("label", ["topic", "score", "number", "flag"])
def test_parquet_jsonl_csv_and_tsv_of_the_same_rows_are_one_data_set(tmp_path: Path, label: str) -> None:
    data = [
        row | {"number": index % 12, "flag": str(index % 2 == 0).lower(), "body": f'{row["body"]}\n"{index}", é'}
        for index, row in enumerate(rows())
    ]
    results = [prepared(tmp_path, data, name, label=label) for name in ("a.parquet", "a.jsonl", "a.csv", "a.tsv")]
    assert {result.data_hash for result in results} == {results[0].data_hash}
    assert {result.task for result in results} == {"regression" if label == "score" else "classification"}


def test_integers_are_classes_in_the_order_of_numbers(tmp_path: Path) -> None:
    data = [row | {"topic": index % 11} for index, row in enumerate(rows())]
    assert prepared(tmp_path, data).label_names == tuple(str(index) for index in range(11))
    assert prepared(tmp_path, data, "a.csv").label_names == tuple(str(index) for index in range(11))


@pytest.mark.parametrize("kind", ["a.parquet", "a.jsonl", "a.csv"])
def test_floats_are_numbers_to_predict_and_task_overrides(tmp_path: Path, kind: str) -> None:
    data = rows()
    manifest = prepared(tmp_path, data, kind, label="score")
    assert (manifest.task, manifest.label_dtype, manifest.label_names) == ("regression", "float32", ())
    assert manifest.splits["train"].label_counts == ()
    table = read_split(newest(tmp_path), "train")
    expected = [np.float32(data[row]["score"]) for row in table["row"].to_pylist()]
    assert table["label"].to_pylist() == expected
    halves = [row | {"score": index % 4 / 2} for index, row in enumerate(data)]
    assert prepared(tmp_path, halves, kind, label="score", task="classification").label_names == (
        "0.0",
        "0.5",
        "1.0",
        "1.5",
    )
    stars = [row | {"topic": index % 5} for index, row in enumerate(data)]
    assert prepared(tmp_path, stars, kind, task="regression").label_dtype == "float32"


def test_jsonl_may_write_a_whole_number_without_its_point(tmp_path: Path) -> None:
    data = [row | {"score": 1 if index < 200 else 1.5} for index, row in enumerate(rows())]
    assert prepared(tmp_path, data, "a.jsonl", label="score", batch_rows=50).task == "regression"


def test_categories_and_large_strings_are_strings(tmp_path: Path) -> None:
    plain = prepared(tmp_path, rows())
    table = pq.read_table(tmp_path / "a.parquet")
    table = table.set_column(0, "body", table["body"].cast(pa.large_string()))
    table = table.set_column(1, "topic", table["topic"].dictionary_encode())
    pq.write_table(table, tmp_path / "b.parquet")
    other = prepare([str(tmp_path / "b.parquet")], str(tmp_path / "out-99"), text="body", label="topic")
    assert other.data_hash == plain.data_hash


@pytest.mark.parametrize("unit", [1, 0.5])
def test_categories_of_numbers_are_numbers(tmp_path: Path, unit: float) -> None:
    data = [row | {"topic": index % 11 * unit} for index, row in enumerate(rows())]
    plain = prepared(tmp_path, data)
    table = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(table.set_column(1, "topic", table["topic"].dictionary_encode()), tmp_path / "b.parquet")
    other = prepare([str(tmp_path / "b.parquet")], str(tmp_path / "out-99"), text="body", label="topic")
    assert (other.task, other.data_hash) == (plain.task, plain.data_hash)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, name: str) -> None:
    data = rows()
    plain = prepared(tmp_path, data, name)
    marked = tmp_path / f"marked-{name}"
    marked.write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert prepare([str(marked)], str(tmp_path / "out-99"), text="body", label="topic").data_hash == plain.data_hash


def test_percentiles_are_exact_on_their_borders(tmp_path: Path) -> None:
    lengths = [1] * 50 + [2] * 40 + [3] * 9 + [4]
    staged = Staged(tmp_path, lambda file: None)
    with SplitWriter(staged, "train", labels=1, shard_bytes=1) as writer:
        tokens = pa.array([[2] * length for length in lengths], pa.list_(pa.uint16()))
        zeros = pa.array([0] * 100, pa.int32())
        writer.write(pa.table({"row": zeros, "tokens": tokens, "label": zeros, "truncated": zeros.cast(pa.bool_())}))
    assert writer.split().length_percentiles == (1, 2, 3)


def test_a_folder_is_its_files_in_order_of_their_paths(tmp_path: Path) -> None:
    data = rows()
    whole = prepared(tmp_path, data)
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    write(folder / "a.parquet", data[:100])
    write(folder / "b" / "a.parquet", data[100:])
    (folder / "README.md").write_text("notes are passed over")
    (folder / "_SUCCESS").write_text("")
    assert prepare([str(folder)], str(tmp_path / "o1"), text="body", label="topic").data_hash == whole.data_hash
    two = [str(folder / "a.parquet"), str(folder / "b")]
    assert prepare(two, str(tmp_path / "o2"), text="body", label="topic").data_hash == whole.data_hash


def test_groups_and_duplicates_across_groups_share_a_split(tmp_path: Path) -> None:
    data = [row | {"source": f"s{index // 2}"} for index, row in enumerate(rows(400))]
    for index in range(0, 400, 40):
        data[index]["body"] = data[(index + 39)]["body"]
    grouped = prepared(tmp_path, data, group_by="source", batch_rows=33)
    folder = newest(tmp_path)
    assert grouped.group_by == "source"
    for column in ("source", "body"):
        split_of: dict[str, str] = {}
        for name in SPLITS:
            for row in read_split(folder, name)["row"].to_pylist():
                assert split_of.setdefault(words_key(str(data[row][column]), max_tokens=200), name) == name


def test_skipped_rows_are_counted_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    data = rows()
    for index in (0, 7, 150):
        data[index]["body"] = " \n"
    for name in ("a.parquet", "a.jsonl", "a.csv"):
        for options in ({}, {"group_by": "source"}):
            manifest = prepared(tmp_path, data, name, skip_empty=True, batch_rows=50, **options)
            assert manifest.skipped_rows == 3
            folder = newest(tmp_path)
            seen = {row for split in SPLITS for row in read_split(folder, split)["row"].to_pylist()}
            assert seen == set(range(300)) - {0, 7, 150}


def test_what_changes_the_content_changes_the_hash(tmp_path: Path) -> None:
    data = rows()
    base = prepared(tmp_path, data).data_hash
    relabelled = [dict(data[0], topic="zoo" if data[0]["topic"] != "zoo" else "law"), *data[1:]]
    renamed = [row | {"topic": str(row["topic"]).replace("zoo", "zoology")} for row in data]
    reworded = [dict(data[0], body=f"{data[0]['body']} river"), *data[1:]]
    others = [
        prepared(tmp_path, relabelled),
        prepared(tmp_path, renamed),
        prepared(tmp_path, reworded),
        prepared(tmp_path, data[::-1]),
        prepared(tmp_path, data, max_tokens=3),
        prepared(tmp_path, data, vocabulary=30),
        prepared(tmp_path, data, split_seed=1),
    ]
    assert len({base, *(other.data_hash for other in others)}) == len(others) + 1


def test_data_hash_is_pinned(tmp_path: Path) -> None:
    """A change here makes another data set of the same input, and so other trials: say so where it is made."""
    data = [row | {"body": f"{row['body']} {index}"} for index, row in enumerate(rows(200))]
    assert prepared(tmp_path, data).data_hash == "e257d8475dce1670b4e35932fd9a6604737d5946dc825b7ec8bcfa8d18b457fb"


def test_words_are_forgotten_from_the_rarest_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.prepare.vocabulary.WINDOW_ROWS", 10)
    words: dict[str, int] = {}
    count_words((f"often often seldom{index // 5} once{index}" for index in range(100)), words, most_words=20)
    assert len(words) <= 20
    assert words["often"] == 200
    whole: dict[str, int] = {}
    count_words((f"often often seldom{index // 5} once{index}" for index in range(100)), whole)
    assert len(whole) == 121


def test_words_of_one_count_stand_in_the_order_of_the_alphabet() -> None:
    assert names(build({"b": 1, "c": 2, "a": 1, "d": 1}, size=5)) == ["[PAD]", "[UNK]", "c", "a", "b"]


def test_long_texts_are_read_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.prepare import batches, files, lines, parquet
    from cluster.prepare.sources import find

    monkeypatch.setattr(lines, "BATCH_BYTES", 20_000)
    monkeypatch.setattr(parquet, "BATCH_BYTES", 20_000)
    data = [row | {"body": f"{index} " * 1000} for index, row in enumerate(rows(100))]
    columns = batches.Columns(text="body", label="topic")
    for name in ("a.parquet", "a.jsonl", "a.csv"):
        (file,) = find([write(tmp_path / name, data)])
        sizes = [sum(map(len, batch.texts)) for batch in files.read(file, columns, batch_rows=1000)]
        assert max(sizes) < 40_000
        assert sum(len(batch.texts) for batch in files.read(file, columns, batch_rows=1000)) == 100


def test_the_bundled_articles_are_whole_and_attributed() -> None:
    table = pq.read_table(articles.path())
    assert table.schema.names == ["id", "text", "label", "title", "url"]
    assert table.num_rows == 9033
    assert all(url.startswith("https://en.wikipedia.org/wiki/") for url in table["url"].to_pylist())
    assert "CC BY-SA 4.0" in (articles.path().parent / "README.md").read_text()


def test_nothing_is_left_when_it_fails_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> str:
        assert list(tmp_path.glob(".out-*.partial-*/data/train-*.parquet"))
        raise InputError("broken")

    monkeypatch.setattr("cluster.prepare.dataset.identified", fail)
    with pytest.raises(InputError, match="broken"):
        prepared(tmp_path, rows())
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.slow
def test_what_a_killed_prepare_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows()), tmp_path / "a.parquet")
    kill = (
        "import os, signal; from cluster.prepare import dataset, prepare; "
        "dataset.identified = lambda _: os.kill(os.getpid(), signal.SIGKILL); "
        f"prepare([{str(tmp_path / 'a.parquet')!r}], {str(tmp_path / 'out[1]')!r}, text='body', label='topic')"
    )
    killed = subprocess.run([sys.executable, "-c", kill], check=False, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.glob(".out*.partial-*/data/train-*.parquet"))
    prepare([str(tmp_path / "a.parquet")], str(tmp_path / "out[1]"), text="body", label="topic")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "out[1]"]
    # Readable for whoever may read the folder around it.
    assert (tmp_path / "out[1]").stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_progress_goes_from_nothing_to_all(tmp_path: Path) -> None:
    calls: list[tuple[str, float]] = []
    prepared(tmp_path, rows(), batch_rows=50, progress=lambda stage, share: calls.append((stage, share)))
    for stage in ("counting words", "writing tokens"):
        shares = [share for name, share in calls if name == stage]
        assert len(shares) == 6
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1, abs=0.05)
