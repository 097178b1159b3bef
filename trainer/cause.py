"""The cause of an exception in one line: its informative words, and the line of the user's own file that led to it.

TensorFlow and Keras bury both in messages of many lines: "Graph execution error:", frames of their own, the arguments
of a layer. The first line of such a message is useless.
"""

import os
import re
import sysconfig
import traceback
from collections.abc import Iterable, Iterator

MOST_CHARACTERS = 500
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FRAME = re.compile(r'( *)File "(.+)", line (\d+)')
# The headings of frames and arguments, and what TensorFlow appends.
_HEADINGS = re.compile(
    r"Graph execution error:|in user code:|Detected at node|Detected unsupported|Traceback \(most recent|"
    r"<stack traces unavailable>|(\w+: )?Exception encountered when calling|Arguments received by|\[\[\{\{|[•^~]"
)
_APPENDED = re.compile(r"\s*\[\[\{\{.*|\s*\[Op:\w+\].*")
_NAMED = re.compile(r"\w*(Error|Exception|Warning|Interrupt|Exit|Iteration): ")
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NOT_THE_USERS = tuple(
    f"{os.path.abspath(folder)}{os.sep}"
    for folder in (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        os.path.join(_HERE, "trainer"),
        os.path.join(_HERE, "cluster"),
    )
)


def cause(problem: BaseException) -> str:
    """`ValueError: its message (models.py:39)`: one line of at most MOST_CHARACTERS, for a row and for a person."""
    lines = [_ESCAPES.sub("", line) for line in str(problem).split("\n")]
    words = next(_informative(lines), "") or next((line.strip() for line in lines if line.strip()), "")
    text = words if _NAMED.match(words) else f"{type(problem).__name__}: {words}".removesuffix(": ")
    place = _place(lines, problem)
    return text[: MOST_CHARACTERS - len(place)] + place


def _informative(lines: Iterable[str]) -> Iterator[str]:
    """The lines that are not a heading, a frame or a source line."""
    frame = -1
    for line in lines:
        indent = len(line) - len(line.lstrip())
        match = _FRAME.match(line)
        if match:
            frame = len(match[1])
            continue
        if frame >= 0 and (indent > frame or not line.strip()):
            continue
        frame = -1
        words = _APPENDED.sub("", line.strip())
        if words and not _HEADINGS.match(words):
            yield words


def _place(lines: Iterable[str], problem: BaseException) -> str:
    """The innermost line in a file that is neither batchscope's nor a library's; empty if there is none."""
    quoted = [(match[2], int(match[3])) for line in lines if (match := _FRAME.match(line))]
    ran = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(problem.__traceback__)]
    for file, number in (*reversed(quoted), *reversed(ran)):
        if _is_the_users(file):
            return f" ({os.path.basename(file)}:{number})"
    return ""


def _is_the_users(file: str) -> bool:
    generated = file.startswith("<") or os.path.basename(file).startswith("__autograph_generated")
    path = os.path.abspath(file)
    return not (generated or path.startswith(_NOT_THE_USERS) or f"{os.sep}site-packages{os.sep}" in path)
