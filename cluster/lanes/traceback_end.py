"""The end of an exception's traceback, as an attempt's row keeps it: for when one line does not explain it."""

import traceback

from cluster.text.masked import masked
from cluster.text.plain import plain

MOST_CHARACTERS = 6000


def traceback_end(problem: BaseException) -> str:
    """The last lines of the traceback, without escape sequences and passwords in addresses.

    The end is kept, because it has the innermost frame and the message.
    """
    written = "".join(traceback.format_exception(problem))
    text = "\n".join(plain(masked(line.expandtabs())) for line in written.rstrip().split("\n"))
    if len(text) <= MOST_CHARACTERS:
        return text
    _, _, whole_lines = text[-MOST_CHARACTERS:].partition("\n")
    return f"...\n{whole_lines or text[-MOST_CHARACTERS:]}"
