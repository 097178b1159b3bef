"""Claims about a study's batch sizes, such as `worse(256, 16)`, and what its verdict answers: true, false or undecided.

The grammar is closed: one of PREDICATES with its global batches. What was not compared or not shown is undecided, never
true; so is a comparison of two batch sizes of which neither is the reference, even if both were compared with it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from cluster.analysis.quality import Quality
from cluster.analysis.verdict import GroupVerdict, Verdict
from cluster.report.answer import batches, recommended
from trainer.errors import InputError, brief, nearest

Answer = Literal["true", "false", "undecided"]
# The outcomes of the first batch size against the second that make a claim true; the other decided ones make it false.
_TRUE = {
    "equivalent": ("equivalent",),
    "worse": ("worse",),
    "better": ("better",),
    "not_worse": ("equivalent", "better"),
}
_DECIDED = ("equivalent", "worse", "better")
PREDICATES = {**dict.fromkeys((*_TRUE, "decided"), 2), "use": 1}
ALLOWED = ", ".join(f"{name}({', '.join('AB'[:count])})" for name, count in PREDICATES.items())
_CLAIM = re.compile(r"\s*([A-Za-z_]{1,20})\s*\(\s*([0-9]{1,12})\s*(?:,\s*([0-9]{1,12})\s*)?\)\s*")
_OTHER_WAY = {"worse": "better", "better": "worse"}


class Claim(NamedTuple):
    """A predicate and the global batches that it is about."""

    predicate: str
    batches: tuple[int, ...]

    def __str__(self) -> str:
        """The claim as it is written."""
        return f"{self.predicate}({batches(self.batches)})"


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What a verdict answers to a claim, and why, in one line."""

    claim: str
    answer: Answer
    why: str


def parse_claim(text: str) -> Claim:
    """The claim in a text.

    Raises:
        InputError: it is none of PREDICATES with as many different global batches.
    """
    match = _CLAIM.fullmatch(text)
    if match is None:
        raise InputError(f"the claim {brief(text)!r} cannot be read: write one of {ALLOWED}, with global batches")
    name, found = match[1], tuple(int(one) for one in match.groups()[1:] if one is not None)
    if name not in PREDICATES:
        raise InputError(f"there is no claim {name!r}{nearest(name, list(PREDICATES))}: write one of {ALLOWED}")
    if len(found) != PREDICATES[name] or len(set(found)) != len(found):
        count = "one global batch" if PREDICATES[name] == 1 else "two different global batches"
        raise InputError(f"the claim {brief(text)!r} needs {count}: write one of {ALLOWED}")
    return Claim(name, found)


def rulings(verdict: Verdict, claims: Iterable[Claim]) -> tuple[Ruling, ...]:
    """What the verdict answers to each claim; of several optimizers or dtypes, a claim is about every one.

    Raises:
        InputError: the study has no such global batch.
    """
    known = sorted({cell.global_batch for group in verdict.groups for cell in group.cells})
    return tuple(_ruling(verdict, claim, known) for claim in claims)


def _ruling(verdict: Verdict, claim: Claim, known: Sequence[int]) -> Ruling:
    if not known:
        return Ruling(claim=str(claim), answer="undecided", why="no trial that counts has completed")
    for batch in claim.batches:
        if batch not in known:
            raise InputError(f"{claim}: the study has no results of B = {batch}: it has B = {batches(known)}")
    answers: list[Answer] = []
    reasons = []
    for group in verdict.groups:
        answer, why = _used(group, claim) if claim.predicate == "use" else _compared(group, claim)
        answers.append(answer)
        reasons.append(f"{group.name}: {why}" if len(verdict.groups) > 1 else why)
    return Ruling(claim=str(claim), answer=_in_all(answers), why="; ".join(reasons))


def _in_all(answers: Sequence[Answer]) -> Answer:
    if "false" in answers:
        return "false"
    return "undecided" if "undecided" in answers else "true"


def _used(group: GroupVerdict, claim: Claim) -> tuple[Answer, str]:
    """Whether a batch size is the one to use."""
    if (best := recommended(group)) is None:
        return "undecided", _nothing(group)
    return ("true" if claim.batches == (best,) else "false"), f"the verdict says: use B = {best}"


def _compared(group: GroupVerdict, claim: Claim) -> tuple[Answer, str]:
    """The answer to a claim about two batch sizes, of which one must be the reference."""
    first, second = claim.batches
    quality, other_way = _quality(group, first, second), group.reference == first
    if quality is None:
        return ("false" if claim.predicate == "decided" else "undecided"), _uncompared(group, claim)
    outcome = _OTHER_WAY.get(quality.outcome, quality.outcome) if other_way else quality.outcome
    why = _figures(quality, group.reference)
    if claim.predicate == "decided":
        return ("true" if outcome in _DECIDED else "false"), why
    if outcome not in _DECIDED:
        return "undecided", why
    return ("true" if outcome in _TRUE[claim.predicate] else "false"), why


def _quality(group: GroupVerdict, first: int, second: int) -> Quality | None:
    """The comparison of two batch sizes; None if neither is the reference, or the other was not compared with it."""
    if group.reference not in (first, second):
        return None
    other = second if group.reference == first else first
    return next((one for one in group.qualities if one.global_batch == other), None)


def _figures(one: Quality, reference: int | None) -> str:
    figures = f"B = {one.global_batch} against B = {reference} is {one.outcome}: difference {one.difference:+.3g}"
    if one.low90 is not None and one.high90 is not None:
        figures += f", 90 % CI {one.low90:+.3g}..{one.high90:+.3g}"
    return f"{figures}, n = {one.pairs}"


def _uncompared(group: GroupVerdict, claim: Claim) -> str:
    if not group.qualities:
        return _nothing(group)
    if group.reference in claim.batches:
        [other] = [batch for batch in claim.batches if batch != group.reference]
        return f"B = {other} was not compared with B = {group.reference}"
    return f"they were not compared with one another, only with B = {group.reference}"


def _nothing(group: GroupVerdict) -> str:
    """Why nothing is compared: the first of the reasons for which nothing can be concluded."""
    return f"nothing is compared: {group.cannot[0].text}" if group.cannot else "nothing is compared yet"
