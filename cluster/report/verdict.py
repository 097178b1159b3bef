"""The verdict in sentences, each no stronger than its evidence.

A careful statistician would sign these sentences: a ratio comes with its interval and its runs, "equivalent" with its
test and margin, "undecided" with what would decide it. They never use "optimal" without a purpose, and never "no
effect".
"""

from collections.abc import Iterable, Iterator, Sequence

from cluster.analysis import learnt
from cluster.analysis.caveats import ENOUGH_SEEDS
from cluster.analysis.cells import missing_text
from cluster.analysis.counted import counted
from cluster.analysis.quality import Quality
from cluster.analysis.verdict import Arm, CellVerdict, First, GroupVerdict, Verdict
from cluster.report.failed import sentence

_NOUN = {"seconds": "time", "usd": "money", "updates": "updates", "examples": "examples"}


def sentences(verdict: Verdict) -> list[str]:
    """The whole verdict, most important first; several optimizers or dtypes follow one another."""
    lines = []
    for group in verdict.groups:
        if len(verdict.groups) > 1:
            lines.append(f"{group.optimizer}, {group.dtype}:")
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
    cannot = [f"cannot say: {one.text}" for group in verdict.groups for one in group.cannot]
    return cannot + [f"caution: {one.text}" for group in verdict.groups for one in group.caveats]


def _group(verdict: Verdict, group: GroupVerdict) -> Iterator[str]:
    cells = {cell.global_batch: cell for cell in group.cells}
    if group.nothing_learnt:
        yield nothing_learnt(verdict.declared.spec.get("task", ""), verdict.declared.baseline_loss or 0.0)
    for first in group.firsts:
        if first.measure in ("seconds", "usd"):
            yield _first(first, cells, verdict.declared.target)
    if group.arms:
        yield from _quality(group.arms[0], group, cells, verdict.declared.margin)
    yield from _unreliable(group)
    if group.arms:
        yield from _axes(group.arms, {batch for batch, cell in cells.items() if cell.reliable})
    yield from _knee(group)
    yield from _memory(group)
    yield from _noise(group)


def _first(first: First, cells: dict[int, CellVerdict], target: float | None) -> str:
    compared = [batch for batch, one in first.ratios.items() if one and batch not in first.not_told_apart]
    word = "soonest" if first.measure == "seconds" else "cheapest"
    price = f"{first.expected:.3g} s" if first.measure == "seconds" else f"{first.expected:.3g} usd"
    text = f"B = {first.global_batch} reached the target of {target:.4g} {word}: {price} a run"
    if compared:
        other = max(compared, key=lambda batch: first.ratios[batch].mean ** -1)  # type: ignore[union-attr]
        one = first.ratios[other]
        assert one is not None
        runs = f"{_success(cells[first.global_batch])} and {_success(cells[other])} runs"
        text += (
            f", {one.mean:.2f}x the {_NOUN[first.measure]} of B = {other} "
            f"(95 % CI {one.low:.2f}-{one.high:.2f}, {runs})"
        )
    if first.not_told_apart:
        text += f"; B = {_list(first.not_told_apart)} cannot be told apart from it"
    return f"{text}{_of_planned(cells, first.global_batch, *first.ratios)}."


def _success(cell: CellVerdict) -> str:
    assert cell.reach is not None
    return f"{cell.reach.success.reached} of {cell.reach.success.runs}"


