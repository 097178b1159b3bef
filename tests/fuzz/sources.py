"""Input files of each format that `prepare` reads, some of them damaged.

Of a file that is whole and accepted, every row is in one split, with its own label, and its tokens are what the
tokenizer that was written makes of its text; rows of one text or one group are in one split.
"""

import csv as csv_module
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from cluster.prepare import prepare
from tests.fuzz.damage import NASTY, damaged
from tests.fuzz.engine import Try, check
from trainer.data.manifest import SPLITS, Manifest

Rows = list[dict[str, Any]]
_TOKENS = """
soil seed root leaf anchor tide crane the of over new a I Stra\u00dfe caf\u00e9 \u80a1\u7968 no 1 2.5 -
"""
WORDS = _TOKENS.split()
ODD = (
    '"',
    "''",
    '"x"',
    "a,b",
    "\t",
    "\n",
    "\r\n",
    "\\",
    "\\n",
    "\u2028",
    "\x00",
    "\x1b[31m",
    "=1+1",
    "\ufeff",
    "\u0301",
    "#",
    "NA",
)
LABELS: tuple[tuple[Any, ...], ...] = (
    *(
        ("garden", "harbour"),
        ("01", "1", "2"),
        ("007", "7", "8"),
        ("yes", "no"),
        ("NA", "x"),
        ("a", "A"),
        ("+1", "1", "0"),
    ),
    *((0, 1), (-1, 10**18), (True, False), (0.5, 1.5), (1.0, 2.0), (1e300, 0.1), ("1e3", "1000"), ("nan", "1")),
    *(
        ("", "x"),
        (None, "x"),
        (1, "1"),
        ("\x1b[31mred", "blue"),
        ("a b", " a b"),
        ("\u80a1", "\u7968"),
        (2**63, 1),
        ("x" * 2000, "y"),
    ),
)


def _rows(draw: Random) -> Rows:
    labels, count = draw.choice(LABELS if draw.random() < 0.6 else LABELS[:1]), draw.choice((60, 120))
    odd = draw.choice((0.0, 0.0, 0.1))
    rows = []
    for number in range(count):
        words = [draw.choice(ODD if draw.random() < odd else WORDS) for _ in range(draw.randint(2, 12))]
        rows.append(
            {"body": " ".join([*words, str(number)]), "topic": draw.choice(labels), "source": f"s{number // 2}"}
        )
    for name in ("body", "topic", "source"):
        if draw.random() < 0.04:
            rows[draw.randrange(count)][name] = draw.choice(NASTY)
    if draw.random() < 0.2:
        rows += [dict(draw.choice(rows)) for _ in range(5)]
    return rows


def _as_jsonl(rows: Rows, draw: Random) -> bytes:
    keep = draw.random() < 0.5
    lines = [json.dumps(row, ensure_ascii=keep) for row in rows]
    return (draw.choice(("\n", "\r\n", "\n\n")).join(lines) + draw.choice(("", "\n"))).encode("utf-8", "surrogatepass")


def _as_delimited(delimiter: str) -> Callable[[Rows, Random], bytes]:
    def write(rows: Rows, draw: Random) -> bytes:
        text = io.StringIO()
        quoting = draw.choice((csv_module.QUOTE_MINIMAL, csv_module.QUOTE_ALL, csv_module.QUOTE_NONNUMERIC))
        end = draw.choice(("\n", "\r\n"))
        writer = csv_module.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
        writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)
        bom = b"\xef\xbb\xbf" if draw.random() < 0.2 else b""
        return bom + text.getvalue().encode("utf-8", "surrogatepass")

    return write


def _as_parquet(rows: Rows, draw: Random) -> bytes:
    columns = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    for name, column in columns.items():
        if pa.types.is_string(column.type) and draw.random() < 0.3:
            columns[name] = column.cast(pa.large_string()) if draw.random() < 0.5 else column.dictionary_encode()
        elif pa.types.is_integer(column.type) and draw.random() < 0.3:
            columns[name] = column.cast(pa.decimal128(38, 0)) if draw.random() < 0.5 else column.cast(pa.float64())
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table(columns), sink, row_group_size=draw.choice((7, 1000)), compression=draw.choice(("snappy", "none"))
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _of(ending: str, write: Callable[[Rows, Random], bytes]) -> Callable[[Path], AbstractContextManager[Try]]:
    @contextmanager
    def opened(folder: Path) -> Iterator[Try]:
        def attempt(draw: Random) -> bool:
            source, out = folder / f"a.{ending}", folder / "out"
            shutil.rmtree(out, ignore_errors=True)
            rows = _rows(draw)
            if ending in ("csv", "tsv"):
                rows = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
            try:
                content = write(rows, draw)
            except (pa.ArrowException, OverflowError, TypeError, ValueError):
                # Other programs cannot write such rows either.
                return False
            whole = draw.random() < 0.5
            source.write_bytes(content if whole else damaged(content, draw))
            options = _options(draw)
            manifest = prepare([str(source)], str(out), text="body", progress=lambda stage, share: None, **options)
            if whole:
                _check(rows, out, manifest, options)
            return True

        yield attempt

    return opened


jsonl = _of("jsonl", _as_jsonl)
csv = _of("csv", _as_delimited(","))
tsv = _of("tsv", _as_delimited("\t"))
parquet = _of("parquet", _as_parquet)


def _options(draw: Random) -> dict[str, Any]:
    task = draw.choice((None, None, None, None, "classification", "regression", "language_model"))
    return {
        "label": None if task == "language_model" else "topic",
        "task": task,
        "group_by": draw.choice((None, None, "source")),
        "max_tokens": draw.choice((1, 5, 200, 10**6)),
        "vocabulary": draw.choice((3, 20, 20_000)),
        "skip_empty": draw.random() < 0.5,
        "split_seed": draw.choice((0, 1, 2)),
        "batch_rows": draw.choice((1, 7, 2048)),
    }


def _check(rows: Rows, out: Path, manifest: Manifest, options: dict[str, Any]) -> None:
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    split_of: dict[int, str] = {}
    for name in SPLITS:
        for shard in manifest.splits[name].shards:
            for found in pq.read_table(out / shard.file).to_pylist():
                row = rows[found["row"]]
                check(found["row"] not in split_of, f"row {found['row']} is there twice")
                split_of[found["row"]] = name
                tokens = tokenizer.encode(row["body"], add_special_tokens=False).ids
                check(found["tokens"] == tokens, f"{row} has the tokens {found['tokens']}")
                if "label" in found:
                    _check_label(row["topic"], found["label"], manifest)
    kept = {number for number, row in enumerate(rows) if str(row["body"]).strip("\ufeff\x00 \t\r\n\v\f\u2028")}
    check(kept - set(split_of) == set() or options["skip_empty"], f"rows are missing: {sorted(kept - set(split_of))}")
    for key in ("body", *(["source"] if options["group_by"] else [])):
        together: dict[Any, str] = {}
        for number, name in split_of.items():
            check(together.setdefault(rows[number][key], name) == name, f"{key} {rows[number][key]!r} is in two splits")


def _check_label(written: Any, label: Any, manifest: Manifest) -> None:
    if manifest.task == "regression":
        check(np.float32(label) == np.float32(float(written)), f"the label {written!r} became {label}")
        return
    name = manifest.label_names[label]
    same = name == str(written) or name == str(written).lower() or _number(name) == _number(written) != None  # noqa: E711
    check(same, f"the label {written!r} became {name!r}")
    if isinstance(written, str):
        check(name == written, f"the label {written!r} became {name!r}")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) or str(value).replace(".", "").lstrip("-").isdigit() else None
