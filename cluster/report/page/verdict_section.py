"""The verdict's part of the page: the answer, the batch sizes at a glance, how sure it is, and what it cannot say."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cluster.analysis.counted import counted
from cluster.analysis.failures import NONE
from cluster.analysis.verdict import GroupVerdict, Verdict
from cluster.report import verdict as words
from cluster.report.cautions import ANSWER, BEYOND, TIMES, ranked
from cluster.report.failed import sentence
from cluster.report.page import terms
from cluster.report.page.facts import Facts, Group
from cluster.report.page.glance import glance
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.sharing import sharing
from cluster.report.reading import two_lines
from cluster.summary import query

# So many sentences of evidence stand below the answer without a click.
SENTENCES_SHOWN = 4


def section(facts: Facts) -> Markup:
    """The section, with a heading over each group if there are several."""
    failed = sentence(facts.verdict.failures)
    parts = [tag("p", failed, class_="lead" if not facts.groups else "failed")] if failed else []
    parts += [_group(facts, group) for group in facts.groups]
    if not parts:
        parts = [tag("p", words.sentences(facts.verdict)[0], class_="lead")]
    return tag("section", tag("h2", "Verdict"), *parts, id="verdict")


def warnings(facts: Facts) -> Markup:
    """What is left out, what cannot be concluded, and what weakens the rest, the weightiest first."""
    lines = [one.line for one in facts.problems]
    lines += filter(None, [sentence(facts.verdict.failures)])
    for group in facts.verdict.groups:
        lines += [f"cannot say: {words.labelled(facts.verdict, group, one.text)}" for one in group.cannot]
    parts = [tag("ul", *(tag("li", line) for line in lines), class_="said")] if lines else []
    for what, cautions in _cautions(facts.verdict).items():
        parts += [tag("h3", f"Cautions {what}"), tag("ul", *(tag("li", line) for line in cautions), class_="said")]
    return join(parts) if parts else tag("p", "None found.")


def _cautions(verdict: Verdict) -> dict[str, list[str]]:
    """The cautions by what they bear on, each with the number of trials behind it."""
    found: dict[str, list[str]] = {what: [] for what in (ANSWER, TIMES, BEYOND)}
    for group in verdict.groups:
        for what, caveats in ranked(group).items():
            for one in caveats:
                count = len(set(one.trials))
                caused = f" ({counted(count, 'trial')})" if count else ""
                found[what].append(f"{words.labelled(verdict, group, one.text)}{caused}")
    return {what: lines for what, lines in found.items() if lines}


def _group(facts: Facts, group: Group) -> Markup:
    # Failures are listed above all groups.
    alone = replace(facts.verdict, groups=(group.verdict,), failures=NONE)
    first = _undecided(facts, group)
    lines = [_whole(line) for line in (*first, *words.sentences(alone))]
    lead, *others = terms.explained(lines)
    below = max(0, len(first) - 1)
    heading = [tag("h3", group.heading)] if group.heading else []
    share = tag("p", *sharing(facts, group, lines[0], lines[1:]), class_="share scripted")
    answer = [
        tag("p", lead, class_="lead"),
        *(tag("p", line) for line in others[:below]),
        share,
        glance(facts, group.verdict),
    ]
    told = tag("div", *_evidence(others[below:]), terms.glossary(lines))
    beside = tag("div", *_limits(group.verdict), class_="beside")
    return tag("div", *heading, *answer, tag("div", told, beside, class_="columns"), class_="group")


def _evidence(lines: Sequence[Markup]) -> Iterator[Markup]:
    """The sentences behind the answer, behind a click if they are many."""
    if lines:
        sure = tag("summary", f"How sure? The evidence in {counted(len(lines), 'sentence')}")
        listed = tag("ul", *(tag("li", line) for line in lines), class_="said")
        yield tag("details", sure, listed, class_="evidence", open=len(lines) <= SENTENCES_SHOWN)


def _whole(line: str) -> str:
    """A sentence without line breaks between a symbol and its value."""
    return re.sub(r"\b([Bnp]) = (?=\S)", "\\1\u00a0=\u00a0", line)


def _undecided(facts: Facts, group: Group) -> list[str]:
    """The first lines of a group that compares nothing: that fact, and its means if each batch size has one rate."""
    if group.verdict.nothing_learnt or group.verdict.soonest or group.verdict.qualities:
        return []
    if facts.asked is not None and query.states(facts.newest)["trials"] < facts.asked:
        return ["Too early: no batch size can be compared with another yet."]
    lines = ["A first look: no batch size is shown to be better, worse or equivalent."]
    if len(facts.groups) == 1 and all(len(cell.rates) == 1 for cell in group.cells):
        points = query.points(facts.newest, by=["global_batch"])
        lines += two_lines(points, facts.verdict.declared.spec["budget"])
    return lines


def _limits(group: GroupVerdict) -> Iterator[Markup]:
    if group.cannot:
        listed = tag("ul", *(tag("li", _whole(one.text)) for one in group.cannot))
        yield tag("div", tag("h3", "What this study cannot say"), listed, class_="cannot")
    if group.caveats:
        first, *_ = [one for caveats in ranked(group).values() for one in caveats]
        count = len(group.caveats)
        link = tag("a", f"{count} caution{'s' * (count != 1)}", href="#warnings")
        yield tag("p", join(["Read this with ", link, f"{', first' if count > 1 else ''}: {_whole(first.text)}."]))
