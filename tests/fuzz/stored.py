"""Damage to a summary: its tables, compacted objects, probes and markers; and files of other programs among them.

A damaged file of ours gives its own rows or is named; no other row changes. Whatever lies there, every question is
answered.
"""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.analysis.verdict import judge
from cluster.report import verdict as words
from cluster.report import verdict_table
from cluster.report.page.page import page
from cluster.report.serve import reading
from cluster.summary import query
from cluster.summary.compact import compact
from cluster.summary.encoding import encode
from cluster.summary.problems import Problem
from cluster.summary.store import Summary
from tests.fuzz.damage import NASTY, damaged, edited, written
from tests.fuzz.engine import Try, check
from tests.support.simulated import World, spec_of, study

TABLES = ("studies", "trials", "evaluations", "probes")
# The share of inputs after which everything is asked, and the share of these with a verdict and a page.
OFTEN, SLOW = 0.3, 0.2


def _summary(folder: Path) -> tuple[Summary, list[Problem]]:
    """A small study that ended, an object for each row as lanes write them, and a probe."""
    problems: list[Problem] = []
    axes = {"global_batch": [16, 64], "learning_rate": 0.01, "seeds": 1}
    specs, trials, evaluations = study(spec_of(axes=axes, budget={"updates": 20}, protocol=None), World())
    summary = Summary(str(folder / "summary"), note=problems.append)
    for row in specs.to_pylist():
        summary.write_study({**row, "trials": trials.num_rows})
    for row in trials.to_pylist():
        summary.write_trial(row)
        summary.attempt_started("simulated", row["trial_id"], 1, {})
        of_trial = evaluations.filter(pc.equal(evaluations["trial_id"], row["trial_id"])).to_pylist()
        summary.write_evaluations(of_trial, part=0)
    now = datetime(2026, 1, 3, tzinfo=UTC)
    probe = {
        "study": "simulated",
        "spec_hash": specs["spec_hash"][0].as_py(),
        "probed_at": now,
        "kind": "memory",
        "state": "COMPLETED",
    }
    summary.write_probe([{**probe, "global_batch": batch} for batch in (16, 64)])
    return summary, problems


def _rows(summary: Summary) -> dict[str, list[str]]:
    """All rows of all tables, each as text."""
    read = (query.studies, query.trials, query.evaluations, query.probes)
    return {name: sorted(map(repr, ask(summary).to_pylist())) for name, ask in zip(TABLES, read, strict=True)}


def _ask_everything(summary: Summary, draw: Random) -> None:
    """Ask, now and then, what people ask; what is raised is for them."""
    if draw.random() > OFTEN:
        return
    query.overview(summary)
    query.points(query.trials(summary))
    reading.listing(summary)
    for name in query.names(summary):
        reading.study_tables(summary, name)
    if draw.random() > SLOW:
        return
    specs = query.specs(summary, "simulated")
    verdict = judge(specs, query.trials(summary, "simulated"), query.evaluations(summary, "simulated"))
    found = json.loads(verdict_table.to_json(verdict, words.sentences(verdict)), parse_constant=math.nan.__class__)
    check(found["schema_version"], "no verdict")
    check("<html" in page(summary, "simulated"), "no page")


def _damaging(folder: Path, *, compacted_first: bool) -> Iterator[Try]:
    summary, problems = _summary(folder)
    if compacted_first:
        compact(summary, "simulated")
    files = sorted(path for path in (folder / "summary").rglob("*.parquet"))
    contents = {path: path.read_bytes() for path in files}
    right = _rows(summary)

    def attempt(draw: Random) -> bool:
        path, other = draw.choice(files), draw.choice(files)
        changed = contents[other] if draw.random() < 0.1 else damaged(contents[path], draw)
        path.write_bytes(changed)
        problems.clear()
        try:
            found = _rows(summary)
            names = "\n".join(problem.name for problem in problems)
            _ask_everything(summary, draw)
        finally:
            path.write_bytes(contents[path])
        for table, rows in found.items():
            new = [row for row in rows if row not in right[table]]
            check(not new, f"a row of {table} that was never written: {new[:1]}")
            check(len(rows) == len(set(rows)), f"a row of {table} is there twice")
        lost = any(len(found[table]) < len(right[table]) for table in TABLES)
        check(
            not lost or path.name in names or path.parent.parent.name in names,
            f"rows of {path.name} are missing: {names}",
        )
        return not lost

    yield attempt


@contextmanager
def tables(folder: Path) -> Iterator[Try]:
    """The small files of all tables."""
    yield from _damaging(folder, compacted_first=False)


@contextmanager
def compacted(folder: Path) -> Iterator[Try]:
    """Compacted objects."""
    yield from _damaging(folder, compacted_first=True)


