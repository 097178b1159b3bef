"""The types of label fields in CSV files: whole numbers, numbers or text. The files state no types; none is guessed.

A field is a number only if it is written as one. "007", "+1" and " 1" are codes, and "01" and "1" are two different
ones: a column with such a field is text, and its labels keep the names as written.
"""

import re

import pyarrow as pa

from trainer.errors import InputError

# From the narrowest to the widest: a column with fields of several types has the widest of them.
FIELD_TYPES = ("integer", "float", "string")

_LARGEST, _LONGEST_INTEGER = 2**63, 20
# A point or an exponent, and no leading zeros. `_is_integer` handles whole numbers.
_FLOAT = re.compile(
    r"[-+]?(?:(?:0|[1-9]\d*)?\.\d+|(?:0|[1-9]\d*)\.|(?:0|[1-9]\d*)(?=e))(?:e[-+]?\d+)?|[-+]?(?:nan|inf|infinity)",
    re.ASCII | re.IGNORECASE,
)


def field_type(field: str) -> str:
    """The narrowest of FIELD_TYPES that a field fits; an empty field, which is a missing label, fits the first."""
    if not field or _is_integer(field):
        return "integer"
    return "float" if _FLOAT.fullmatch(field) else "string"


def widest(kinds: set[str]) -> str:
    """The type of a column whose fields have these types."""
    return max(kinds, key=FIELD_TYPES.index, default="integer")


def typed(kind: str, labels: list[str], *, where: str) -> pa.Array:
    """The fields of a column of this type as one array; an empty field is a missing label.

    Raises:
        InputError: a field does not have the type that was found when the file was first read.
    """
    try:
        if kind == "integer":
            return pa.array([int(label) if label else None for label in labels], type=pa.int64())
        if kind == "float":
            return pa.array([float(label) if label else None for label in labels], type=pa.float64())
    except (ValueError, OverflowError):
        raise InputError(f"{where} changed while it was being read (a label is new): run again") from None
    return pa.array([label or None for label in labels], type=pa.string())


def _is_integer(field: str) -> bool:
    if len(field) > _LONGEST_INTEGER:
        return False
    try:
        number = int(field)
    except ValueError:
        return False
    return str(number) == field and -_LARGEST <= number < _LARGEST
