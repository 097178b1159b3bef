"""The forms in which a study's values may be written, and the one form in which each is kept.

Every function here takes a value as read from YAML and returns the kept form, or raises a ValueError whose message is
the remedy. `cluster.study.spec` attaches them to the fields.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from trainer.errors import brief, nearest
from trainer.trial import DURATION_UNITS, Duration

FULL = "full"

# `seeds: 2024` is nearly always meant as the one seed 2024, and would cost 2024 times the money.
MOST_SEEDS = 1000

# Floats represent the whole numbers up to here exactly.
MOST_ROWS = 2**53
# In epochs, a part of a row in any data set; in seconds, less than a clock can tell.
_LEAST_AMOUNT = 1e-9
# What float32, in which weights are updated, holds without losing digits: 2**-126 and nearly 2**128, rounded inwards.
LEAST_FLOAT32, MOST_FLOAT32 = 1.2e-38, 3.4e38
MOST_WORKERS = 1_000_000
MOST_TAGS, TAG_CHARACTERS = 20, 40
# Printable, and no spaces at its ends, where nobody would see them.
_TAG = re.compile(rf"(?=\S)[^,\x00-\x1f\x7f-\x9f]{{1,{TAG_CHARACTERS}}}(?<=\S)")

_DURATION = f"give one of {', '.join(DURATION_UNITS)} with its amount, such as {{epochs: 10}}"


def listed(value: object) -> tuple[Any, ...]:
    """The values of a list, or of a scalar where a list is meant."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, none of which may appear twice."""
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"{value} appears twice, remove one")
    return values


def tags(value: object) -> tuple[str, ...]:
    """The short words that sort a study among others."""
    found = listed(value)
    for tag in found:
        if not (isinstance(tag, str) and _TAG.fullmatch(tag)):
            raise ValueError(
                f"{brief(str(tag))} is no tag: give texts of 1 to {TAG_CHARACTERS} characters without a comma, such as "
                "[tickets, baseline]"
            )
    if len(found) > MOST_TAGS:
        raise ValueError(f"give at most {MOST_TAGS}")
    return distinct(found)


def one_of(known: Iterable[str]) -> Callable[[object], str]:
    """A check for one of the names `known`."""
    names = list(known)

    def check(value: object) -> str:
        if isinstance(value, str) and value in names:
            return value
        remedy = f"use one of {', '.join(names)}"
        raise ValueError(f"{remedy}{nearest(str(value), names)}")

    return check


def global_batch(value: object) -> int | str:
    """A number of rows, or `full` for all of them."""
    if value == FULL or (type(value) is int and 1 <= value <= MOST_ROWS):
        return value
    raise ValueError(f"give a whole number of rows from 1 to 2**53, or {FULL}")


def micro_batch(value: object) -> int | str:
    """A number of rows, or `auto`."""
    if value == "auto" or (type(value) is int and 1 <= value <= MOST_ROWS):
        return value
    raise ValueError("give a whole number of rows from 1 to 2**53, or auto")


def workers(value: object) -> int | dict[int, int]:
    """A number of workers, or a number for each lowest global batch: `{1: 1, 512: 4}` is 4 from 512 on."""
    remedy = (
        f"give a whole number from 1 to {MOST_WORKERS}, or one for each lowest global batch, from 1 on: "
        "{1: 1, 512: 4}"
    )
    written: dict[Any, Any] = value if isinstance(value, dict) else {1: value}
    kept: dict[Any, Any] = {}
    for batch, count in ((_number(key), count) for key, count in written.items()):
        if batch in kept:
            raise ValueError(f"{batch} appears twice, remove one")
        kept[batch] = count
    right = all(type(batch) is int and 1 <= batch <= MOST_ROWS for batch in kept)
    if 1 not in kept or not right or not all(type(c) is int and 1 <= c <= MOST_WORKERS for c in kept.values()):
        raise ValueError(remedy)
    return {key: kept[key] for key in sorted(kept)} if isinstance(value, dict) else kept[1]


def seeds(value: object) -> tuple[Any, ...]:
    """A number n of seeds, for 0..n-1, or a list of seeds."""
    if type(value) is not int:
        return listed(value)
    if value < 1:
        raise ValueError("give the number of seeds, at least 1, or a list of seeds")
    if value > MOST_SEEDS:
        given = brief(str(value), 20)
        raise ValueError(
            f"that asks for {given} seeds, more than the {MOST_SEEDS} allowed: for the one seed {given} write [{given}]"
        )
    return tuple(range(value))


def duration(value: object) -> Duration:
    """`{unit: amount}`."""
    if isinstance(value, Duration):
        return value
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(_DURATION)
    ((unit, amount),) = value.items()
    if unit not in DURATION_UNITS:
        raise ValueError(f"{unit} is not a unit{nearest(str(unit), list(DURATION_UNITS))}, {_DURATION}")
    if type(amount) not in (int, float) or not _LEAST_AMOUNT <= amount <= MOST_ROWS:
        raise ValueError(f"give {unit} a positive number from {_LEAST_AMOUNT:g} to 2**53, such as {{{unit}: 10}}")
    if unit in ("examples", "updates") and amount != int(amount):
        raise ValueError(f"give {unit} a whole number, such as {{{unit}: {math.ceil(amount)}}}")
    # Always a float, because 10 and 10.0 are the same budget and must give the same trial_id.
    return Duration(unit=unit, amount=float(amount))


def budget(value: object) -> Duration | dict[int | str, Duration]:
    """`{unit: amount}`, or such a duration for each global batch: `{16: {epochs: 15}, full: {epochs: 150}}`."""
    if not isinstance(value, dict) or not any(isinstance(inner, dict | Duration) for inner in value.values()):
        return duration(value)
    kept: dict[int | str, Duration] = {}
    for written, inner in value.items():
        batch = _number(written)
        try:
            batch = global_batch(batch)
            if batch in kept:
                raise ValueError("it appears twice, remove one")
            kept[batch] = duration(inner)
        except ValueError as problem:
            raise ValueError(f"at global batch {written}: {problem}") from None
    return kept


def _number(key: object) -> object:
    """A key as it was written, because the JSON in which a spec is stored has only text keys."""
    return int(key) if isinstance(key, str) and re.fullmatch("[1-9][0-9]{0,99}", key) else key


def plain_budget(value: Duration | dict[int | str, Duration]) -> dict[str, Any]:
    """The inverse of `budget`, for JSON."""
    if isinstance(value, Duration):
        return {value.unit: value.amount}
    return {str(batch): plain_budget(inner) for batch, inner in value.items()}
