"""Which rows of a summary are accepted: those with a valid, unique key and valid states, phases and numbers. Pure.

Anybody can copy a file into a study's folder. Rows that are not accepted are left out and reported, never pooled: a row
that is there twice would count twice, and a row with an unknown state or phase answers nothing.
"""

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.study.protocol import PHASES
from cluster.summary.compacted import number_of
from cluster.summary.problems import Problem
from cluster.summary.tables import AXES, FINISHED, FOREIGN, KEYS, PROBE_KINDS, SCHEMAS, STATES, TIME
from trainer.trial import DTYPES, OPTIMIZERS

# The columns that identify a row; for a probe, they identify all rows of one file.
UNIQUE = {
    "studies": ("study", "spec_hash"),
    "trials": ("study", "trial_id", "attempt"),
    "evaluations": ("study", "trial_id", "attempt", "update"),
    "probes": ("study", "spec_hash", "probed_at"),
    "fits": ("study", "fit_id", "epoch"),
}
KNOWN = {
    "state": STATES,
    "phase": PHASES,
    "kind": PROBE_KINDS,
    "origin": (FOREIGN,),
    "optimizer": OPTIMIZERS,
    "dtype": DTYPES,
}
LEAST = {"attempt": 1, "global_batch": 1, "micro_batch": 1, "micro_batch_next": 1, "workers": 1, "update": 0}
IDENTIFIERS = ("spec_hash", "trial_id", "fit_id")
_IDENTIFIER = re.compile("[A-Za-z0-9]+")
TIMES = pa.array([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)], TIME)
# The values of its rows that a file's name contains.
NAMES = {
    "studies": r"(?P<spec_hash>[0-9a-f]{16})\.parquet",
    "trials": r"(?P<trial_id>[A-Za-z0-9]+)-(?P<attempt>\d{1,18})\.parquet",
    "evaluations": r"(?P<trial_id>[A-Za-z0-9]+)-(?P<attempt>\d{1,18})-\d+\.parquet",
    "probes": r"(?P<spec_hash>[A-Za-z0-9]+)-\d{8}T\d+Z\.parquet",
    "fits": r"(?P<fit_id>[A-Za-z0-9]+)-\d+\.parquet",
}

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class AcceptedFile:
    """A file with `rows` rows of a table; an `earlier` compacted file should have no row that a newer one lacks."""

    name: str
    rows: int
    earlier: bool = False


@dataclass(frozen=True)
class Judged:
    """Which rows are accepted, and the problems of files with other rows."""

    accepted: Mask
    problems: Sequence[Problem]


@functools.cache
def checked(table: str) -> tuple[str, ...]:
    """The columns of `table` that `judge` looks at."""
    looked_at = {*UNIQUE[table], *KEYS[table], *KNOWN, *LEAST, *AXES, "spec_json"}
    return tuple(field.name for field in SCHEMAS[table] if field.name in looked_at or field.type == TIME)


def judge(table: str, rows: pa.Table, sources: Sequence[AcceptedFile]) -> Judged:
    """Judge the rows of `table`, which are the rows of all `sources`, one source after the other."""
    of = np.repeat(np.arange(len(sources)), [source.rows for source in sources])
    bad = np.zeros(len(rows), np.bool_)
    problems: list[Problem] = []
    if not len(rows):
        return Judged(~bad, problems)
    for why, breaking in _rules(table, rows, sources, of):
        new = breaking & ~bad
        if new.any():
            bad |= new
            problems += [_left_out(sources[file], count, why) for file, count in _counted(of[new])]
    twice, first = _repeated(table, rows, sources, of, bad)
    for file, count in _counted(of[twice]):
        # In an earlier compacted file, repeated rows are expected.
        if not sources[file].earlier:
            holder = sources[of[first[twice & (of == file)][0]]].name.rpartition("/")[2]
            what = "more than once in it" if holder == sources[file].name.rpartition("/")[2] else f"in {holder} too"
            problems.append(_left_out(sources[file], count, f"have a key that is {what}"))
    accepted = ~(bad | twice)
    if table == "trials":
        problems += _vague(rows, sources, of, accepted)
    for file, count in _counted(of[accepted]):
        if sources[file].earlier:
            what = (
                f"{count} of its rows are in no newer compacted file: compacted summaries of several machines were "
                "merged; the rows are counted"
            )
            problems.append(Problem(sources[file].name, what))
    return Judged(accepted, problems)


def _vague(rows: pa.Table, sources: Sequence[AcceptedFile], of: Numbers, accepted: Mask) -> Iterator[Problem]:
    """The files with answers that lack an axis or the time: they are read, but no verdict can use them."""
    answers = accepted & _of_each(rows["state"], FINISHED.__contains__)
    lacking = functools.reduce(np.logical_or, (_null(rows[name]) for name in (*AXES, "started_at", "ended_at")))
    for file, count in _counted(of[answers & lacking]):
        what = f"{count} of its rows lack an axis or the time: they are read, but no verdict uses them"
        yield Problem(sources[file].name, what)


def _left_out(source: AcceptedFile, count: int, why: str) -> Problem:
    return Problem(source.name, f"{count} of {source.rows} row{'s' * (source.rows != 1)} left out: they {why}")


