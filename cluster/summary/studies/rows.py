"""The rows of two studies as one: those of the source that the target lacks, of the tables that are compacted.

Rows that both have must be the same in every column. They are published as one whole object of the target, so a reader
sees them all at once (`cluster.summary.compacted`); a compaction deletes afterwards what it replaces.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cluster.summary.accepted import codes_of
from cluster.summary.compact import Folded, folded, joined
from cluster.summary.compacted import REPLACES, number_of, replaced, whole_name
from cluster.summary.encoding import encode
from cluster.summary.scan import Reading, listed, steadily
from cluster.summary.studies.place import StudyPlace
from trainer.errors import InputError

# The columns that identify a row within a study.
KEYS = {"trials": ("trial_id", "attempt"), "evaluations": ("trial_id", "attempt", "update"), "studies": ("spec_hash",)}


@dataclass(frozen=True)
class HeldRows:
    """The rows of one table of a study, as they were written; None if there are none.

    `names` are the objects that hold them now, and `replaced` those that held them before, both without their folder.
    """

    rows: pa.Table | None
    names: Sequence[str]
    replaced: Sequence[str]

    @property
    def every_name(self) -> list[str]:
        """The objects that hold or held these rows."""
        return [*self.names, *self.replaced]


def held(place: StudyPlace, table: str) -> HeldRows:
    """Read every row.

    Raises:
        InputError: an object cannot be read or accepted as a whole.
        NotReadyError: the store cannot be used.
    """
    store, folder = place.store, place.folder(table)

    def read() -> tuple[Reading, list[Folded], list[str]]:
        reading = listed(store, table, place.study)
        files = folded(reading, place.study)
        newest = max((file.name for file in files), key=number_of, default="")
        before = replaced(reading.content(newest)) if number_of(newest) else []
        return reading, files, before

    reading, files, before = steadily(store, read)
    whole = {file.name for file in files} | {*reading.names.earlier}
    for problem in reading.problems:
        if problem.name not in whole:
            raise InputError(
                f"{store.uri}/{problem.name} cannot be taken along ({problem.what}): put back what was written there, "
                "or delete it"
            )
    names = [name.removeprefix(folder) for name in (*reading.names.gone, *(file.name for file in files))]
    return HeldRows(joined(store, table, files) if files else None, names, before)


def addition(source: StudyPlace, target: StudyPlace, table: str) -> tuple[str, bytes] | None:
    """The name and content of the object that adds the source's rows to the target's; None if it has all of them.

    Raises:
        InputError: both have a row with other values, or an object of one cannot be read.
    """
    theirs, ours = held(source, table), held(target, table)
    if theirs.rows is None:
        return None
    new = theirs.rows if ours.rows is None else missing(ours.rows, theirs.rows, KEYS[table], source, target)
    if not len(new):
        return None
    parts = [ours.rows, new] if ours.rows is not None else [new]
    rows = joined(target.store, table, [Folded(target.folder(table), part, sealed=True) for part in parts])
    # A whole object's name says nothing about the source's: the target may have one of the same name.
    small = [name for name in theirs.every_name if not number_of(name)]
    name = whole_name(1 + max(map(number_of, ours.every_name), default=0))
    replaces = sorted({*ours.every_name, *small})
    return target.folder(table) + name, encode(rows, {REPLACES: json.dumps(replaces)})


def missing(there: pa.Table, more: pa.Table, keys: Sequence[str], source: StudyPlace, target: StudyPlace) -> pa.Table:
    """The rows of `more` whose key is not `there`.

    Raises:
        InputError: a row that both have differs.
    """
    if not len(there):
        return more
    both = pa.concat_tables([there, more], promote_options="permissive").combine_chunks()
    codes = codes_of(both.select(keys))
    ours, theirs = codes[: len(there)], codes[len(there) :]
    order = np.argsort(ours)
    places = np.searchsorted(ours, theirs, sorter=order)
    found = order[np.minimum(places, len(ours) - 1)]
    shared = ours[found] == theirs
    more = both.slice(len(there))
    one, other = both.take(pa.array(found[shared])), more.filter(pa.array(shared))
    if columns := _different(one, other):
        raise InputError(_conflict(one, other, columns, keys, source, target))
    return more.filter(pa.array(~shared))


def _different(one: pa.Table, other: pa.Table) -> list[str]:
    """The columns that differ. They are compared as they are written, since a NaN in a table equals nothing."""
    if encode(one.combine_chunks()) == encode(other.combine_chunks()):
        return []
    columns = ((name, one.select([name]), other.select([name])) for name in one.column_names)
    return [name for name, ours, theirs in columns if encode(ours.combine_chunks()) != encode(theirs.combine_chunks())]


def _conflict(
    one: pa.Table, other: pa.Table, columns: Sequence[str], keys: Sequence[str], source: StudyPlace, target: StudyPlace
) -> str:
    rows = zip(one.select(columns).to_pylist(), other.select(columns).to_pylist(), strict=True)
    number = next(number for number, (ours, theirs) in enumerate(rows) if repr(ours) != repr(theirs))
    key = ", ".join(f"{name} {one[name][number]}" for name in keys)
    return (
        f"{source} and {target} both have {key}, with another {', '.join(columns[:5])}: two machines ran the same "
        "trial, and neither row may be lost; rename one of the studies, and keep both"
    )
