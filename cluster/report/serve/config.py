"""A spec as flat pairs of key and value, so that two can be laid side by side. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def flat(spec: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """`axes.global_batch` and the like with their values as JSON; keys without a value are left out."""
    found: dict[str, str] = {}
    for key, value in spec.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{key}.")
        elif value is not None:
            found[f"{before}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return found


def differing(configs: Sequence[Mapping[str, str]]) -> tuple[list[str], list[str]]:
    """The keys whose values differ, and those on which all agree, each in the order of their first appearance."""
    keys = list(dict.fromkeys(key for config in configs for key in config))
    differ = [key for key in keys if len({config.get(key) for config in configs}) > 1]
    return differ, [key for key in keys if key not in differ]
