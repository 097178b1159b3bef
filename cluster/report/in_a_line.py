"""The answer of a study in a line, for a list of studies."""

from cluster.analysis.verdict import GroupVerdict, Verdict
from cluster.report.answer import answer
from cluster.report.failed import sentence


def in_a_line(verdict: Verdict) -> str:
    """What to use, or why that is not known yet; each optimizer or dtype by its name if there are several."""
    several = len(verdict.groups) > 1
    parts = [
        f"{group.name}: {_group(verdict, group)}" if several else _group(verdict, group) for group in verdict.groups
    ]
    return " ".join(parts) or sentence(verdict.failures) or "No trial that counts has ended."


def _group(verdict: Verdict, group: GroupVerdict) -> str:
    if group.nothing_learnt:
        return "Nothing was learnt."
    said = answer(group, verdict.declared.margin)
    known = [cell for cell in group.cells if cell.loss is not None]
    if said or not known:
        return " ".join(said) or "Too early: no batch size can be compared with another yet."
    lowest = min(known, key=lambda cell: cell.loss.mean if cell.loss else 0.0)
    return f"Nothing proven; the lowest mean loss is that of B = {lowest.global_batch}."
