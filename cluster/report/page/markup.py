"""Markup: HTML and SVG elements whose text and attributes are escaped by construction.

A plain `str` among the children is text and is escaped; only what `tag` or `join` returned is inserted unchanged. So
names that users chose and messages of errors stay text wherever they end up.
"""

import html
import re
from collections.abc import Iterable

from cluster.text.plain import plain

_VOID = frozenset({"meta", "input", "br"})
Attribute = str | float | bool | None


class Markup(str):
    """Text that is already markup."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: Attribute) -> Markup:
    """An element. `text_anchor` becomes text-anchor and `class_` class; None and False leave an attribute out."""
    opening = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Markup:
    """The parts one after the other; those that are not markup are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else _escape(part) for part in parts))


def short(value: float) -> str:
    """A coordinate with at most two decimals and no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = value if isinstance(value, str) else short(value)
    return f' {name}="{_escape(text)}"'


def _escape(text: str) -> str:
    # A form feed or a NUL is not a character of XML.
    return re.sub(r"[\ud800-\udfff\ufffe\uffff]", "", html.escape("\n".join(map(plain, text.split("\n")))))
