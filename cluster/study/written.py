"""A study as the text of a YAML file, with comments; `cluster.study.spec.parse` reads the same study from it."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cluster.study import core_yaml
from cluster.study.spec import StudySpec
from trainer.errors import InputError

# Comments beside values begin in this column, or after a longer line.
_COLUMN = 50
_WIDTH = 110


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes every text which YAML 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _is_plain(text) else '"')


_Dumper.add_representer(str, _text)


def written(
    spec: StudySpec, *, above: Sequence[str] = (), beside: Mapping[str, str] | None = None, below: Sequence[str] = ()
) -> str:
    """The YAML file of a spec, without the keys that have their default.

    `above` and `below` are lines of comment before and after it, and `beside` has a comment for a key, such as `budget`
    or `axes.seeds`.
    """
    lines = [_comment(line) for line in above]
    notes = dict(beside or {})
    for key, value in _keys(spec).items():
        if key != "axes":
            lines += _noted(_dumped(key, value), notes.get(key))
            continue
        lines.append("axes:")
        for axis, values in value.items():
            lines += _noted([f"  {line}" for line in _dumped(axis, values)], notes.get(f"axes.{axis}"))
    return "".join(f"{line}\n" for line in [*lines, *map(_comment, below)])


def _dumped(key: str, value: Any) -> list[str]:
    """The lines of one key. Lists and keys that hold nothing nested stand on its line, as people write them."""
    nested = isinstance(value, dict | list)
    text: str = yaml.dump(
        {key: value},
        Dumper=_Dumper,
        default_flow_style=None if nested else False,
        sort_keys=False,
        allow_unicode=True,
        width=_WIDTH,
    )
    return text.splitlines()


def _keys(spec: StudySpec) -> dict[str, Any]:
    """The keys of a spec that have another value than their default, in the forms that people write."""
    fields = spec.model_dump(mode="json", exclude_defaults=True)
    seeds = fields["axes"]["seeds"]
    if seeds == list(range(len(seeds))):
        fields["axes"]["seeds"] = len(seeds)
    plain: dict[str, Any] = _plain(fields)
    return plain


def _plain(value: Any) -> Any:
    """The value with whole numbers instead of floats that are whole: `epochs: 10` instead of `epochs: 10.0`."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _noted(lines: list[str], note: str | None) -> list[str]:
    """The lines of a key, with its comment beside it, or above it where it takes several lines."""
    if note is None:
        return lines
    if len(lines) > 1:
        indent = " " * (len(lines[0]) - len(lines[0].lstrip()))
        return [f"{indent}# {note}", *lines]
    return [f"{lines[0]:<{_COLUMN}}  # {note}"]


def _comment(line: str) -> str:
    return f"# {line}".rstrip()


def _is_plain(text: str) -> bool:
    """Whether a text can stand without quotes and still be this text."""
    try:
        return bool(core_yaml.values(f"key: {text}", where="text") == {"key": text})
    except InputError:
        return False
