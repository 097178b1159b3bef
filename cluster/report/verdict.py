"""The verdict in sentences, each no stronger than its evidence: the answer, then how sure it is.

A careful statistician would sign these sentences: a ratio comes with its interval and its runs, "equivalent" with its
test and margin, "undecided" with what is known all the same. They never use "optimal" without a purpose, and never "no
effect".
"""

import math
from collections.abc import Iterator

from cluster.analysis import learnt
from cluster.analysis.caveats import ENOUGH_SEEDS
from cluster.analysis.cells import missing_text
from cluster.analysis.counted import counted
from cluster.analysis.figures import CellVerdict
from cluster.analysis.quality import Quality
from cluster.analysis.soonest import Soonest
from cluster.analysis.verdict import GroupVerdict, Verdict
from cluster.report.answer import answer, batches
from cluster.report.aside import aside
from cluster.report.failed import sentence
from cluster.report.next_step import next_step

_NOUN = {"seconds": "time", "usd": "money"}


def sentences(verdict: Verdict) -> list[str]:
    """The whole verdict, most important first; several optimizers or dtypes follow one another."""
    lines = []
    for group in verdict.groups:
        if len(verdict.groups) > 1:
            lines.append(f"{group.name}:")
        lines += list(_group(verdict, group))
    if failed := sentence(verdict.failures):
        lines.append(failed)
    ended = "that counts has completed" if verdict.groups else "has ended"
    return lines or [f"Nothing can be said yet: no trial {ended}."]


def nothing_learnt(task: str, baseline: float) -> str:
    """The sentence of a study whose losses are no better than a guess."""
    text = learnt.said(task, baseline)
    return f"{text[0].upper()}{text[1:]}."


def warnings(verdict: Verdict) -> list[str]:
    """What cannot be concluded, and what weakens the rest."""
    lines = [f"cannot say: {labelled(verdict, group, one.text)}" for group in verdict.groups for one in group.cannot]
    for group in verdict.groups:
        lines += [f"caution: {labelled(verdict, group, one.text)}" for one in group.caveats]
    return lines


def labelled(verdict: Verdict, group: GroupVerdict, text: str) -> str:
    """A text about a group, with the group's name if there are several."""
    return f"{group.name}: {text}" if len(verdict.groups) > 1 else text


def _group(verdict: Verdict, group: GroupVerdict) -> Iterator[str]:
    cells, margin = {cell.global_batch: cell for cell in group.cells}, verdict.declared.margin
    if group.nothing_learnt:
        yield nothing_learnt(verdict.declared.spec.get("task", ""), verdict.declared.baseline_loss or 0.0)
    yield from answer(group, margin)
    yield from _soonest_of_all(group, cells, verdict.declared.target)
    yield from _quality(group, cells, margin)
    if group.next_step is not None:
        yield f"{next_step(group.next_step)} `batchscope next {verdict.study}` writes that study."
    yield from _unreliable(group)
    yield from _axes(group)
    yield from _rates(group)
    yield from _untuned(group, margin)
    yield from aside(group)


def _soonest_of_all(group: GroupVerdict, cells: dict[int, CellVerdict], target: float | None) -> Iterator[str]:
    """What is soonest and what is cheapest, in one sentence where machines of one price make them the same."""
    by_measure = {found.measure: found for found in group.soonest}
    seconds, usd = by_measure.get("seconds"), by_measure.get("usd")
    both = seconds and usd and (seconds.candidates, seconds.ratios.keys()) == (usd.candidates, usd.ratios.keys())
    if seconds:
        yield from _soonest(seconds, "soonest and cheapest" if both else "soonest", cells, target)
    if usd and not both:
        yield from _soonest(usd, "cheapest", cells, target)


