"""Names of studies that follow from something else: prepared data, or another study. Pure."""

import re
from collections.abc import Collection
from itertools import count

LONGEST_NAME = 64


def name_of_data(data: str) -> str:
    """The name of a study of the prepared data at a folder or address: that of the folder."""
    name = re.sub("[^A-Za-z0-9]+", "-", data.rstrip("/").rsplit("/", 1)[-1]).strip("-")
    return name[:LONGEST_NAME].strip("-") or "data"


def with_suffix(name: str, suffix: str) -> str:
    """The name with `-suffix` at its end, and shortened in front of that if it would be too long."""
    return f"{name[: LONGEST_NAME - len(suffix) - 1]}-{suffix}"


def free_name(name: str, suffix: str, taken: Collection[str]) -> str:
    """The name with a suffix that no other study has: `wiki-next`, then `wiki-next-2`, and so on."""
    found = with_suffix(name, suffix)
    numbered = (with_suffix(name, f"{suffix}-{number}") for number in count(2))
    return found if found not in taken else next(other for other in numbered if other not in taken)
