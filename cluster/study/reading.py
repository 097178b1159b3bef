"""A study's YAML text read into a pydantic model, every problem said in one line: place, value, remedy.

The remedy of a wrong value is its field's `description`, so each field of a model read here has one that
completes the sentence "give ...".
"""

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from trainer.errors import InputError, nearest

Model = TypeVar("Model", bound=BaseModel)

_SHOWN_CHARACTERS = 80


class Strict(BaseModel):
    """A part of a study: unknown keys, values of another type and numbers that are none are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """`yaml.safe_load`, but a key that stands twice is an error and `1e-3` is the number it looks like.

    Aliases (`*name`) are refused: a short text could stand for an endless or a gigantic one.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not read",
                problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
                note="write the value out",
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = (key_node.tag, str(key_node.value))
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key_node.value!r} stands twice",
                    problem_mark=key_node.start_mark,
                    note="remove one",
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML follows, demands a dot in a number with an exponent.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def read(model: type[Model], text: str, *, where: str) -> Model:
    """The `model` that the YAML `text` says; `where` names the text in errors.

    Raises:
        InputError: it is not YAML, or not what the model asks for; one line for each problem.
    """
    raw = _mapping(text, where)
    try:
        return model.model_validate(raw)
    except ValidationError as problems:
        lines = [_line(model, raw, problem) for problem in problems.errors(include_url=False)]
        raise InputError("\n".join(f"{where}: {line}" for line in lines)) from None


def _mapping(text: str, where: str) -> dict[Any, Any]:
    try:
        raw = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what, remedy = problem.problem or problem.context, problem.note or "correct the YAML"
        raise InputError(f"{where}{place}: {what}: {remedy}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as problem:  # ValueError: the date 2024-13-45
        reason = " ".join(str(problem).split())
        raise InputError(f"{where} is not YAML ({reason}): correct it") from None
    if raw is None:
        raise InputError(f"{where} is empty: give at least study, data, task, axes and budget")
    if not isinstance(raw, dict):
        raise InputError(f"{where} is {_shown(raw)}: give keys with values, such as `study: my-study`")
    return raw


def _line(model: type[BaseModel], raw: object, problem: Any) -> str:
    location: tuple[str | int, ...] = problem["loc"]
    key = _dotted(location, raw)
    parents, field = _declared(model, location)
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        known = [name for parent in parents for name in parent.model_fields]
        return f"{key} is not a known key{nearest(str(location[-1]), known)}: use one of {', '.join(known)}"
    if problem["type"] == "value_error":
        remedy = str(problem["ctx"]["error"])
    else:
        remedy = f"give {field.description}" if field else problem["msg"]
    if not location:
        return remedy
    if problem["type"] == "missing":
        return f"{key} is missing: {remedy}"
    return f"{key} is {_shown(problem['input'])}: {remedy}"


def _dotted(location: Sequence[str | int], raw: object) -> str:
    """The place as the person wrote it: a scalar where a list is meant has no `[0]`."""
    key = ""
    for part in location:
        if isinstance(raw, list) and isinstance(part, int):
            key += f"[{part}]"
            raw = raw[part] if part < len(raw) else None
        elif isinstance(raw, dict):
            key += f".{part}"
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
    """The value in YAML's own words (`true`, `null`), cut short."""
    plain = value is None or isinstance(value, bool | str)
    text = json.dumps(value, ensure_ascii=False) if plain else str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
