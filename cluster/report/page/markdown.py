"""The answer as Markdown, for a chat, a ticket or a README: what the page says first, and how sure it is."""

import re
from collections.abc import Iterable, Sequence

from cluster.report.page.facts import Facts, Group
from cluster.report.page.glance import glance_rows
from cluster.text.plain import plain


def markdown(facts: Facts, group: Group, answer: str, evidence: Sequence[str]) -> str:
    """The study's name, the answer, the batch sizes at a glance, the evidence, and what cannot be said."""
    names, rows = glance_rows(facts, group.verdict)
    name = f"{facts.study}{f' ({group.heading})' if group.heading else ''}"
    parts = [f"### batchscope: {_text(name)}", f"**{_text(answer)}**", _table(names, rows)]
    if evidence:
        parts.append(_list("How sure?", evidence))
    if group.verdict.cannot:
        parts.append(_list("What this study cannot say", [one.text for one in group.verdict.cannot]))
    return "\n\n".join(parts) + "\n"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [names, ["---", *("---:" for _ in names[1:])], *rows]
    return "\n".join(
        f"| {' | '.join(line if line.startswith('---') else _text(line) for line in one)} |" for one in lines
    )


def _list(heading: str, lines: Iterable[str]) -> str:
    return "\n".join([f"{heading}", "", *(f"- {_text(line)}" for line in lines)])


def _text(text: str) -> str:
    """The text on one line, without characters that Markdown or HTML would read."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", plain(text.replace("\u00a0", " ")))
