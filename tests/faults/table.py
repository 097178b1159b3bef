"""The table of a campaign: kinds of faults, how often they struck, in how many runs, and what came of it."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.faults.campaign import Fired


def table(fired: Sequence[Fired]) -> str:
    """In Markdown."""
    kinds: dict[str, list[Fired]] = defaultdict(list)
    for one in fired:
        kinds[one.fault.group].append(one)
    lines = ["| fault | points | struck | runs | what came of it |", "|---|---|---|---|---|"]
    for kind in sorted(kinds):
        found = kinds[kind]
        points, runs = len({one.fault.point for one in found}), len({one.run for one in found})
        outcomes = Counter(one.outcome for one in found)
        said = "; ".join(f"{outcome}: {count}" for outcome, count in outcomes.most_common())
        lines.append(f"| {kind} | {points} | {len(found)} | {runs} | {said} |")
    return "\n".join(lines)
