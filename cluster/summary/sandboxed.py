"""The program inside the box (`cluster.summary.sandbox`): one query on tables, after its own memory was bounded.

It imports next to nothing, so that a box starts in a third of a second. It reads a line of JSON from stdin, then tables
as Arrow streams. Its answer is an Arrow stream on stdout, or JSON there with exit code 1.
"""

import json
import os
import resource
import sys
from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from cluster.summary.files import dataset
from cluster.summary.portable import portable

CONFIG = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # Without this, a table's name could refer to one of our Python variables.
    "python_enable_replacements": "false",
    "temp_directory": "",
    "memory_limit": "1GiB",
    "threads": "2",
    "lock_configuration": "true",
}
# DuckDB makes several statements of a PIVOT whose columns it would have to look up first.
PIVOT = (
    "a PIVOT must name its columns here: select * from (pivot (select ...) on global_batch in (16, 64) "
    "using avg(best_validation_loss))"
)
Question = dict[str, Any]


class RefusedError(Exception):
    """A query that is refused; the message tells a person why."""


def limit(memory_bytes: int, seconds: int) -> None:
    """Limit this process for good, because DuckDB's own limits do not hold (`list_sum(range(400000000))`)."""
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def select(connection: duckdb.DuckDBPyConnection, text: str) -> pa.Table:
    """The answer to exactly one SELECT."""
    statements = connection.extract_statements(text)
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        if kinds == ["MULTI"]:
            raise RefusedError(PIVOT)
        what = ", ".join(kinds).lower() if kinds else "nothing"
        raise RefusedError(f"it is {what}; give one SELECT, which only reads")
    return portable(connection, connection.sql(statements[0]))


def chosen(connection: duckdb.DuckDBPyConnection, table: pa.Table, condition: str) -> pa.Table:
    """The rows of `table` for which the condition, exactly one SQL expression, is true, in their order."""
    expression = duckdb.SQLExpression(condition)
    if holds_a_query(connection, condition):
        raise RefusedError("it contains a query, but must be one condition on the columns")
    rows = connection.from_arrow(table)
    matching = rows.filter(expression)
    kind = str(rows.limit(0).select(expression).types[0])
    if kind != "BOOLEAN":
        raise RefusedError(f"it is neither true nor false but {kind}; compare it with =, <, >")
    return matching.to_arrow_table().cast(table.schema)


def holds_a_query(connection: duckdb.DuckDBPyConnection, condition: str) -> bool:
    """Whether a condition, which is otherwise one expression, contains a SELECT."""
    # The line break ends a comment at the end of the condition.
    statement = f"select 1 where ({condition}\n)"
    ((text,),) = connection.execute("select json_serialize_sql(?)", [statement]).fetchall()
    tree = json.loads(text)
    if tree["error"]:
        raise duckdb.ParserException(tree["error_message"])
    return _count(tree, "SELECT_NODE") != 1 or _count(tree, "SUBQUERY") > 0


def _count(tree: object, kind: str) -> int:
    """How many nodes of a serialized statement have this type."""
    if isinstance(tree, list):
        return sum(_count(node, kind) for node in tree)
    if isinstance(tree, dict):
        return (tree.get("type") == kind) + sum(_count(node, kind) for node in tree.values())
    return 0


def answer(question: Question, tables: Mapping[str, pa.Table | pads.Dataset]) -> pa.Table:
    """The answer to a question about these tables."""
    with duckdb.connect(config=CONFIG) as connection:
        if "where" in question:
            return chosen(connection, tables["rows"], question["where"])
        for name, table in tables.items():
            connection.register(name, table)
        return select(connection, question["sql"])


def _tables(question: Question, streams: pa.BufferReader) -> dict[str, pa.Table | pads.Dataset]:
    """The tables that were sent; those of which only the schema was sent are opened from their files."""
    tables: dict[str, Any] = {name: pa.ipc.open_stream(streams).read_all() for name in question["streams"]}
    files = {name: dataset(paths, tables[name].schema) for name, paths in question["files"].items()}
    return tables | files


def main() -> None:
    """Answer the question on stdin."""
    limit(int(sys.argv[1]), int(sys.argv[2]))
    pa.set_cpu_count(2)
    pa.set_io_thread_count(2)
    # DuckDB's own output on stdout, such as a progress bar, is not part of an answer.
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    content = sys.stdin.buffer.read()
    end = content.index(b"\n") + 1
    problem = None
    try:
        question = json.loads(content[:end])
        rows = answer(question, _tables(question, pa.BufferReader(pa.py_buffer(content)[end:])))
        if rows.nbytes > int(sys.argv[3]):
            raise RefusedError(f"its answer has {rows.nbytes / 2**20:.0f} MiB; ask for fewer rows or columns")
        with pa.ipc.new_stream(stdout, rows.schema) as writer:
            writer.write_table(rows)
    except Exception as error:  # noqa: BLE001 - a query can raise anything in DuckDB and pyarrow
        problem = {"kind": type(error).__name__, "message": str(error)}
        stdout.write(json.dumps(problem).encode())
    stdout.flush()
    # Threads of the query may still run.
    os._exit(1 if problem else 0)
