"""Sentences in lines that end at words, as wide as a terminal; elsewhere each sentence stays one line."""

import shutil
import textwrap
from typing import TextIO


def terminal_width(stream: TextIO) -> int | None:
    """The columns of the terminal that a stream writes to; None if it writes to something else."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def wrapped(text: str, width: int | None) -> str:
    """The lines of a text, each in as many lines as its words need; unchanged without a `width`.

    A word that is longer than a line, such as a path, stays whole.
    """
    if width is None:
        return text
    return "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n")
    )