@contextmanager
def foreign(folder: Path) -> Iterator[Try]:
    """A file that another program wrote: other values, types, columns, names and metadata, with a seal or without."""
    summary, problems = _summary(folder)
    compact(Summary(str(shutil.copytree(folder / "summary", folder / "compacted")), note=problems.append), "simulated")
    summaries = [summary, replace(summary, uri=str(folder / "compacted"))]
    right = _rows(summary)

    def attempt(draw: Random) -> bool:
        at = draw.choice(summaries)
        table = draw.choice(TABLES)
        place = Path(at.uri) / table / draw.choice(("study=simulated",) * 6 + ("study=other", "a b", "study=..", "."))
        name = draw.choice(("x.parquet", "0f0f-1.parquet", "0f0f-1-0.parquet", "whole.000000007.parquet", "y.txt", "Z"))
        file = place / name
        made = not place.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        source = pq.read_table(draw.choice(sorted((Path(summary.uri) / table).rglob("*.parquet"))))
        try:
            rows = _other(source, draw)
            content = encode(rows, _metadata(draw)) if draw.random() < 0.5 else _unsealed(rows)
        except (pa.ArrowException, OverflowError, TypeError, ValueError, UnicodeEncodeError):
            return False
        try:
            file.write_bytes(content)
            problems.clear()
            found = _rows(at)
            _ask_everything(at, draw)
        finally:
            file.unlink(missing_ok=True)
            if made and not any(place.iterdir()):
                place.rmdir()
        for name, rows in right.items():
            lost = set(rows) - set(found[name])
            check(not lost or "whole" in file.name, f"a file of {table} hides rows of {name}: {list(lost)[:1]}")
        return True

    yield attempt


@contextmanager
def markers(folder: Path) -> Iterator[Try]:
    """The markers of begun attempts, and the label of the summary."""
    summary, problems = _summary(folder)
    fields = {"global_batch": 16, "learning_rate": 0.1, "started_at": datetime(2026, 1, 3, tzinfo=UTC), "phase": "grid"}
    summary.attempt_started("simulated", "0a0a", 1, fields)
    path = folder / "summary" / "attempts" / "study=simulated" / "0a0a-1.json"
    content = path.read_bytes()
    (right,) = summary.lost_attempts("simulated")

    def attempt(draw: Random) -> bool:
        path.write_bytes(written(edited(json.loads(content), draw)) if draw.random() < 0.6 else damaged(content, draw))
        problems.clear()
        found = summary.lost_attempts("simulated")
        check(found or problems, "a marker is passed over without a word")
        check(summary.next_attempt("simulated", "0a0a") == 2, "an attempt begins twice")
        for row in found:
            check((row["trial_id"], row["attempt"]) == ("0a0a", 1), f"{row}")
            Summary(str(folder / "again")).write_trial({**row, "state": "LOST"})
            rows = query.trials(Summary(str(folder / "again"), note=problems.append))
            shutil.rmtree(folder / "again")
            check(rows.num_rows <= 1, "one row became several")
        reading.study_tables(summary, "simulated")
        return found == [right]

    yield attempt


def _metadata(draw: Random) -> dict[str, str]:
    said = json.dumps(draw.choice((["x.parquet"], [], 3, None, {"a": 1}, [7], ["../../x"], ["\x1b[31m"])))
    return {"batchscope_replaces": said} if draw.random() < 0.4 else {}


def _unsealed(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _other(rows: pa.Table, draw: Random) -> pa.Table:
    """Rows with one to three columns changed in value, type, name or number."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(rows.num_columns)
        name, column = rows.column_names[at], rows.column(at)
        how = draw.randrange(7)
        if how <= 2:
            rows = rows.set_column(at, name, _filled(rows.num_rows, column.type, draw))
        elif how == 3:
            rows = rows.set_column(at, name, pa.array([draw.choice(NASTY)] * rows.num_rows))
        elif how == 4:
            rows = rows.append_column(draw.choice((name, "study", "newer", "", "\x1b[1m")), column)
        elif how == 5:
            rows = rows.remove_column(at)
        else:
            rows = pa.concat_tables([rows] * draw.choice((0, 2, 3))) if draw.random() < 0.9 else rows.slice(0, 0)
    return rows


def _filled(count: int, kind: pa.DataType, draw: Random) -> pa.Array:
    """A column of the same type with other values."""
    values: dict[str, tuple[Any, ...]] = {
        "int64": (None, 0, -1, 1, 2**62, 2**63 - 1, -(2**63), 7),
        "double": (None, 0.0, -1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324),
        "string": (
            None,
            "",
            "x" * 9000,
            "../../x",
            "\x1b[31mred",
            "COMPLETED",
            "confirm",
            "{}",
            "[]",
            "[" * 5000,
            "null",
            "nan",
        ),
    }
    chosen = values.get(str(kind))
    if chosen is None:
        return pa.array([draw.choice((None, 0, 2**62, -(2**62)))] * count, pa.int64()).cast(kind)
    return pa.array([draw.choice(chosen)] * count, kind)
