"""The studies of a summary as people keep them: a list, and one study with its description, its tags and its notes."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.report.points import progress_line
from cluster.summary import query
from cluster.summary.scan import study_of
from cluster.summary.studies.notes import Note, notes
from cluster.summary.studies.place import StudyPlace
from cluster.summary.studies.unfinished import unfinished
from cluster.summary.tables import STATES, TEXT
from cluster.text.formats import SCHEMA_VERSION, json_value
from cluster.text.plain import plain
from cluster.text.table import Column, cell_text

# Longer descriptions and tags are cut at a word in the list: `studies show` has them whole.
LISTED_CHARACTERS = 32
_HEAD_CHARACTERS = 13
COLUMNS = [
    Column("study", ("", "study")),
    Column("trials", ("trials", "ended")),
    Column("asked", ("", "asked")),
    Column("started_at", ("started", "UTC")),
    Column("tags", ("", "tags")),
    Column("description", ("", "description")),
    Column("last_started_at", ("last run", "UTC")),
    Column("notes", ("", "notes"), rare=True),
    Column("task", ("", "task")),
]


def listed(overview: pa.Table, notes: Sequence[str], *, tag: str | None = None) -> pa.Table:
    """The rows of `query.overview` with the number of notes, given the names of all notes; `tag` chooses among them."""
    of_each = Counter(map(study_of, notes))
    counts = pa.array([of_each[study] for study in overview["study"].to_pylist()], pa.int64())
    rows = overview.append_column("notes", counts)
    if tag is None:
        return rows
    return rows.filter(pa.array([tag in tags_of(tags) for tags in rows["tags"].to_pylist()], pa.bool_()))


def shortened(rows: pa.Table) -> pa.Table:
    """The list with texts that fit into a terminal."""
    for name in ("tags", "description"):
        texts = [
            text and textwrap.shorten(text, LISTED_CHARACTERS, placeholder=" ...") for text in rows[name].to_pylist()
        ]
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(texts, TEXT))
    return rows


def tags_of(text: str | None) -> list[str]:
    """The tags in a row of `studies`."""
    return text.split(", ") if text else []


def about(row: Mapping[str, Any]) -> str:
    """What a study's author wrote about it, in one line: the description, and its tags in brackets."""
    tags = f"[{row['tags']}]" if row["tags"] else ""
    return " ".join(f"{row['description'] or ''} {tags}".split())


@dataclass(frozen=True)
class StudyDetails:
    """One study: its row of `query.overview`, its specs, its notes, and a command that has not ended, if any."""

    row: dict[str, Any]
    specs: list[dict[str, Any]]
    notes: list[Note]
    checkpoint_bytes: int
    command: str | None


def shown(place: StudyPlace) -> StudyDetails:
    """Read a study.

    Raises:
        InputError: there is no such study.
        NotReadyError: the store cannot be used.
    """
    query.asked(place.summary, place.study)
    overview = query.overview(place.summary)
    [row] = overview.filter(pc.equal(overview["study"], place.study)).to_pylist()
    return StudyDetails(
        row=row,
        specs=query.studies(place.summary, place.study).to_pylist(),
        notes=notes(place),
        checkpoint_bytes=sum(place.store.sizes(place.folder("checkpoints")).values()),
        command=unfinished(place.summary).get(place.study),
    )


def to_json(found: StudyDetails) -> dict[str, Any]:
    """The study for a program."""
    specs = [
        {name: json_value(spec[name]) for name in ("spec_hash", "declared_at", "started_at", "data", "data_hash")}
        for spec in found.specs
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        **{name: json_value(value) for name, value in found.row.items()},
        "tags": tags_of(found.row["tags"]),
        "specs": specs,
        "notes": [{"at": json_value(note.at), "text": note.text} for note in found.notes],
        "checkpoint_bytes": found.checkpoint_bytes,
        "unfinished_command": found.command,
    }


def text(found: StudyDetails, width: int | None) -> str:
    """The study for a person, a fact a line, its words wrapped at `width`."""
    lines = [_line(head, plain(fact), width) for head, fact in _facts(found) if fact]
    return "".join(f"{line}\n" for line in lines)


def _facts(found: StudyDetails) -> Iterator[tuple[str, str]]:
    row, newest = found.row, found.specs[-1] if found.specs else None
    yield "study", row["study"]
    yield "description", " ".join((row["description"] or "").split())
    yield "tags", row["tags"] or ""
    yield "task", row["task"] or ""
    yield "data", row["data"] or ""
    counts = {name: row[name] or 0 for name in ("trials", *map(str.lower, STATES))}
    yield "trials", progress_line(counts, row["asked"])
    if row["lowest_validation_loss_mean"] is not None:
        yield (
            "lowest",
            f"mean validation loss {row['lowest_validation_loss_mean']:.4f} at global batch "
            f"{row['lowest_global_batch']} (n = {row['lowest_seeds']})",
        )
    if row["started_at"] is not None:
        yield "started", f"{cell_text(row['started_at'], None)} UTC; last run {cell_text(row['last_started_at'], None)}"
    if newest is not None:
        declared = newest["declared_at"] or newest["started_at"]
        yield "spec", f"{newest['spec_hash']}, declared {cell_text(declared, None)} UTC" if declared else ""
    yield "checkpoints", f"{found.checkpoint_bytes / 1e6:,.1f} MB" if found.checkpoint_bytes else ""
    for note in found.notes:
        yield "note", f"{cell_text(note.at, None)} UTC: {' '.join(note.text.split())}"
    if found.command is not None:
        yield "half-way", f"`{found.command}` has not ended: run it again"


def _line(head: str, fact: str, width: int | None) -> str:
    begin = f"{head:<{_HEAD_CHARACTERS}}"
    if width is None:
        return begin + fact
    return textwrap.fill(
        fact,
        width,
        initial_indent=begin,
        subsequent_indent=" " * _HEAD_CHARACTERS,
        break_long_words=False,
        break_on_hyphens=False,
    )
