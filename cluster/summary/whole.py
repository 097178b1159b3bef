"""Whole objects: one for each table of a study, which holds the rows of many small ones and names those it replaces.

`whole.NUMBER.parquet` lies beside the small objects. Who reads skips what the newest whole one replaces, so that each
row is seen once whether the replaced are deleted yet or not. The names stay replaced for ever: a writer whose retry
comes late adds nothing. Numbers are created once, and each whole object has all rows of those before it.

A row is missed by nobody who lists before and reads after: a small object is deleted only when the whole one is there.
So one that is not in the listing was replaced by an object that is, if the listing sees names in their order (as S3
does, and whole ones come last), or is made twice (a folder's has no order). One that is listed and gone when it is
read makes the reader list again.
"""

import json
import re
from collections.abc import Callable, Iterable

from cluster.summary.encoding import DamagedError, decode

# In the metadata of the Parquet file: the names that it replaces, without their folder.
REPLACES = "batchscope_replaces"


def whole_name(number: int) -> str:
    """The name of a study's `number`-th whole object, from 1, without its folder."""
    return f"whole.{number:09d}.parquet"


def number_of(name: str) -> int:
    """The number of a whole object; 0 for the name of a small one."""
    match = re.fullmatch(r"whole\.(\d{9})\.parquet", name.rpartition("/")[2])
    return int(match[1]) if match else 0


def live(names: Iterable[str], read: Callable[[str], bytes]) -> list[str]:
    """Of the names of objects those that hold each row once, sorted. `read` gives a whole one's content.

    Names that begin with a dot or an underscore are not objects, as for pyarrow.
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        if not last.startswith((".", "_")):
            folders.setdefault(folder, []).append(name)
    found: list[str] = []
    for folder, inside in folders.items():
        newest = max(inside, key=number_of)
        if number_of(newest) and len(inside) > 1:
            gone = {f"{folder}/{last}" for last in replaced(read(newest))}
            inside = [name for name in inside if name not in gone]
        found += inside
    return sorted(found)


def replaced(content: bytes) -> list[str]:
    """The names that a whole object replaces, sorted.

    Raises:
        DamagedError: it cannot be read.
    """
    names = json.loads(decode(content).metadata(REPLACES) or b"[]")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DamagedError("what it says it replaces is no list of names")
    return names
