"""The keys by which texts are duplicates: the words that the model would see, up to its limit.

They are the words of the tokenizer's own normaliser and pre-tokeniser, so case, spacing and the form of a character
(composed or not, wide or narrow) make no difference. Neither of the two ever looks across white space, so a text is cut
at ASCII white space, and the words of each short part are cached.
"""

import re
from functools import lru_cache

from cluster.prepare import vocabulary

_SPACES = " \t\n\v\f\r"
_SPACE = re.compile(f"[{_SPACES}]+")
# In ASCII text, the normaliser changes only the case, and these are the pre-tokeniser's words.
_ASCII_WORDS = re.compile(r"\w+|[^\w\s]+", re.ASCII)
_SPLITTER = vocabulary.tokenizer_of({vocabulary.UNKNOWN: 0})
_REMEMBERED_PARTS, _LONGEST_REMEMBERED = 2**16, 32
# The number of characters per token that are cut from a long text at first.
_CHARACTERS_A_TOKEN = 16


def words_key(text: str, *, max_tokens: int) -> str:
    """The text's first `max_tokens` words, case folded, with spaces between them; empty if it has none."""
    end = _CHARACTERS_A_TOKEN * max_tokens
    while True:
        start = text[:end]
        if end < len(text):
            # The word after the last white space may continue beyond the cut.
            start = start[: max(map(start.rfind, _SPACES)) + 1]
        words = _words(start)
        if end >= len(text) or len(words) >= max_tokens:
            return " ".join(words[:max_tokens])
        end *= 4


def _words(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORDS.findall(text.lower())
    parts = _SPACE.split(text)
    return [word for word in " ".join(map(_of_part, parts)).split(" ") if word]


def _of_part(part: str) -> str:
    return _remembered(part) if len(part) <= _LONGEST_REMEMBERED else _split(part)


def _split(part: str) -> str:
    if part.isascii():
        return " ".join(_ASCII_WORDS.findall(part.lower()))
    normalised = _SPLITTER.normalizer.normalize_str(part)
    return " ".join(word for word, _ in _SPLITTER.pre_tokenizer.pre_tokenize_str(normalised)).casefold()


_remembered = lru_cache(maxsize=_REMEMBERED_PARTS)(_split)
