"""Writing the central summary: a study, a row for each attempt, evaluations, probes, and markers of begun attempts.

Each call writes one object under a name made of trial and attempt, so writers never collide, and a retry after a lost
answer finds its own object. The column `study` is in the folder's name and not in the files: pyarrow and DuckDB both
read it from there.
"""

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from cluster.stores import store_of
from cluster.summary import tables
from cluster.summary.compacted import number_of, replaced
from cluster.summary.content import content_of
from cluster.summary.encoding import DamagedError, decode, encode
from cluster.summary.problems import Note, Problem, tell, warn
from trainer.data.store import Store
from trainer.errors import InputError

# This file in the root of every summary identifies the folder, and proves before a run that it can be written.
LABEL = "batchscope-summary.json"
LAYOUT = {"batchscope_summary": 1}


class ConflictError(RuntimeError):
    """An object that is written only once has other content: two drivers run the same study, or there is a bug."""


@dataclass(frozen=True)
class Summary:
    """The summary at `uri`, a folder or `s3://bucket/prefix`. It opens nothing before it is used, so it can be pickled.

    `note` is called for each object that is left out because it cannot be read or accepted.

    Raises:
        InputError: the address is neither.
    """

    uri: str
    note: Note = field(default=warn, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make a folder's path absolute: a Ray actor has another working folder."""
        object.__setattr__(self, "uri", store_of(self.uri).uri)

    def also(self, hear: Callable[[Problem], object]) -> "Summary":
        """The same summary, which also calls `hear` with its problems."""

        def both(problem: Problem) -> None:
            hear(problem)
            self.note(problem)

        return replace(self, note=both)

    @property
    def store(self) -> Store:
        """The store of the objects."""
        return store_of(self.uri)

    def write_study(self, row: Mapping[str, Any]) -> None:
        """Write what a study asks for; a later run of the same spec replaces the row (with another `started_at`)."""
        table = tables.table_of("studies", [row])
        key = f"studies/study={row['study']}/{row['spec_hash']}.parquet"
        self.store.write(key, _body(table))

    def write_trial(self, row: Mapping[str, Any]) -> None:
        """Write the one row of an attempt; writing the same row again is fine.

        Raises:
            ConflictError: the attempt has another row.
        """
        table = tables.table_of("trials", [row])
        self._write_once(f"trials/study={row['study']}/{row['trial_id']}-{row['attempt']}.parquet", table)

    def write_evaluations(self, rows: Sequence[Mapping[str, Any]], *, part: int) -> None:
        """Write evaluations of one attempt. `part` counts its calls from 0; repeating a call is fine.

        Raises:
            ConflictError: this part was written with other rows.
        """
        table = tables.table_of("evaluations", rows)
        attempts = {(row["study"], row["trial_id"], row["attempt"]) for row in rows}
        if len(attempts) != 1 or part < 0:
            raise ValueError(f"part {part} of the evaluations must be of one attempt, not of {sorted(attempts)}")
        ((study, trial_id, attempt),) = attempts
        self._write_once(f"evaluations/study={study}/{trial_id}-{attempt}-{part}.parquet", table)

    def write_probe(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write all rows of one probe: of one study and spec, with one `probed_at`; repeating the call is fine.

        Raises:
            ConflictError: another probe of the spec began in the same microsecond.
        """
        table = tables.table_of("probes", rows)
        probes = {(row["study"], row["spec_hash"], row["probed_at"]) for row in rows}
        if len(probes) != 1:
            raise ValueError(f"the rows must be of one probe, not of {sorted(probes)}")
        ((study, spec_hash, probed_at),) = probes
        moment = probed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        self._write_once(f"probes/study={study}/{spec_hash}-{moment}.parquet", table)

    def write_fit(self, rows: Sequence[Mapping[str, Any]], *, part: int) -> None:
        """Write epochs of one foreign fit. `part` counts its calls from 0; repeating a call is fine.

        Raises:
            ConflictError: this part was written with other rows.
        """
        table = tables.table_of("fits", rows)
        fits = {(row["study"], row["fit_id"]) for row in rows}
        if len(fits) != 1 or part < 0:
            raise ValueError(f"part {part} of a fit must be of one fit, not of {sorted(fits)}")
        ((study, fit_id),) = fits
        self._write_once(f"fits/study={study}/{fit_id}-{part}.parquet", table)

    def attempt_started(self, study: str, trial_id: str, attempt: int, fields: Mapping[str, Any]) -> None:
        """Mark an attempt before it begins. `fields` are the columns of its row that are known by then.

        Raises:
            ConflictError: somebody else began this attempt.
        """
        row = {**fields, "study": study, "trial_id": trial_id, "attempt": attempt}
        # This may become the row of a LOST attempt, so it must already be valid as such.
        tables.check("trials", {**row, "state": tables.LOST})
        key = _marker(study, trial_id, attempt)
        body = json.dumps(row, sort_keys=True, default=_json_value).encode()
        there = self.store.create(key, body)
        if there is not None and there != body:
            raise ConflictError(f"{self.uri}/{key} was begun by somebody else")

    def next_attempt(self, study: str, trial_id: str) -> int:
        """The number of a trial's next attempt, 1 for the first."""
        # Read one by one, because a listing would grow with the study, and attempts are few.
        for attempt in itertools.count(1):
            try:
                content_of(self.store, _marker(study, trial_id, attempt))
            except FileNotFoundError:
                return attempt
            except DamagedError:
                # The marker is damaged, but the attempt was begun.
                continue
        raise AssertionError("attempts end")

    def lost_attempts(self, study: str) -> list[dict[str, Any]]:
        """The marked attempts without a row, as rows for `write_trial` that lack `state`.

        Only for a driver that runs nothing yet, since attempts that are still running would be included. Columns of a
        newer version are skipped, and so are damaged markers.
        """
        rows: list[dict[str, Any]] = []
        problems: list[Problem] = []
        for name in sorted(self._names("attempts", study) - self._names("trials", study)):
            key = _marker(study, *name)
            try:
                rows.append(_row(content_of(self.store, key), study, *name))
            except (ValueError, RecursionError) as problem:
                problems.append(Problem(key, f"skipped: it does not mark an attempt ({problem})"))
        tell(problems, self.note, uri=self.uri, folder="attempts")
        return rows

    def _names(self, table: str, study: str) -> set[tuple[str, int]]:
        folder = f"{table}/study={study}/"
        names = [name.removeprefix(folder) for name in self.store.names(folder)]
        for whole in filter(number_of, list(names)):
            # Reading the rows reports a damaged one.
            with contextlib.suppress(DamagedError):
                names += replaced(content_of(self.store, folder + whole))
        matches = (re.fullmatch(r"([A-Za-z0-9]+)-(\d{1,18})\.(?:json|parquet)", name) for name in names)
        return {(match[1], int(match[2])) for match in matches if match}

    def _write_once(self, key: str, table: pa.Table) -> None:
        body = _body(table)
        there = self.store.create(key, body)
        if there is not None and there != body and not _same_rows(there, table):
            raise ConflictError(f"{self.uri}/{key} already has other content, and rows never change")


def check_writable(uri: str) -> None:
    """Make sure that the summary at `uri` can be written, by writing in the same way as rows are written.

    Raises:
        InputError: the folder cannot be written, or holds a summary of another layout.
        NotReadyError: the bucket cannot be written.
    """
    summary = Summary(uri)
    body = json.dumps(LAYOUT).encode()
    there = summary.store.create(LABEL, body)
    if there is not None and there != body:
        raise InputError(
            f"{summary.uri} holds a summary of another layout ({LABEL}): "
            "upgrade batchscope, or choose another `summary`"
        )


def _marker(study: str, trial_id: str, attempt: int) -> str:
    return f"attempts/study={study}/{trial_id}-{attempt}.json"


def _json_value(value: Any) -> Any:
    # Values that a row may hold but JSON cannot: times and NumPy's numbers.
    return value.isoformat() if isinstance(value, datetime) else value.item()


def _row(marker: bytes, study: str, trial_id: str, attempt: int) -> dict[str, Any]:
    """The columns in an attempt's marker.

    Raises:
        ValueError: the marker is damaged, or belongs to another attempt.
    """
    fields = json.loads(marker)
    if not isinstance(fields, dict):
        raise ValueError("it is not a JSON object")
    known = {name: value for name, value in fields.items() if name in tables.TRIALS.names}
    times = [name for name in known if tables.TRIALS.field(name).type == tables.TIME and known[name]]
    row = known | {name: datetime.fromisoformat(str(known[name])) for name in times}
    tables.check("trials", {**row, "state": tables.LOST})
    if (row["study"], row["trial_id"], row["attempt"]) != (study, trial_id, attempt):
        raise ValueError("it belongs to another attempt")
    return row


def _body(table: pa.Table) -> bytes:
    return encode(table.drop_columns(["study"]))


def _same_rows(there: bytes, table: pa.Table) -> bool:
    # Another version of pyarrow or batchscope writes other bytes for the same rows. The rows are compared after writing
    # them again, since a NaN in a table equals nothing.
    try:
        rows = decode(there).rows()
    except DamagedError:
        return False
    if rows.num_rows != table.num_rows or rows.schema != table.schema.remove(0):
        return False
    return _body(rows.add_column(0, "study", table["study"])) == _body(table)
