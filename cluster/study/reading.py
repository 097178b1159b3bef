"""Reads the YAML text of a study or a fleet into a pydantic model; every problem is one line: place, value, remedy.

The remedy for a wrong value is its field's `description`, so each field of a model read here has a description that
completes the sentence "give ...".
"""

import json
import os
from collections.abc import Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from cluster.study import core_yaml
from trainer.errors import InputError, brief, nearest

Model = TypeVar("Model", bound=BaseModel)

_MOST_BYTES = 2**20
_MOST_PROBLEMS = 20
_REMEDY_CHARACTERS = 300


class Strict(BaseModel):
    """A model that refuses unknown keys, values of another type, and infinite or NaN numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def read(model: type[Model], text: str, *, where: str) -> Model:
    """The `model` with the values of the YAML `text`; `where` names the text in errors.

    Raises:
        InputError: the text is not YAML or does not fit the model; one line for each problem.
    """
    raw = _mapping(model, text, where)
    try:
        return model.model_validate(raw)
    except ValidationError as problems:
        found = problems.errors(include_url=False)
        lines = [_line(model, raw, problem) for problem in found[:_MOST_PROBLEMS]]
        if len(found) > _MOST_PROBLEMS:
            lines.append(f"{len(found) - _MOST_PROBLEMS} more problems: correct these first")
        raise InputError("\n".join(f"{where}: {line}" for line in lines)) from None


def load(model: type[Model], path: str | os.PathLike[str], *, kind: str) -> Model:
    """The `model` in the YAML file at `path`; `kind` is what the file should be, such as `a study`.

    Raises:
        InputError: there is no such file, or it does not fit the model.
    """
    where, remedy = os.fspath(path), f"give the path of {kind}'s YAML file"
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{where} does not exist: {remedy}") from None
    except UnicodeDecodeError:
        raise InputError(f"{where} is not UTF-8 text: {remedy}") from None
    except OSError as problem:
        raise InputError(f"{where} cannot be read ({problem.strerror}): {remedy}") from None
    except ValueError:
        raise InputError(f"{where!r} is not a path (it contains the character NUL): {remedy}") from None
    if len(content) > _MOST_BYTES:
        raise InputError(f"{where} is longer than 1 MiB: {remedy}")
    return read(model, text, where=where)


def _mapping(model: type[BaseModel], text: str, where: str) -> dict[Any, Any]:
    raw = core_yaml.values(text, where=where)
    *others, last = [name for name, field in model.model_fields.items() if field.is_required()]
    if raw is None:
        raise InputError(f"{where} is empty: give at least {', '.join(others)} and {last}")
    if not isinstance(raw, dict):
        first = next(iter(model.model_fields))
        raise InputError(f"{where} is {_shown(raw)}: give keys with values, such as `{first}: my-{first}`")
    return raw


def _line(model: type[BaseModel], raw: object, problem: Any) -> str:
    location: tuple[str | int, ...] = problem["loc"]
    key = _dotted(location, raw)
    parents, field = _declared(model, location)
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        known = [name for parent in parents for name in parent.model_fields]
        return f"{key} is not a known key{nearest(brief(str(location[-1])), known)}: use one of {', '.join(known)}"
    if problem["type"] == "value_error":
        remedy = brief(str(problem["ctx"]["error"]), _REMEDY_CHARACTERS)
    else:
        remedy = f"give {field.description}" if field else problem["msg"]
    if not location:
        return remedy
    if problem["type"] == "missing":
        return f"{key} is missing: {remedy}"
    return f"{key} is {_shown(problem['input'])}: {remedy}"


def _dotted(location: Sequence[str | int], raw: object) -> str:
    """The place as the user wrote it: a scalar where a list is meant has no `[0]`."""
    key = ""
    for part in location:
        if isinstance(raw, list) and isinstance(part, int):
            key += f"[{part}]"
            raw = raw[part] if part < len(raw) else None
        elif isinstance(raw, dict):
            key += f".{brief(str(part))}"
            raw = raw.get(part)
    return key.removeprefix(".")


def _declared(model: type[BaseModel], location: Sequence[str | int]) -> tuple[list[type[BaseModel]], FieldInfo | None]:
    """The models that could hold the last part of `location`, and the nearest declared field on the way to it."""
    here: list[type[BaseModel]] = [model]
    parents, field = here, None
    for part in location:
        if not here:
            break
        parents = here
        found = next((m.model_fields[part] for m in parents if part in m.model_fields), None)
        field = found or field
        types = (found.annotation, *get_args(found.annotation)) if found else ()
        here = [t for t in types if isinstance(t, type) and issubclass(t, BaseModel)]
    return parents, field


def _shown(value: object) -> str:
    """The value in YAML's notation (`true`, `null`), cut short."""
    plain = value is None or isinstance(value, bool | str)
    text = json.dumps(value, ensure_ascii=False) if plain else str(list(value) if isinstance(value, tuple) else value)
    return brief(text)
