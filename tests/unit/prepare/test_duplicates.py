"""What is the same to the model stands in one split, or it is counted and said."""

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.prepare import prepare
from cluster.prepare.held_out import Given, settled
from cluster.prepare.keys import words_key
from cluster.prepare.repeats import Repeats
from cluster.prepare.vocabulary import UNKNOWN, tokenizer_of
from trainer.data.manifest import SPLITS, Manifest

WORDS = ["café", "déjà", "naïve", "Straße", "année", "señor", "quay", "crane", "①②", "ﬁne"]


def texts(count: int, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return [f"Report {number}: " + ", ".join(draw.choice(WORDS, 4)) + "." for number in range(count)]


def prepared(tmp_path: Path, rows: list[str], **options: Any) -> Manifest:
    source = tmp_path / "a.jsonl"
    source.write_text("".join(json.dumps({"body": row, "topic": i % 2}) + "\n" for i, row in enumerate(rows)))
    return prepare([str(source)], str(tmp_path / "out"), **({"text": "body", "label": "topic"} | options))


def splits_of(tmp_path: Path, column: str = "tokens") -> dict[str, list[Any]]:
    """What stands in each split."""
    return {
        name: [
            row
            for file in sorted((tmp_path / "out").glob(f"{name}-*"))
            for row in pq.read_table(file)[column].to_pylist()
        ]
        for name in SPLITS
    }


def repeated(splits: dict[str, list[Any]]) -> list[int]:
    """Of each split, the rows that stand in one before it."""
    before: set[str] = set()
    counts = []
    for rows in splits.values():
        counts.append(sum(str(row) in before for row in rows))
        before |= set(map(str, rows))
    return counts


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def spaced(text: str) -> str:
    return text.replace(",", " ,").replace(":", "\u2003:\n").replace(".", " .")


def wide(text: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


@pytest.mark.parametrize(
    "twin",
    [decomposed, spaced, wide, str.upper, lambda text: f"\t{text} "],
    ids=["decomposed", "spaced", "wide", "upper", "padded"],
)
def test_no_text_and_its_twin_stand_in_two_splits(tmp_path: Path, twin: Any) -> None:
    manifest = prepared(tmp_path, [text for one in texts(200) for text in (one, twin(one))])
    assert repeated(splits_of(tmp_path)) == [0, 0, 0]
    assert [manifest.splits[name].repeated_rows for name in SPLITS] == [0, 0, 0]


def test_texts_that_differ_behind_what_the_model_sees_are_twins(tmp_path: Path) -> None:
    rows = [f"{one} {end}" for one in texts(200) for end in ("and so on", "or otherwise")]
    manifest = prepared(tmp_path, rows, max_tokens=10)
    assert repeated(splits_of(tmp_path)) == [0, 0, 0]
    assert manifest.splits["train"].truncated_rows > 0


@pytest.mark.parametrize("options", [{"vocabulary": 12}, {"vocabulary": 12, "group_by": "source"}, {"max_tokens": 2}])
def test_rows_that_only_the_vocabulary_makes_alike_are_counted_and_said(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    source = tmp_path / "a.jsonl"
    rows = [{"body": text, "topic": i % 2, "source": i // 3} for i, text in enumerate(texts(400))]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = [str(source), str(tmp_path / "out"), "--text", "body", "--label", "topic"]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    from cluster.cli.prepare import command

    said = CliRunner().invoke(command, arguments)
    assert said.exit_code == 0, said.output
    splits = splits_of(tmp_path)
    counts = repeated(splits)
    about = json.loads((tmp_path / "out" / "manifest.json").read_text())["splits"]
    assert [about[name]["repeated_rows"] for name in SPLITS] == counts
    assert sum(counts) > 0
    assert f"repeated    {sum(counts)} rows of validation and test differ from a row of an earlier split" in said.stdout
    if options == {"vocabulary": 12}:
        assert not {str(row) for row in splits["validation"]} & {str(row) for row in splits["test"]}


def test_texts_of_which_the_vocabulary_leaves_nothing_apart_are_split_by_their_words(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, [f"number {index}" for index in range(300)])
    sizes = {name: split.rows for name, split in manifest.splits.items()}
    assert min(sizes.values()) > 15
    assert manifest.splits["test"].repeated_rows == sizes["test"]


def given_rows(batches: list[int], tokens: list[int]) -> Iterator[Given]:
    rows = iter(range(sum(batches)))
    for size in batches:
        numbers = [next(rows) for _ in range(size)]
        words = np.array([number % 3 for number in numbers], np.uint8)
        by_tokens = np.array([0 if number % 3 == 0 else tokens[number % len(tokens)] for number in numbers], np.uint8)
        yield pa.table({"row": pa.array(numbers, pa.int64())}), words, by_tokens


@pytest.mark.parametrize("tokens", [[1, 2, 2, 1, 2], [1], [2] * 38 + [1], [2] * 40 + [1]])
def test_batches_decide_nothing(monkeypatch: pytest.MonkeyPatch, tokens: list[int]) -> None:
    monkeypatch.setattr("cluster.prepare.held_out.MOST_AWAITED", 26)
    results = []
    for batches in ([50], [1] * 50, [7] * 7 + [1], [39, 11], [40, 10], [0, 50]):
        tables, splits = zip(*settled(given_rows(batches, tokens)), strict=True)
        assert [row for table in tables for row in table["row"].to_pylist()] == list(range(50))
        results.append(np.concatenate(splits).tolist())
    assert all(result == results[0] for result in results)
    by_words = [number % 3 for number in range(50)]
    assert (results[0] == by_words) == (tokens in ([1], [2] * 40 + [1]))


hashes = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 20), max_size=40).map(
    lambda some: np.array(some, np.uint64)
)


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), hashes), max_size=12))
def test_repeats_are_counted_whatever_the_order_of_the_rows(parts: list[tuple[int, Any]]) -> None:
    counted = Repeats()
    for split, part in parts:
        counted.add(split, part)
    rows = {name: [x for split, part in parts if split == i for x in part.tolist()] for i, name in enumerate(SPLITS)}
    assert counted.counts() == repeated(rows)


