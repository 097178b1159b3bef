"""Text from people or files, made safe to print: nothing in it commands a terminal or reverses a line."""

import re

# First whole escape sequences; then any other control characters, characters that reverse the direction of a line, and
# halves of a surrogate pair, which cannot be written.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\)"
    r"|[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]",
    re.DOTALL,
)


def plain(text: str) -> str:
    """A line of text without escape sequences and control characters."""
    return _ESCAPES.sub("", text)


def plain_lines(text: str) -> str:
    """Several lines of text, each made `plain`."""
    return "\n".join(map(plain, text.split("\n")))
