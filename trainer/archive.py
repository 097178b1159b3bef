"""Groups of arrays as one uncompressed `.npz` archive, so that reading needs no more memory than the file's size.

NumPy's own reader allocates what a header or a compressed member claims before it checks that so much data exists.
"""

import io
import math
import re
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = list[npt.NDArray[Any]]

_MEMBER = re.compile(r"([a-z]+)_(\d{4,9})\.npy", re.ASCII)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def pack(groups: dict[str, Arrays]) -> bytes:
    """The archive of the named groups."""
    buffer = io.BytesIO()
    arrays = {f"{group}_{i:04d}": array for group, members in groups.items() for i, array in enumerate(members)}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, Arrays]:
    """The groups in an archive, without any that were empty.

    Raises:
        ValueError: the archive was not made by `pack`, or is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(_place(member), member) for member in archive.infolist()]
            groups: dict[str, Arrays] = {}
            for (group, number), member in sorted(members, key=lambda placed: placed[0]):
                if number != len(groups.setdefault(group, [])):
                    raise ValueError(f"{member.filename} is not the next of its group")
                groups[group].append(_array(archive.read(member)))
            return groups
    except MemoryError:
        # Nothing larger than `content` is allocated, so this process itself is out of memory.
        raise
    except Exception as problem:  # noqa: BLE001 - whatever these bytes raise, they are damaged
        raise ValueError(f"its archive cannot be read: {type(problem).__name__}: {problem}"[:200]) from None


def _place(member: zipfile.ZipInfo) -> tuple[str, int]:
    """The group and the number of a member."""
    named = _MEMBER.fullmatch(member.filename)
    if named is None or member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename[:60]!r} is not a plain array")
    return named[1], int(named[2])


def _array(content: bytes) -> npt.NDArray[Any]:
    file = io.BytesIO(content)
    shape, in_columns, dtype = _header(file)
    start = file.tell()
    # A header may claim any size: Python's integers cannot overflow, and nothing has been allocated yet.
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - start or min(shape, default=0) < 0:
        raise ValueError(f"an array of {dtype} {shape} is not what {len(content) - start} bytes hold")
    array = np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if in_columns else "C")
    return array.copy(order="K")


def _header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        shape, in_columns, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except MemoryError:
        # Python's parser raises this for a text that is nested too deeply.
        raise ValueError("the header of an array is nested too deeply") from None
    return shape, in_columns, dtype
