"""The answer that a person asked for, before its evidence: does the batch size change the quality, and which to use."""

from collections.abc import Iterable, Sequence

from cluster.analysis.quality import Quality
from cluster.analysis.soonest import Soonest
from cluster.analysis.verdict import GroupVerdict


def answer(group: GroupVerdict, margin: float | None) -> list[str]:
    """The answer in one or two sentences; empty where nothing is compared."""
    if not group.qualities or group.reference is None:
        return []
    return [f"{_changes(group, margin)} {_use(group, margin)}"]


def recommended(group: GroupVerdict) -> int | None:
    """The batch size to use; None where nothing is compared."""
    return _best(group)[0] if group.qualities and group.reference is not None else None


def batches(found: Iterable[int]) -> str:
    """Batch sizes as they are listed in sentences."""
    return ", ".join(map(str, found))


def _changes(group: GroupVerdict, margin: float | None) -> str:
    """Whether the batch size changes the quality: yes, no within the margin, or not decided."""
    found = _by_outcome(group.qualities)
    if found["worse"] or found["better"]:
        return "Yes: the batch size changes the quality here."
    if margin is None:
        return "Not decided: no margin says which differences of quality matter."
    compared = len(group.qualities)
    if len(found["equivalent"]) == compared == len(group.cells) - 1:
        return f"No: the batch size does not change the quality here by as much as {margin:g}."
    if found["equivalent"]:
        return f"Not decided for every batch size: whether it changes the quality here by as much as {margin:g}."
    return f"Not decided: whether the batch size changes the quality here by as much as {margin:g}."


def _use(group: GroupVerdict, margin: float | None) -> str:
    """Which batch size to use, why, and what it costs to use another."""
    best, why = _best(group)
    others = _by_outcome(group.qualities)
    reasons = [why, *_soon(best, group.soonest)]
    [rate] = [cell.learning_rate for cell in group.cells if cell.global_batch == best]
    text = f"Use B = {best} with learning rate {rate:.3g}: {', '.join(reasons)}"
    worse = sorted(one.global_batch for one in others["worse"])
    if worse:
        least = min(one.difference for one in others["worse"])
        text += f"; {_worse(worse, group)} {least:.2g}{' or more' if len(worse) > 1 else ''}"
    if margin is not None:
        text += _near(others["undecided"])
        text += _rest([one for one in others["undecided"] if not one.differs], "not decided")
    return f"{text}{_rest(others['unreliable'], 'unreliable')}."


def _best(group: GroupVerdict) -> tuple[int, str]:
    """The batch size to use, and what is known of its quality."""
    better = [one for one in group.qualities if one.outcome == "better"]
    if better:
        lowest = min(better, key=lambda one: one.difference)
        return lowest.global_batch, f"better than the others' reference, B = {group.reference}"
    same = [group.reference or 0, *(one.global_batch for one in group.qualities if one.outcome == "equivalent")]
    quick = [one for one in group.soonest if one.measure == "seconds"]
    soon = [batch for batch in same if quick and batch in quick[0].candidates]
    best = min(soon, key=lambda batch: quick[0].expected[batch] or 0.0) if soon else same[0]
    if len(same) == 1:
        return best, "the lowest loss in the screen, and not shown to be worse than any"
    took = {cell.global_batch: cell.seconds for cell in group.cells if cell.global_batch in same}
    if not group.soonest and None not in took.values():
        # Without a target none is the soonest to it; what is as good and takes less time is the better choice.
        best = min(same, key=lambda batch: took[batch] or 0.0)
        return best, "as good as any within the margin, and the quickest of these to train"
    return best, "as good as any within the margin"


def _soon(best: int, found: Sequence[Soonest]) -> list[str]:
    quick = next((one for one in found if one.measure == "seconds"), None)
    if quick is None or best not in quick.candidates:
        return []
    return ["the soonest to the target" if len(quick.candidates) == 1 else "among the soonest to the target"]


def _worse(worse: Sequence[int], group: GroupVerdict) -> str:
    """The worse batch sizes as the subject of `lose`; those at the upper end as `B = 256 and above`."""
    compared = sorted(cell.global_batch for cell in group.cells)
    if len(worse) > 1 and compared[-len(worse) :] == list(worse):
        return f"B = {worse[0]} and above lose"
    return f"B = {batches(worse)} lose{'s' if len(worse) == 1 else ''}"


def _near(found: Sequence[Quality]) -> str:
    """Those that are shown to differ, by about as much as the margin."""
    near = sorted((one for one in found if one.differs), key=lambda one: one.global_batch)
    words = (f"B = {one.global_batch} is {'worse' if one.difference > 0 else 'better'}" for one in near)
    sizes = (f"by about the margin ({abs(one.difference):.2g})" for one in near)
    return "".join(f"; {word}, {size}" for word, size in zip(words, sizes, strict=True))


def _rest(found: Sequence[Quality], word: str) -> str:
    listed = sorted(one.global_batch for one in found)
    return f"; B = {batches(listed)} {'is' if len(listed) == 1 else 'are'} {word}" if listed else ""


def _by_outcome(qualities: Iterable[Quality]) -> dict[str, list[Quality]]:
    found: dict[str, list[Quality]] = {
        name: [] for name in ("worse", "better", "equivalent", "undecided", "unreliable")
    }
    for one in qualities:
        found[one.outcome].append(one)
    return found
