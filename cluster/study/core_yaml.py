"""YAML text -> plain values, by the core schema of YAML 1.2, which reads a text as it looks.

In YAML 1.1, which PyYAML follows, `016` is 14, `1:30` is 90 and `no` is false. Here `no` is a text and `1e-3` is a
number. Numbers that the two versions read differently are refused, because either reading would surprise somebody. Tags
are refused too, and so are aliases (`*name`), with which a short text could stand for an endless or gigantic one.
"""

import re
from typing import Any

import yaml

from trainer.errors import InputError, brief

DEEPEST = 20
_LONGEST_NUMBER = 1000

_TAG = "tag:yaml.org,2002:"
_TWO_READINGS = "two readings"
_NUMBER = "-+.0123456789"
# The first pattern that fits decides.
_PLAIN = [
    ("null", r"~|null|Null|NULL|", ["", *"~nN"]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    # Octal, base 60, underscores and binary: other numbers in YAML 1.1 than in YAML 1.2, or text there.
    (_TWO_READINGS, r"[-+]?0[0-9_]+", [*_NUMBER]),
    (_TWO_READINGS, r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", [*_NUMBER]),
    (_TWO_READINGS, r"[-+]?(?:[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?|0x[0-9a-fA-F]*_[0-9a-fA-F_]*|0b[01_]+)", [*_NUMBER]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*_NUMBER]),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", [*_NUMBER]),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.nan|\.NaN|\.NAN", [*_NUMBER]),
]
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """PyYAML's reader with the schema above, and errors that name the key."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._path: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        part = (
            f"[{index}]" if isinstance(index, int) else f".{index.value}" if isinstance(index, yaml.ScalarNode) else ""
        )
        self._path.append(part)
        if isinstance(event, yaml.AliasEvent):
            raise self._refusal(event, "is an alias (*name), which is not read", "write the value out")
        if event.tag is not None:
            raise self._refusal(event, f"has the tag {brief(event.tag)}, which is not read", "leave it out")
        if len(self._path) > DEEPEST:
            self._path = []
            raise self._refusal(event, f"is nested more than {DEEPEST} deep", "give keys with values")
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode):
            self._check(node)
        self._path.pop()
        return node

    def _check(self, node: yaml.ScalarNode) -> None:
        """Refuse a scalar that can be read in two ways or not at all."""
        if node.tag.endswith(_TWO_READINGS):
            what = f"is {brief(node.value)}, which YAML 1.1 and 1.2 read differently (an octal number, or base 60)"
            raise self._refusal(node, what, "write a number without leading zeros, underscores or colons, or quote it")
        if node.tag != f"{_TAG}str":
            if len(node.value) > _LONGEST_NUMBER:
                raise self._refusal(node, f"is a number of {len(node.value):,} characters", "give a shorter one")
            return
        if _SURROGATE.search(node.value):
            # JSON, in which a spec is stored, writes a character beyond 16 bits as two halves.
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if "\ufffd" in node.value:
                raise self._refusal(node, "holds half a surrogate pair, which is no character", "correct the text")
        if "\0" in node.value:
            raise self._refusal(node, "contains the character NUL", "correct the text")

    def _refusal(self, at: Any, what: str, remedy: str) -> yaml.MarkedYAMLError:
        key = brief("".join(self._path).removeprefix(".")) or "this"
        return yaml.MarkedYAMLError(problem=f"{key} {what}", problem_mark=at.start_mark, note=remedy)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                raise yaml.MarkedYAMLError(
                    problem="a key is a list or has keys itself", problem_mark=key_node.start_mark, note="name it"
                )
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {brief(repr(key))} appears twice",
                    problem_mark=key_node.start_mark,
                    note="remove one",
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A whole number or a float, as the schema writes them."""
        if node.tag == f"{_TAG}int":
            base = {"0o": 8, "0x": 16}.get(node.value[:2], 10)
            return int(node.value if base == 10 else node.value[2:], base)
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


for _name, _pattern, _first in _PLAIN:
    _Loader.add_implicit_resolver(
        _TAG + _name, re.compile(rf"(?:{_pattern})\Z"), list(_first) + [""] * (_name == "null")
    )
for _name in ("int", "float"):
    _Loader.add_constructor(_TAG + _name, _Loader.construct_number)


def values(text: str, *, where: str) -> Any:
    """The values in the YAML `text`; `where` names the text in errors.

    Raises:
        InputError: the text is not YAML, or has a value that can be read in two ways; the message is one line.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what, remedy = brief(problem.problem or problem.context or "", 300), problem.note or "correct the YAML"
        raise InputError(f"{where}{place}: {what}: {remedy}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as problem:
        raise InputError(f"{where} is not YAML ({brief(str(problem), 300)}): correct it") from None
