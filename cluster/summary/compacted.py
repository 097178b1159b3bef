"""Whole objects: one for each table of a study, which holds the rows of many small ones and names those it replaces.

`whole.NUMBER.parquet` lies next to the small objects. A reader skips what the newest whole object replaces, so it sees
each row once, whether the replaced objects have been deleted or not. A replaced name stays replaced for ever, so a late
retry of its writer adds nothing. Each number is created once, and each whole object has all rows of the earlier ones.

A reader that lists first and reads then misses no row: a small object is deleted only once the whole object is there.
If a small object is not in the listing, the object that replaced it is, provided that the listing sees names in their
order, as S3 does, where whole objects come last. A folder's listing has no order and may lack whatever comes or goes
meanwhile, so it is made once more than there may be compactions while it lasts: three times. If an object was listed
but is gone when it is read, the reader lists again.

Whole objects from two machines can have the same number, or one can replace another's name. So a replaced whole object
that is still there is read all the same: its rows must be in the newest.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cluster.summary.encoding import DamagedError, decode
from cluster.summary.problems import Note, Problem

# The key in the Parquet file's metadata for the names that it replaces, without their folder.
REPLACES = "batchscope_replaces"
NO_NAMES = "the names that it replaces are not a list of names"


def whole_name(number: int) -> str:
    """The name of a study's `number`-th whole object, from 1, without its folder."""
    return f"whole.{number:09d}.parquet"


def number_of(name: str) -> int:
    """The number of a whole object; 0 for the name of a small one."""
    match = re.fullmatch(r"whole\.(\d{9})\.parquet", name.rpartition("/")[2])
    return int(match[1]) if match else 0


@dataclass(frozen=True)
class Holders:
    """The names of objects, sorted: the `live` ones hold each row once, whatever compactions have left behind.

    `earlier` are whole objects that the newest replaces but that were not deleted: it holds their rows too, unless
    summaries of several machines were merged. `gone` are all objects that it replaces and that are still there.
    """

    live: Sequence[str]
    earlier: Sequence[str]
    gone: Sequence[str]


def holders(names: Iterable[str], read: Callable[[str], bytes], note: Note) -> Holders:
    """The objects among `names` that hold rows. `read` returns the content of a whole object.

    `note` is called for each damaged one. As in pyarrow, names that begin with a dot or an underscore are not objects.
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        if not last.startswith((".", "_")):
            folders.setdefault(folder, []).append(name)
    live: list[str] = []
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
        live += [name for name in inside if name not in gone]
        replaced_there += [name for name in inside if name in gone]
    return Holders(sorted(live), sorted(filter(number_of, replaced_there)), sorted(replaced_there))


def replaced(content: bytes) -> list[str]:
    """The names that a whole object replaces, sorted.

    Raises:
        DamagedError: the object or its list of names cannot be read.
    """
    try:
        names = json.loads(decode(content).metadata(REPLACES) or b"[]")
    except (ValueError, RecursionError) as problem:
        raise DamagedError(str(problem) if isinstance(problem, DamagedError) else NO_NAMES) from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DamagedError(NO_NAMES)
    return names
