"""Lines on a terminal end at words; what goes elsewhere has one line a sentence."""

import io

import pytest

from cluster.text.wrapped import terminal_width, wrapped

TEXT = "one two three four five six seven\n  indented-word-that-is-longer-than-the-line and more\n"


@pytest.mark.parametrize("width", [12, 20, 60])
def test_lines_end_at_words_and_no_word_is_cut(width: int) -> None:
    lines = wrapped(TEXT, width).split("\n")
    assert " ".join(lines).split() == TEXT.split()
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)


def test_elsewhere_nothing_changes() -> None:
    assert wrapped(TEXT, None) == TEXT
    assert terminal_width(io.StringIO()) is None