def _soonest(found: Soonest, word: str, cells: dict[int, CellVerdict], target: float | None) -> Iterator[str]:
    rarely = f"; most runs of B = {batches(found.rarely)} missed it" if found.rarely else ""
    if len(found.candidates) > 1 and not found.ratios:
        yield (
            f"Which batch size reaches the target of {target:.4g} {word} is not decided: B = "
            f"{batches(found.candidates)} are not told apart{rarely}."
        )
        return
    one_of = "" if len(found.candidates) == 1 else "one of "
    expected = [f"{_expected(found, batch)} at B = {batch}" for batch in found.candidates]
    yield (
        f"With 95 % confidence, the {word} to the target of {target:.4g} is {one_of}B = {batches(found.candidates)} "
        f"(expected with restarts: {', '.join(expected)})"
        f"{_of_planned(cells, *found.candidates, *found.ratios)}{rarely}."
    )
    for batch, ratio in found.ratios.items():
        most = "at most " if batch in found.censored else ""
        interval = "" if ratio.low is None else f"95 % CI of all ratios together {ratio.low:.2f}-{ratio.high:.2f}; "
        yield (
            f"B = {found.fastest} took {most}{ratio.mean:.2f}x the {_NOUN[found.measure]} of B = {batch} ({interval}"
            f"{_success(cells[found.fastest])} and {_success(cells[batch])} runs reached it)."
        )


def _expected(found: Soonest, batch: int) -> str:
    value = found.expected[batch]
    unit = "s" if found.measure == "seconds" else "usd"
    return "never reached" if value is None else f"{value:.3g} {unit}"


def _success(cell: CellVerdict) -> str:
    assert cell.reach is not None
    return f"{cell.reach.success.reached} of {cell.reach.success.runs}"


def _of_planned(cells: dict[int, CellVerdict], *listed: int) -> str:
    """Which of these batch sizes are judged on fewer seeds than planned, and why; empty if none are."""
    incomplete = [
        f"on {cells[batch].completed} of {cells[batch].seeds} planned seeds at B = {batch} "
        f"({missing_text(cells[batch].missing)})"
        for batch in listed
        if cells[batch].missing
    ]
    return f", {' and '.join(incomplete)}" if incomplete else ""


def _unreliable(group: GroupVerdict) -> Iterator[str]:
    tuned = [cell for cell in group.cells if cell.tuned and not cell.reliable]
    for cell in tuned:
        yield (
            f"B = {cell.global_batch} is unreliable: {cell.missing['diverged']} of {cell.seeds} planned confirmations "
            "diverged."
        )


def _quality(group: GroupVerdict, cells: dict[int, CellVerdict], margin: float | None) -> Iterator[str]:
    reference = group.reference or 0
    same = [one for one in group.qualities if one.outcome == "equivalent"]
    if same:
        each_other = ", not shown for one another" if len(same) > 1 else ""
        yield (
            f"Best validation loss at B = {batches(one.global_batch for one in same)} is equivalent to that of "
            f"B = {reference} within {margin:g}{each_other} (TOST, n = {_range([one.pairs for one in same])})"
            f"{_of_planned(cells, *(one.global_batch for one in same), reference)}."
        )
        yield from _on_test(same, reference, margin or 0.0)
        yield _rare(same, cells, reference)
    for one in group.qualities:
        if one.outcome in ("worse", "better"):
            yield (
                f"B = {one.global_batch} is {one.outcome} than B = {reference} by {abs(one.difference):.3g} "
                f"(95 % CI of this difference alone {one.low95:+.3g}..{one.high95:+.3g}; p = {one.p_different:.2g}, "
                f"adjusted for all comparisons and looks; n = {_range([one.pairs])}), with "
                f"{cells[one.global_batch].updates:,.0f} updates against {cells[reference].updates:,.0f}"
                f"{_of_planned(cells, one.global_batch, reference)}."
            )
    yield from (_undecided(one, cells, reference, margin) for one in group.qualities if one.outcome == "undecided")


def _on_test(same: list[Quality], reference: int, margin: float) -> Iterator[str]:
    """Which of the equivalent ones the test split does not show to be so."""
    for one in same:
        test = one.on_test
        if test is not None and not -margin < test.low90 <= test.high90 < margin:
            yield (
                f"B = {one.global_batch} is equivalent to B = {reference} on the validation split, but that is not "
                f"shown on the test split: difference {test.difference:+.3g}, 90 % CI {test.low90:+.3g}.."
                f"{test.high90:+.3g}."
            )


