"""Whole objects: one for each table of a study, which holds the rows of many small ones and names those it replaces.

`whole.NUMBER.parquet` lies beside the small objects. Who reads skips what the newest whole one replaces, so that each
row is seen once whether the replaced are deleted yet or not. The names stay replaced for ever: a writer whose retry
comes late adds nothing. Numbers are created once, and each whole object has all rows of those before it.

A row is missed by nobody who lists before and reads after: a small object is deleted only when the whole one is there.
So one that is not in the listing was replaced by an object that is, if the listing sees names in their order (as S3
does, and whole ones come last), or is made twice (a folder's has no order). One that is listed and gone when it is
read makes the reader list again.

Whole objects of two machines can have one number, or one can replace another's by its name. So a replaced one that is
still there is read all the same: its rows must be in the newest.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cluster.summary.encoding import DamagedError, decode
from cluster.summary.problems import Note, Problem

# In the metadata of the Parquet file: the names that it replaces, without their folder.
REPLACES = "batchscope_replaces"
NO_NAMES = "what it says it replaces is no list of names"


def whole_name(number: int) -> str:
    """The name of a study's `number`-th whole object, from 1, without its folder."""
    return f"whole.{number:09d}.parquet"


def number_of(name: str) -> int:
    """The number of a whole object; 0 for the name of a small one."""
    match = re.fullmatch(r"whole\.(\d{9})\.parquet", name.rpartition("/")[2])
    return int(match[1]) if match else 0


@dataclass(frozen=True)
class Holders:
    """The names of objects, sorted: the `live` hold each row once, whatever else is still there of compactions.

    `earlier` are whole ones that the newest replaces and that were not deleted: it holds their rows too, unless
    summaries of several machines were merged. `gone` are all that it replaces and that are still there.
    """

    live: Sequence[str]
    earlier: Sequence[str]
    gone: Sequence[str]


def holders(names: Iterable[str], read: Callable[[str], bytes], note: Note) -> Holders:
    """Of the names of objects those that hold rows. `read` gives a whole one's content, `note` hears of a damaged one.

    Names that begin with a dot or an underscore are not objects, as for pyarrow.
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        if not last.startswith((".", "_")):
            folders.setdefault(folder, []).append(name)
    found: list[str] = []
    replaced_there: list[str] = []
    for folder, inside in folders.items():
        gone: set[str] = set()
        for name in sorted(filter(number_of, inside), key=number_of, reverse=True) if len(inside) > 1 else []:
            try:
                gone = {f"{folder}/{last}" for last in replaced(read(name))}
                break
            except DamagedError as problem:
                note(Problem(name, f"left out: {problem}"))
                inside = [other for other in inside if other != name]
        found += [name for name in inside if name not in gone]
        replaced_there += [name for name in inside if name in gone]
    return Holders(sorted(found), sorted(filter(number_of, replaced_there)), sorted(replaced_there))


def replaced(content: bytes) -> list[str]:
    """The names that a whole object replaces, sorted.

    Raises:
        DamagedError: it cannot be read.
    """
    try:
        names = json.loads(decode(content).metadata(REPLACES) or b"[]")
    except (ValueError, RecursionError) as problem:
        raise DamagedError(str(problem) if isinstance(problem, DamagedError) else NO_NAMES) from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DamagedError(NO_NAMES)
    return names
