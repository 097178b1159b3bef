"""The verdict's part of the page: sentences, most important first; batch sizes at a glance; what it cannot say."""

import re
from collections.abc import Iterator
from dataclasses import replace

from cluster.analysis.counted import counted
from cluster.analysis.failures import NONE
from cluster.analysis.figures import CellVerdict
from cluster.analysis.verdict import GroupVerdict
from cluster.report import verdict as words
from cluster.report import verdict_table
from cluster.report.failed import sentence
from cluster.report.page import terms
from cluster.report.page.facts import Facts, Group
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import value_text
from cluster.report.reading import two_lines
from cluster.summary import query

_CLASS = {"worse": "bad", "better": "good", "equivalent": "good"}


def section(facts: Facts) -> Markup:
    """The section, with a heading over each group if there are several."""
    failed = sentence(facts.verdict.failures)
    parts = [tag("p", failed, class_="lead" if not facts.groups else "failed")] if failed else []
    parts += [_group(facts, group) for group in facts.groups]
    if not parts:
        parts = [tag("p", words.sentences(facts.verdict)[0], class_="lead")]
    return tag("section", tag("h2", "Verdict"), *parts, id="verdict")


def warnings(facts: Facts) -> Markup:
    """What is left out, what cannot be concluded, and what weakens the rest, with the number of trials behind it."""
    lines = [one.line for one in facts.problems]
    lines += filter(None, [sentence(facts.verdict.failures)])
    for group in facts.verdict.groups:
        lines += [f"cannot say: {words.labelled(facts.verdict, group, one.text)}" for one in group.cannot]
    for group in facts.verdict.groups:
        for one in group.caveats:
            count = len(set(one.trials))
            caused = f" ({counted(count, 'trial')})" if count else ""
            lines.append(f"caution: {words.labelled(facts.verdict, group, one.text)}{caused}")
    return tag("ul", *(tag("li", line) for line in lines), class_="said") if lines else tag("p", "None found.")


def _group(facts: Facts, group: Group) -> Markup:
    # Failures are listed above all groups.
    alone = replace(facts.verdict, groups=(group.verdict,), failures=NONE)
    lines = [_whole(line) for line in (*_undecided(facts, group), *words.sentences(alone))]
    lead, *others = terms.explained(lines)
    heading = [tag("h3", group.heading)] if group.heading else []
    said = [tag("p", lead, class_="lead"), tag("ul", *(tag("li", line) for line in others), class_="said")]
    said.append(terms.glossary(lines))
    beside = [_glance(group), *_limits(group.verdict)]
    return tag("div", tag("div", *heading, *said), tag("div", *beside, class_="beside"), class_="columns")


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


def _glance(group: Group) -> Markup:
    """A row for each batch size: its loss, its outcome against the reference, and how many runs reached the target."""
    names = ["B", "best val. loss", "against reference", "reached target"]
    reached = any(cell.reach for cell in group.verdict.cells)
    head = tag("tr", *(tag("th", name, scope="col") for name in (names if reached else names[:3])))
    rows = (tag("tr", *_row(cell, group.verdict, reached=reached)) for cell in group.verdict.cells)
    table = tag("table", tag("caption", "At a glance"), tag("thead", head), tag("tbody", *rows))
    return tag("div", table, class_="glance")


def _row(cell: CellVerdict, group: GroupVerdict, *, reached: bool) -> Iterator[Markup]:
    outcomes = {one.global_batch: one.outcome for one in group.qualities}
    outcome = outcomes.get(cell.global_batch) or verdict_table.standing(group, cell.global_batch)
    yield tag("th", f"{cell.global_batch}", scope="row")
    yield tag("td", value_text(cell.loss.mean if cell.loss else None))
    yield tag("td", outcome, class_=_CLASS.get(outcome))
    if reached:
        yield tag("td", f"{cell.reach.success.reached} of {cell.reach.success.runs}" if cell.reach else "-")


def _limits(group: GroupVerdict) -> Iterator[Markup]:
    if group.cannot:
        listed = tag("ul", *(tag("li", _whole(one.text)) for one in group.cannot))
        yield tag("div", tag("h3", "What this study cannot say"), listed, class_="cannot")
    count = len(group.caveats)
    if count:
        link = tag("a", f"{count} caution{'s' * (count != 1)}", href="#warnings")
        yield tag("p", join(["Read this with ", link, "."]))
