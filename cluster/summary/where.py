"""A person's condition on a table, `global_batch in (16, 64) or learning_rate > 0.01`: exactly one SQL expression.

It is evaluated by DuckDB in this process, without files, network, extensions or settings to change, and cannot hold
a query of its own. That keeps an expression to the columns of its table; it bounds neither memory nor time
(`select list_sum(range(400000000))` grows past `memory_limit`), so it is only for the person at the terminal.
"""

import json
import re

import duckdb
import pyarrow as pa

from trainer.errors import InputError, nearest

CONFIG = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # Without this, a table's name could stand for a Python variable of ours.
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}


def where(table: pa.Table, condition: str) -> pa.Table:
    """The rows of `table` for which `condition` is true, in their order.

    Raises:
        InputError: it is not one expression, has no truth value, or names what is not a column.
    """
    with duckdb.connect(config=CONFIG) as connection:
        try:
            expression = duckdb.SQLExpression(condition)
            if _holds_a_query(connection, condition):
                raise InputError(f"--where {condition!r} holds a query: it is one condition on the columns")
            rows = connection.from_arrow(table)
            chosen = rows.filter(expression)
            kind = str(rows.limit(0).select(expression).types[0])
            if kind != "BOOLEAN":
                raise InputError(f"--where {condition!r} is neither true nor false but {kind}: compare it with =, <, >")
            return chosen.to_arrow_table().cast(table.schema)
        except duckdb.Error as problem:
            raise InputError(_message(condition, problem, table.column_names)) from None


def _holds_a_query(connection: duckdb.DuckDBPyConnection, condition: str) -> bool:
    # The line break ends a comment at the end of the condition.
    statement = f"select 1 where ({condition}\n)"
    ((text,),) = connection.execute("select json_serialize_sql(?)", [statement]).fetchall()
    tree = json.loads(text)
    if tree["error"]:
        raise duckdb.ParserException(tree["error_message"])
    return _count(tree, "SELECT_NODE") != 1 or _count(tree, "SUBQUERY") > 0


def _count(tree: object, kind: str) -> int:
    """How many nodes of a serialized statement are of this type."""
    if isinstance(tree, list):
        return sum(_count(node, kind) for node in tree)
    if isinstance(tree, dict):
        return (tree.get("type") == kind) + sum(_count(node, kind) for node in tree.values())
    return 0


def _message(condition: str, problem: Exception, columns: list[str]) -> str:
    text = str(problem)
    unknown = re.search(r'column "([^"]+)" not found', text)
    if unknown:
        return f"--where {condition!r}: there is no column {unknown[1]!r}{nearest(unknown[1], columns)}"
    return f"--where {condition!r}: {text.splitlines()[0]}"
