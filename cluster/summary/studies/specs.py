"""The specs of two studies as one: those of the source under the target's name, each declared when it was first."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from cluster.study.identity import differences
from cluster.summary.encoding import encode
from cluster.summary.studies.place import StudyPlace
from cluster.summary.studies.rows import held
from cluster.summary.tables import SCHEMAS
from trainer.errors import InputError

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Row = Mapping[str, Any]


def specs_to_write(source: StudyPlace, target: StudyPlace) -> Iterator[tuple[str, bytes]]:
    """The name and content of each object of `studies` that the target lacks, or has of an earlier run.

    Raises:
        InputError: the two are different studies, or an object of one cannot be read.
    """
    ours, theirs = _specs(target), _under_its_name(_specs(source), source, target)
    _refuse_other_study(ours.to_pylist(), theirs.to_pylist(), source, target)
    places = {spec_hash: place for place, spec_hash in enumerate(ours["spec_hash"].to_pylist())}
    for number, spec_hash in enumerate(theirs["spec_hash"].to_pylist()):
        spec, before = theirs.slice(number, 1), ""
        if spec_hash in places:
            there = ours.slice(places[spec_hash], 1)
            spec, before = _newer(there, spec), repr(there.to_pylist())
        if repr(spec.to_pylist()) != before:
            yield f"{target.folder('studies')}{spec_hash}.parquet", encode(spec.combine_chunks())


def _specs(place: StudyPlace) -> pa.Table:
    """The specs of a study as they were written, with every known column; none if there is no study."""
    rows = held(place, "studies").rows
    schema = SCHEMAS["studies"].remove(0)
    if rows is None:
        return schema.empty_table()
    for field in schema:
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    return rows


def _newer(ours: pa.Table, theirs: pa.Table) -> pa.Table:
    """The row of the later run, declared when the earlier one was."""
    rows = ours.to_pylist()[0], theirs.to_pylist()[0]
    later = theirs if (rows[1]["started_at"] or _LONG_AGO) > (rows[0]["started_at"] or _LONG_AGO) else ours
    declared = [at for row in rows if (at := row["declared_at"] or row["started_at"])]
    if not declared:
        return later
    column = later.schema.get_field_index("declared_at")
    field = later.schema.field(column)
    return later.set_column(column, field, pa.array([min(declared)], field.type))


def _under_its_name(specs: pa.Table, source: StudyPlace, target: StudyPlace) -> pa.Table:
    """The specs with the target's name, and its summary where that is another."""
    changed = {"study": target.study}
    if target.summary != source.summary:
        changed["summary"] = target.summary.uri

    def renamed(text: str | None) -> str | None:
        fields = json.loads(text or "null")
        if not fields:
            return text
        return json.dumps({**fields, **changed}, sort_keys=True, separators=(",", ":"))

    column = specs.schema.get_field_index("spec_json")
    texts = [renamed(text) for text in specs["spec_json"].to_pylist()]
    return specs.set_column(column, specs.schema.field(column), pa.array(texts, pa.string()))


def _refuse_other_study(ours: list[Row], theirs: list[Row], source: StudyPlace, target: StudyPlace) -> None:
    for one, other in ((one, other) for one in ours for other in theirs):
        different = []
        if one["spec_json"] and other["spec_json"]:
            different = differences(one["spec_json"], other["spec_json"])
        if one["data_hash"] != other["data_hash"]:
            different.append(f"data: {one['data']} -> {other['data']}")
        if different:
            raise InputError(
                f"{source} is another study than {target} ({'; '.join(different)}): rename one of them, and keep both"
            )
