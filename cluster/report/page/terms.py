"""The words of statistics in a verdict, explained where they stand: on hover, and all together behind a click."""

import re
from collections.abc import Iterable

from cluster.report.page.markup import Markup, join, tag

TERMS = {
    "equivalent": (
        "The difference of loss is shown to be smaller than the margin: if it were as large, such results would "
        "come up in less than 5 % of studies."
    ),
    "margin": "The largest difference of loss that does not matter to whoever asked; declared before the runs.",
    "undecided": "Neither shown to matter nor shown not to: more seeds would be needed.",
    "TOST": (
        "Two one-sided tests: one against the difference being as high as the margin, one against it being as low."
    ),
    "90 % CI": (
        "The confidence interval: where the true value lies, as far as these runs tell, with a confidence of 90 %."
    ),
    "95 % CI": (
        "The confidence interval: where the true value lies, as far as these runs tell, with a confidence of 95 %."
    ),
    "adjusted for all comparisons and looks": (
        "Several comparisons, looked at several times, have several chances to be wrong. The adjustment keeps the "
        "chance of any wrong claim in the whole study at 5 %."
    ),
    "With 95 % confidence": (
        "In at most one study of twenty would the truly fastest batch size be missing from this list."
    ),
    "expected with restarts": (
        "The mean time of all runs divided by how often they reached the target: what it takes if whoever misses "
        "it begins again."
    ),
    "seeds": (
        "A seed decides the initial weights and the order of the rows. The same seed is used at every batch size."
    ),
    "critical batch": (
        "The batch size at which reaching the target takes twice the fewest updates and twice the fewest "
        "examples: below it larger batches are nearly free, above it they cost examples."
    ),
    "B20": "The largest batch size that needs at most 20 % more examples than the most economical one.",
    "gradient noise scale": (
        "How large a batch must be before its gradient is more signal than noise; a rough figure."
    ),
    "unreliable": "Some planned run diverged, so that those that remain make this batch size look better than it is.",
}
_ANY = re.compile("|".join(re.escape(term) for term in sorted(TERMS, key=len, reverse=True)))


def explained(lines: Iterable[str]) -> list[Markup]:
    """The lines, each term explained on hover where it is first used."""
    seen: set[str] = set()
    return [_line(line, seen) for line in lines]


def glossary(lines: Iterable[str]) -> Markup:
    """The terms in the lines with their explanations, behind a click; empty if there are none."""
    used = {term for line in lines for term in _ANY.findall(_plain(line))}
    if not used:
        return Markup("")
    listed = [part for term in TERMS if term in used for part in (tag("dt", term), tag("dd", TERMS[term]))]
    return tag("details", tag("summary", "What these words mean"), tag("dl", *listed), class_="terms")


def _line(line: str, seen: set[str]) -> Markup:
    parts, end = [], 0
    for found in _ANY.finditer(_plain(line)):
        term = found.group()
        if term not in seen:
            seen.add(term)
            parts += [line[end : found.start()], tag("abbr", line[found.start() : found.end()], title=TERMS[term])]
            end = found.end()
    return join([*parts, line[end:]])


def _plain(line: str) -> str:
    """The line with ordinary spaces, character by character."""
    return line.replace("\u00a0", " ")
