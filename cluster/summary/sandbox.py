"""The box: a separate process for a person's SQL, with bounded memory and time, no network, and no secrets.

DuckDB's `memory_limit` and `interrupt` do not bound memory and time: `select list_sum(range(400000000))` grew to 15.8
GB under a limit of 512 MB. So the system bounds the process, which is killed when its time is over. Its environment
contains no credentials; the process can write no file, and DuckDB is configured to open none.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

SECONDS = 30.0
MEMORY_BYTES = 2 * 2**30
ANSWER_BYTES = 256 * 2**20
ROOT = str(Path(__file__).parents[2])
# With `-I`, neither the environment nor the working folder affects what is imported.
START = f"import sys; sys.path.insert(0, {ROOT!r}); from cluster.summary.sandboxed import main; main()"
KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
# Arrow's own pool and an arena for each thread reserve much more address space than they use.
ENVIRONMENT = {"TZ": "UTC", "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
OUT_OF_MEMORY = ("OutOfMemoryException", "ArrowMemoryError", "MemoryError")


class RefusedError(Exception):
    """The query has no answer; the message is a line for the person who asked."""


@dataclass(frozen=True)
class TableFiles:
    """A table that the box itself reads: files, each with the study of its rows, and the columns."""

    paths: Sequence[tuple[str, str | None]]
    schema: pa.Schema


def ask(
    question: Mapping[str, str], tables: Mapping[str, pa.Table | TableFiles], *, seconds: float = SECONDS
) -> pa.Table:
    """The answer to `{"sql": ...}` on these tables, or to `{"where": ...}` on the one named `rows`.

    Raises:
        RefusedError: the query is refused, is wrong, or takes too much memory or time.
        FileNotFoundError: a file is gone.
    """
    files = {name: table.paths for name, table in tables.items() if isinstance(table, TableFiles)}
    head = json.dumps({**question, "streams": list(tables), "files": files}).encode() + b"\n"
    limits = (MEMORY_BYTES, 2 * round(seconds) + 1, ANSWER_BYTES)
    with subprocess.Popen(
        [sys.executable, "-I", "-c", START, *map(str, limits)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={name: os.environ[name] for name in KEPT if name in os.environ} | ENVIRONMENT,
    ) as box:
        try:
            answer, log = box.communicate(head + b"".join(map(_stream, tables.values())), timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RefusedError(f"it took more than {seconds:g} s and was ended") from None
        finally:
            box.kill()
    if box.returncode == 0:
        return pa.ipc.open_stream(pa.py_buffer(answer)).read_all()
    for path in (path for paths in files.values() for path, _ in paths):
        if not os.path.exists(path):
            raise FileNotFoundError(path)
    raise RefusedError(_reason(box.returncode, answer, log))


def _stream(table: pa.Table | TableFiles) -> bytes:
    """A table as an Arrow stream; for a table that the box itself reads, only its columns."""
    rows = table.schema.empty_table() if isinstance(table, TableFiles) else table
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _reason(status: int, answer: bytes, log: bytes) -> str:
    """An explanation for the person of how the box ended."""
    if status < 0:
        name = signal.Signals(-status).name
        return f"it was ended by {name}, most often because it needs more than {_gib(MEMORY_BYTES)} of memory"
    try:
        problem: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise RuntimeError(f"the box for SQL ended with {status}: {log.decode(errors='replace')[-2000:]}") from None
    if problem["kind"] in OUT_OF_MEMORY:
        return f"it needs more than the {_gib(MEMORY_BYTES)} of memory that it may use"
    # Later lines only show the place in the text. A value that the message quotes must not command a terminal.
    message: str = problem["message"].splitlines()[0] if problem["message"] else problem["kind"]
    return CONTROLS.sub(" ", message)


def _gib(count: int) -> str:
    return f"{count / 2**30:g} GiB"
