"""The words of a verdict explained: on hover where first used, and together behind a click."""

from cluster.report.page.terms import TERMS, explained, glossary

LINES = ["B\u00a0=\u00a016 is equivalent within the margin (TOST, 90\u00a0%\u00a0CI).", "The margin is <b>small</b>."]


def test_a_term_is_explained_where_it_is_first_used_and_text_stays_text() -> None:
    first, second = explained(LINES)
    assert f'<abbr title="{TERMS["margin"]}">margin</abbr>' in first
    assert ">90\u00a0%\u00a0CI</abbr>" in first
    assert "abbr" not in second
    assert "&lt;b&gt;" in second


def test_the_glossary_has_the_terms_used_and_no_others() -> None:
    found = glossary(LINES)
    assert [term for term in TERMS if f"<dt>{term}</dt>" in found] == ["equivalent", "margin", "TOST", "90 % CI"]
    assert glossary(["Nothing."]) == ""
