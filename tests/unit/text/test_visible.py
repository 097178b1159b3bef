"""Text for an agent: every character is seen, and what is seen is not changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.text.visible import visible, visible_values


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Größe, 日本語, \U0001f600\nnext\tone", "plain, Größe, 日本語, \U0001f600\nnext\tone"),
        ("\x1b[31mred\x00\r", "\\u001b[31mred\\u0000\\u000d"),
        ("a\u202eb\u200bc\ufeff", "a\\u202eb\\u200bc\\ufeff"),
        # Letters of the block of tags, which models read and people do not see.
        ("\U000e0049\U000e0047", "\\U000e0049\\U000e0047"),
        ("a\u2028b\ud800", "a\\u2028b\\ud800"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_it_is_idempotent_and_keeps_what_is_printable(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert all(one.isprintable() or one in "\n\t" or one.isspace() for one in shown)


def test_every_text_of_a_value_is_made_visible() -> None:
    assert visible_values({"a\x00": ["\x1b", {"b": "\u202e"}, 1, None, 0.5, True]}) == {
        "a\\u0000": ["\\u001b", {"b": "\\u202e"}, 1, None, 0.5, True]
    }