def _rare(same: list[Quality], cells: dict[int, CellVerdict], reference: int) -> str:
    """What so few seeds cannot exclude: a share of bad runs that all of them missed with a chance of 5 %."""
    pairs = min(one.pairs for one in same)
    worst = max(
        (cells[batch] for batch in (reference, *(one.global_batch for one in same))),
        key=lambda cell: cell.worst_above_mean or 0.0,
    )
    return (
        f"{pairs} seeds cannot exclude that up to {1 - 0.05 ** (1 / pairs):.0%} of runs are bad; the worst of these "
        f"ended {worst.worst_above_mean or 0.0:.2g} above the mean of its batch size, {worst.global_batch}."
    )


def _range(pairs: list[int]) -> str:
    """The number of pairs of seeds behind a conclusion, which is preliminary below ENOUGH_SEEDS."""
    low, high = min(pairs), max(pairs)
    text = f"{low}" if low == high else f"{low}-{high}"
    return f"{text}, preliminary" if low < ENOUGH_SEEDS else text


def _undecided(one: Quality, cells: dict[int, CellVerdict], reference: int, margin: float | None) -> str:
    text = (
        f"B = {one.global_batch} against B = {reference}: undecided: difference {one.difference:+.3g}, 90 % CI "
        f"{one.low90:+.3g}..{one.high90:+.3g}"
    )
    text += _of_planned(cells, one.global_batch, reference)
    if margin is None:
        return f"{text}, and no margin defines whether that matters."
    if one.differs:
        direction = "worse" if one.difference > 0 else "better"
        return f"{text}: it is {direction}, by less than the margin of {margin:g} or about as much."
    if not one.seeds:
        return f"{text}; it is not judged before all its planned seeds have ended."
    more = "the most that were declared" if one.seeds >= one.most_seeds else f"it goes on, to at most {one.most_seeds}"
    return f"{text} at a margin of {margin:g}, after {counted(one.seeds, 'seed')}, {more}."


def _axes(group: GroupVerdict) -> Iterator[str]:
    """The lowest mean loss at equal updates, examples and seconds. Survivors of a batch size lead no ranking."""
    reliable = {cell.global_batch for cell in group.cells if cell.reliable}
    best = {
        arm.clock: (min(kept, key=lambda batch: (arm.losses[batch], batch)), arm.most)
        for arm in group.arms
        if len(kept := reliable & arm.losses.keys()) > 1
    }
    if len(best) > 1:
        winners = [f"at equal {clock} ({most:,.0f}) B = {batch}" for clock, (batch, most) in best.items()]
        end = ": the ranking depends on what is held equal." if group.ranking_depends else "."
        yield f"Lowest mean validation loss: {', '.join(winners)}{end}"


def _rates(group: GroupVerdict) -> Iterator[str]:
    """The rate of each batch size, and between which it was fitted."""
    fitted = [(cell, cell.choice) for cell in group.cells if cell.choice is not None and cell.choice.fitted]
    if not group.qualities or not fitted:
        return
    told = [
        f"{cell.learning_rate:.3g} at B = {cell.global_batch} (between {choice.low:.3g} and {choice.high:.3g})"
        for cell, choice in fitted
    ]
    yield f"Learning rates, fitted to the losses of the screen: {', '.join(told)}."


def _untuned(group: GroupVerdict, margin: float | None) -> Iterator[str]:
    """What the screen says of one rate for all batch sizes: which of them lose more than the margin, and how much."""
    found = group.untuned
    if found is None or group.nothing_learnt:
        return
    matters = margin or 0.0
    lost = {batch: above for batch, above in found.losses_above_best.items() if above > matters}
    rule = "one rate" if found.rule == "none" else f"one rate by the {found.rule} rule"
    text = f"Untuned, with {rule} for all batch sizes (the best one tried), "
    if lost:
        told = [
            f"B = {batch} loses {'its training' if math.isinf(above) else f'{above:.2g}'}"
            for batch, above in lost.items()
        ]
        text += ", ".join(told)
    else:
        text += "no batch size loses more than the margin" if margin else "no batch size loses anything"
    if found.widths and max(found.widths.values()) > 1:
        wide = [f"{width:.2g}x at B = {batch}" for batch, width in found.widths.items()]
        text += f"; rates within the margin of the best span {', '.join(wide)}"
    elif found.widths:
        text += "; no rate beside the best one is within the margin of it"
    yield f"{text} (screen)."
