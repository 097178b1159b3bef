"""A person's condition on a table, such as `global_batch in (16, 64) or learning_rate > 0.01`: one SQL expression.

It is evaluated in the box (`cluster.summary.sandbox`) and must not contain a query, so it can use only the columns of
its table.
"""

import re

import pyarrow as pa

from cluster.summary import sandbox
from trainer.errors import InputError, nearest


def where(table: pa.Table, condition: str) -> pa.Table:
    """The rows of `table` for which `condition` is true, in their order.

    Raises:
        InputError: it is not one expression, is not true or false, names an unknown column, or takes too much.
    """
    try:
        return sandbox.ask({"where": condition}, {"rows": table})
    except sandbox.RefusedError as problem:
        text = str(problem)
        unknown = re.search(r'column "([^"]+)" not found', text)
        if unknown:
            text = f"there is no column {unknown[1]!r}{nearest(unknown[1], table.column_names)}"
        raise InputError(f"--where {condition!r}: {text}") from None
