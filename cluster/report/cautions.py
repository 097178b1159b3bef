"""The cautions of a verdict, what weighs most on its answer first."""

from cluster.analysis.evidence import Caveat
from cluster.analysis.verdict import GroupVerdict

# How a caution bears on the study, in the order in which a reader should meet them.
ANSWER, TIMES, BEYOND = (
    "on which batch size is better",
    "on times and on what is soonest",
    "on what this means elsewhere",
)
_OF_ANSWER = frozenset(
    {
        "seen_before",
        "late_seeds",
        "lacking_evaluations",
        "diverged",
        "runs_without_a_loss",
        "rate_at_edge",
        "one_rate",
        "between_rates",
        "unequal_search",
        "uneven_evaluations",
        "uneven_clipping",
        "few_seeds",
    }
)
_OF_TIMES = frozenset({"sooner_at_another_rate", "few_evaluations", "unsteady_speed"})


def ranked(group: GroupVerdict) -> dict[str, list[Caveat]]:
    """The cautions by what they bear on; within that, those of the most trials first. What has none is left out."""
    found: dict[str, list[Caveat]] = {ANSWER: [], TIMES: [], BEYOND: []}
    for caveat in sorted(group.caveats, key=lambda one: -len(set(one.trials))):
        found[_bears_on(caveat.code)].append(caveat)
    return {what: caveats for what, caveats in found.items() if caveats}


def _bears_on(code: str) -> str:
    if code in _OF_ANSWER:
        return ANSWER
    return TIMES if code in _OF_TIMES or code.startswith("mixed_") else BEYOND