def test_of_very_many_rows_a_sample_is_held_and_the_count_is_about_right() -> None:
    draw = np.random.default_rng(0)
    distinct = draw.integers(0, 2**63, 50_000, dtype=np.uint64) * np.uint64(2)
    results = set()
    for batch in (1_000, 7_001):
        counted = Repeats(most=10_000)
        for split, part in ((0, distinct), (1, distinct[:20_000]), (2, distinct[30_000:] + np.uint64(1))):
            for start in range(0, len(part), batch):
                counted.add(split, part[start : start + batch])
        assert sum(len(part) for parts in counted._held for part in parts) <= 10_000
        results.add(tuple(counted.counts()))
    (counts,) = results
    assert counts[0] == counts[2] == 0
    assert counts[1] == pytest.approx(20_000, rel=0.1)


@pytest.mark.slow
@settings(deadline=None, max_examples=400)
@given(
    st.lists(
        st.text(max_size=6) | st.sampled_from([*WORDS, " ", "\u3000", "\x1c", "\x85", "\u0301", "¨", "ΟΔΟΣ", "İ"])
    ).map("".join),
    st.integers(1, 6),
)
def test_the_key_is_the_words_that_the_tokenizer_sees(text: str, max_tokens: int) -> None:
    splitter = tokenizer_of({UNKNOWN: 0})
    words = splitter.pre_tokenizer.pre_tokenize_str(splitter.normalizer.normalize_str(text))
    assert words_key(text, max_tokens=max_tokens) == " ".join(word for word, _ in words[:max_tokens]).casefold()


def test_the_key_of_a_long_text_is_that_of_its_beginning() -> None:
    long = "é" * 5_000 + " b" * 3_000
    assert words_key(long, max_tokens=3) == words_key(long[:5_010], max_tokens=3) == "é" * 5_000 + " b b"


def test_numbers_are_the_same_that_are_so_to_the_model(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    start = draw.normal(size=(200, 4, 2)).astype(np.float32)
    start[:, 0, 0] = 0
    longer = [np.concatenate([some, draw.normal(size=(3, 2)).astype(np.float32)]) for some in start]
    signs = start * np.where(start == 0, np.float32(-1), np.float32(1))
    finer = start.astype(np.float64) * (1 + 1e-12)
    rows = [[some.tolist() for some in quadruple] for quadruple in zip(start, longer, signs, finer, strict=True)]
    pq.write_table(pa.table({"x": [x for some in rows for x in some], "y": [0, 1] * 400}), tmp_path / "a.parquet")
    prepare([str(tmp_path / "a.parquet")], str(tmp_path / "out"), features="x", label="y", max_tokens=4)
    found = {name: [np.array(row) + 0.0 for row in rows] for name, rows in splits_of(tmp_path, "features").items()}
    assert repeated({name: [row.tolist() for row in rows] for name, rows in found.items()}) == [0, 0, 0]
    assert len({str(row.tolist()) for rows in found.values() for row in rows}) == 200