def _of_planned(cells: dict[int, CellVerdict], *batches: int) -> str:
    """Which of these batch sizes are judged on fewer seeds than planned, and why; empty if none are."""
    incomplete = [
        f"on {cells[batch].completed} of {cells[batch].seeds} planned seeds at B = {batch} "
        f"({missing_text(cells[batch].missing)})"
        for batch in batches
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


def _quality(arm: Arm, group: GroupVerdict, cells: dict[int, CellVerdict], margin: float | None) -> Iterator[str]:
    reference = group.reference
    same = [one for one in arm.qualities if one.outcome == "equivalent"]
    if same:
        pairs = min(one.pairs for one in same)
        yield (
            f"Best validation loss at B = {_list(one.global_batch for one in same)} is equivalent to that of "
            f"B = {reference} within {margin:g} (TOST, n = {_pairs(pairs)})"
            f"{_of_planned(cells, *(one.global_batch for one in same), reference or 0)}."
        )
    for one in arm.qualities:
        if one.outcome in ("worse", "better"):
            yield (
                f"B = {one.global_batch} is {one.outcome} than B = {reference} by {abs(one.difference):.3g} "
                f"(95 % CI {one.low95:+.3g}..{one.high95:+.3g}, Holm p = {one.p_value:.2g}, n = {_pairs(one.pairs)}), "
                f"with {cells[one.global_batch].updates:,.0f} updates against {cells[reference or 0].updates:,.0f}"
                f"{_of_planned(cells, one.global_batch, reference or 0)}."
            )
    yield from (_undecided(one, cells, group, margin) for one in arm.qualities if one.outcome == "undecided")


def _pairs(pairs: int) -> str:
    """The number of pairs of seeds behind a conclusion, which is preliminary below ENOUGH_SEEDS."""
    return f"{pairs}, preliminary" if pairs < ENOUGH_SEEDS else f"{pairs}"


def _undecided(one: Quality, cells: dict[int, CellVerdict], group: GroupVerdict, margin: float | None) -> str:
    text = (
        f"B = {one.global_batch} against B = {group.reference}: undecided: difference {one.difference:+.3g}, 90 % CI "
        f"{one.low90:+.3g}..{one.high90:+.3g}"
    )
    text += _of_planned(cells, one.global_batch, group.reference or 0)
    if margin is None:
        return f"{text}, and no margin defines whether that matters."
    text += f" {'crosses' if abs(one.difference) < margin else 'reaches'} the margin of {margin:g}"
    seeds = group.seeds_needed[one.global_batch]
    if seeds is None:
        return f"{text}; no practical number of seeds would decide it."
    both = [cells[one.global_batch], cells[group.reference or 0]]
    hours = seeds * sum(cell.seconds or 0.0 for cell in both) / 3600
    costs = [cell.usd for cell in both]
    usd = "" if None in costs else f", {seeds * sum(cost or 0.0 for cost in costs):.2f} usd"
    return f"{text}; about {counted(seeds, 'more seed')} ({hours:.2g} h of one lane{usd}) would probably decide it."


def _axes(arms: Sequence[Arm], reliable: set[int]) -> Iterator[str]:
    """Whether the ranking changes with what is held equal; means only, without a claim. Survivors lead no ranking."""
    equal = {arm.clock: arm for arm in arms if arm.clock and reliable & arm.losses.keys()}
    best = {
        clock: min(reliable & arm.losses.keys(), key=lambda batch: (arm.losses[batch], batch))
        for clock, arm in equal.items()
    }
    if len(best) > 1 and any(len(reliable & arm.losses.keys()) > 1 for arm in equal.values()):
        winners = [f"at equal {clock} ({equal[clock].most:,.0f}) B = {best[clock]}" for clock in best]
        end = ": the ranking depends on what is held equal." if len(set(best.values())) > 1 else "."
        yield f"Lowest mean validation loss: {', '.join(winners)}{end}"


def _knee(group: GroupVerdict) -> Iterator[str]:
    knee, b20 = group.knee, group.b20
    if knee is not None and knee.critical_batch is not None:
        yield (
            f"Beyond B = {knee.critical_batch:.3g} (critical batch, 95 % CI {knee.low:.3g}-{knee.high:.3g}) larger "
            "batches save few updates."
        )
    elif knee is not None:
        bounds = [f"B_crit >= {knee.at_least:.3g}"] if knee.at_least is not None else []
        bounds += [f"B_crit <= {knee.at_most:.3g}"] if knee.at_most is not None else []
        yield f"Critical batch: {' and '.join(bounds) or 'not identified'}: {knee.reason}."
    if b20 is not None:
        bound = f"{b20.bound} " if b20.bound else ""
        yield f"Up to {bound}B = {b20.batch:.3g}, the target takes at most 1.2 times the fewest examples (B20)."


def _memory(group: GroupVerdict) -> Iterator[str]:
    sizes = [cell.micro_batch for cell in group.cells if cell.micro_batch is not None]
    if sizes:
        most = f"{counted(max(sizes), 'row')} {'was' if max(sizes) == 1 else 'were'}"
        yield (
            f"Memory depends on the micro-batch, not on B: at most {most} in the model at once. If memory allows only "
            "b rows, accumulate micro-batches of b, which gives the same result but is no faster, or train at B = b "
            "with the learning rate tuned for it."
        )


def _noise(group: GroupVerdict) -> Iterator[str]:
    scales = [cell.noise_scale for cell in group.cells if cell.noise_scale is not None]
    if scales:
        yield (
            f"Diagnostic: gradient noise scale {min(scales):.3g} to {max(scales):.3g} over the batch sizes; an order "
            "of magnitude only."
        )


def _list(batches: Iterable[int]) -> str:
    return ", ".join(map(str, batches))
