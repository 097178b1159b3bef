"""Text from people or files for a reader that sees every character, such as an agent: nothing in it is invisible."""

import unicodedata
from collections.abc import Mapping
from typing import Any

# Control and format characters (which reverse a line, or hide a text from people), surrogates, private and unassigned
# ones, and the separators of lines that are not a newline.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_KEPT = "\n\t"


def visible(text: str) -> str:
    r"""The text with each character that cannot be seen written as its code, such as `\u202e`."""
    return "".join(one if one in _KEPT or unicodedata.category(one) not in _UNSEEN else _code(one) for one in text)


def visible_values(value: Any) -> Any:
    """A value of a JSON document with every text in it, and every key, made `visible`."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): visible_values(item) for key, item in value.items()}
    return [visible_values(item) for item in value] if isinstance(value, list | tuple) else value


def _code(one: str) -> str:
    return f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"
