"""Text that people or files named, as it is printed: without what would command a terminal or turn a line around."""

import re

# Escape sequences first, whole; then what is left of control characters, of those that reverse a line's direction, and
# of halves of a surrogate pair, which cannot be written.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\)"
    r"|[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]",
    re.DOTALL,
)


def plain(text: str) -> str:
    """A line of text without all that."""
    return _ESCAPES.sub("", text)


def plain_lines(text: str) -> str:
    """The same of several lines."""
    return "\n".join(map(plain, text.split("\n")))
