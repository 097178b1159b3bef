"""Values from parsed JSON, each checked for its type; an error names the key and the value."""

import hashlib
import json
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

# The largest signed integer of 64 bits.
MOST = 2**63 - 1
_SHOWN = 60


class WrongFieldError(ValueError):
    """A value of the wrong type or out of range; the text names the key and the value."""


def parsed(text: str | bytes) -> "Fields":
    """The JSON object in `text`.

    Raises:
        ValueError: it is not JSON, not an object, or has a key twice.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return Fields(value)


def sha256_of(document: object) -> str:
    """The hexadecimal sha256 of a JSON document, regardless of spacing and the order of keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Fields:
    """A JSON object at the path `at` of a larger one; each method returns the value of one key.

    Raises:
        WrongFieldError: by every method, if the key is missing or its value is not of that type.
    """

    values: dict[str, Any]
    at: str = ""

    def __contains__(self, key: str) -> bool:
        """Whether the object has the key."""
        return key in self.values

    def only(self, known: Collection[str]) -> None:
        """Refuse keys that are not `known`."""
        for key in self.values:
            if key not in known:
                raise WrongFieldError(f"{self._path(key)!r} is not a key of this version")

    def whole(self, key: str, *, least: int = 0, most: int = MOST) -> int:
        """A whole number."""
        return _whole(self._value(key), self._path(key), least, most)

    def wholes(self, key: str, *, at_most: int = MOST) -> tuple[int, ...]:
        """A list of whole numbers from 0, with no more than `at_most` entries."""
        values = self._listed(key)
        if len(values) > at_most:
            raise WrongFieldError(f"{self._path(key)!r} has {len(values)} entries, at most {at_most} are possible")
        return tuple(_whole(value, f"{self._path(key)}[{i}]", 0, MOST) for i, value in enumerate(values))

    def number(self, key: str) -> float:
        """A finite number."""
        return _number(self._value(key), self._path(key))

    def number_or_none(self, key: str) -> float | None:
        """A finite number or null."""
        return None if self._value(key) is None else self.number(key)

    def text(self, key: str) -> str:
        """A text."""
        return _text(self._value(key), self._path(key))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(_text(value, f"{self._path(key)}[{i}]") for i, value in enumerate(self._listed(key)))

    def choice(self, key: str, known: Collection[str]) -> str:
        """One of the `known` texts."""
        value = self._value(key)
        if not isinstance(value, str) or value not in known:
            raise _wrong(value, self._path(key), " or ".join(map(_shown, known)))
        return value

    def matching(self, key: str, pattern: str, what: str) -> str:
        """A text that `pattern` matches from end to end; `what` describes it in words."""
        value = self._value(key)
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise _wrong(value, self._path(key), what)
        return value

    def object(self, key: str) -> "Fields":
        """An object."""
        return _object(self._value(key), self._path(key))

    def objects(self, key: str) -> list["Fields"]:
        """A list of objects."""
        return [_object(value, f"{self._path(key)}[{i}]") for i, value in enumerate(self._listed(key))]

    def rows(self, key: str) -> list[list[float]]:
        """A list of lists of numbers, which need not be finite."""
        path, rows = self._path(key), self._listed(key)
        for i, row in enumerate(rows):
            if not all(isinstance(value, int | float) for value in _list(row, f"{path}[{i}]")):
                raise _wrong(row, f"{path}[{i}]", "a list of numbers")
        return rows

    def _value(self, key: str) -> Any:
        if key not in self.values:
            raise WrongFieldError(f"{self._path(key)!r} is missing")
        return self.values[key]

    def _listed(self, key: str) -> list[Any]:
        return _list(self._value(key), self._path(key))

    def _path(self, key: str) -> str:
        return f"{self.at}.{key[:_SHOWN]}" if self.at else key[:_SHOWN]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _whole(value: Any, path: str, least: int, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise _wrong(value, path, f"a whole number from {least} to {most}")


def _number(value: Any, path: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return value
    raise _wrong(value, path, "a finite number")


def _text(value: Any, path: str) -> str:
    if isinstance(value, str):
        return value
    raise _wrong(value, path, "a text")


def _list(value: Any, path: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise _wrong(value, path, "a list")


def _object(value: Any, path: str) -> Fields:
    if isinstance(value, dict):
        return Fields(value, path)
    raise _wrong(value, path, "an object")


def _wrong(value: Any, path: str, wanted: str) -> WrongFieldError:
    return WrongFieldError(f"{path!r} is {_shown(value)}, not {wanted}")


def _shown(value: Any) -> str:
    """The beginning of a value as JSON, on one line and without control characters."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