def _counted(files: Numbers) -> Iterator[tuple[int, int]]:
    """Each file among `files`, and how often it is there."""
    numbers, counts = np.unique(files, return_counts=True)
    yield from zip(numbers.tolist(), counts.tolist(), strict=True)


def _rules(table: str, rows: pa.Table, sources: Sequence[AcceptedFile], of: Numbers) -> Iterator[tuple[str, Mask]]:
    """Each rule in words, and the rows that break it."""
    there = set(rows.column_names)
    for name in KEYS[table]:
        yield f"have no {name}", _null(rows[name])
    for name in IDENTIFIERS:
        if name in KEYS[table]:
            yield f"have an invalid {name}", _of_each(rows[name], lambda text: not _IDENTIFIER.fullmatch(text))
    for name, values in KNOWN.items():
        if name in there:
            yield f"have an unknown {name}", _of_each(rows[name], lambda text, known=values: text not in known)  # type: ignore[misc]
    for name, least in LEAST.items():
        if name in there:
            yield f"have a {name} below {least}", _mask(pc.less(rows[name], least))
    if "learning_rate" in there:
        # A schedule may end at 0.
        too_low = pc.less if table in ("evaluations", "fits") else pc.less_equal
        impossible = pc.or_(too_low(rows["learning_rate"], 0), pc.invert(pc.is_finite(rows["learning_rate"])))
        yield "have an impossible learning_rate", _mask(impossible)
    if "spec_json" in there:
        no_object = _of_each(rows["spec_json"], lambda text: not _is_object(text))
        yield "have a spec_json that is not a JSON object", no_object
    for field in rows.schema:
        if field.type == TIME:
            early, late = pc.less(rows[field.name], TIMES[0]), pc.greater(rows[field.name], TIMES[1])
            yield f"have a {field.name} out of range", _mask(pc.or_(early, late))
    yield from _names(table, rows, sources, of)


def _names(table: str, rows: pa.Table, sources: Sequence[AcceptedFile], of: Numbers) -> Iterator[tuple[str, Mask]]:
    """For each value that a file's name contains, the rows with another one."""
    matches = [re.fullmatch(NAMES[table], source.name.rpartition("/")[2]) for source in sources]
    index = pa.array(of)
    for name in re.compile(NAMES[table]).groupindex:
        values = [match[name] if match else None for match in matches]
        expected = pa.array(values, pa.string()).cast(rows[name].type).take(index)
        yield f"have another {name} than the file's name says", _mask(pc.not_equal(rows[name], expected))


def _mask(values: pa.ChunkedArray) -> Mask:
    """A mask of the values, in which null counts as false."""
    return np.asarray((pc.fill_null(values, False) if values.null_count else values).to_numpy(), np.bool_)


def _null(column: pa.ChunkedArray) -> Mask:
    """The rows without a value."""
    return _mask(pc.is_null(column)) if column.null_count else np.zeros(len(column), np.bool_)


def _of_each(column: pa.ChunkedArray, is_bad: Callable[[str], bool]) -> Mask:
    """The rows for whose text `is_bad` is true; it is called once for each distinct text."""
    encoded = column.combine_chunks().dictionary_encode()
    found = [is_bad(text) for text in encoded.dictionary.to_pylist()]
    if not any(found):
        return np.zeros(len(column), np.bool_)
    bad = pa.array(found, pa.bool_())
    return _mask(pa.chunked_array([bad.take(encoded.indices)], pa.bool_()))


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _repeated(
    table: str, rows: pa.Table, sources: Sequence[AcceptedFile], of: Numbers, bad: Mask
) -> tuple[Mask, Numbers]:
    """The rows whose key an earlier row has; and for each row, the first row with its key."""
    twice, first = np.zeros(len(rows), np.bool_), np.arange(len(rows))
    good = np.flatnonzero(~bad)
    codes = codes_of(rows.select(UNIQUE[table]))[good]
    in_order = np.sort(codes)
    if not (in_order[1:] == in_order[:-1]).any():
        return twice, first
    order = np.lexsort((_places(table, sources)[of[good]], codes))
    begins = np.concatenate([[True], codes[order][1:] != codes[order][:-1]])
    ordered = good[order]
    first[ordered] = ordered[np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))]
    # All rows of a probe have the same key, but are in one file.
    twice[ordered] = ~begins & ((table != "probes") | (of[ordered] != of[first[ordered]]))
    return twice, first


def _places(table: str, sources: Sequence[AcceptedFile]) -> Numbers:
    """The order in which files are trusted: newest compacted, named after their rows, others, earlier compacted."""

    def place(number: int) -> tuple[int, int, str]:
        name = sources[number].name
        last = name.rpartition("/")[2]
        kind = 3 if sources[number].earlier else 0 if number_of(name) else 1 if re.fullmatch(NAMES[table], last) else 2
        return kind, -number_of(name), name

    places = np.zeros(len(sources), np.int64)
    places[sorted(range(len(sources)), key=place)] = np.arange(len(sources))
    return places


def codes_of(keys: pa.Table) -> Numbers:
    """A number for each row, the same for rows with equal keys."""
    codes, size = np.zeros(len(keys), np.int64), 1
    for column in keys.columns:
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        if size * len(encoded.dictionary) > 2**62:
            different, codes = np.unique(codes, return_inverse=True)
            size = len(different)
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy(zero_copy_only=False)
        size *= len(encoded.dictionary)
    return codes
