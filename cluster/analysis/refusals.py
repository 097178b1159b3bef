"""What a study cannot show, and why: what its verdict states instead of a number. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from cluster.analysis import learnt
from cluster.analysis.caveats import ENOUGH_SEEDS
from cluster.analysis.cells import Cell, missing_text
from cluster.analysis.declared import Declared
from cluster.analysis.reach import CellReach
from cluster.study.looks import FEWEST_PAIRS


@dataclass(frozen=True, kw_only=True)
class Cannot:
    """Something that cannot be concluded: a stable `code`, what, why with the remedy, and the trials that caused it."""

    code: str
    text: str
    trials: tuple[str, ...] = ()


Reaches = Mapping[int, CellReach]
_ANOTHER_STUDY = "a study of another name, on other seeds, can declare it before it looks"
_TARGETS = {"declared": "a target", "automatic": "an automatic target", None: ""}


def usable(cell: Cell) -> bool:
    """Whether a cell supports conclusions: tuned on other seeds, not at an edge, and confirmed on three or more."""
    return cell.tuned and not cell.at_edge and len(cell.rates) > 1 and _completed(cell) >= FEWEST_PAIRS


def _completed(cell: Cell) -> int:
    return sum(math.isfinite(run.best_loss()) for run in cell.runs)


def refusals(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> tuple[Cannot, ...]:
    """Everything that a group of cells cannot show."""
    return tuple(chain.from_iterable(check(cells, reaches, known) for check in _CHECKS))


def nothing_shown(known: Declared) -> Cannot:
    """The refusal to conclude anything where nothing was learnt."""
    assert known.baseline_loss is not None
    task = known.spec.get("task", "")
    return Cannot(code="nothing_learnt", text=f"{learnt.said(task, known.baseline_loss)}; {learnt.remedy(task)}")


def _ids(cells: Iterable[Cell]) -> tuple[str, ...]:
    return tuple(run.trial_id for cell in cells for run in (*cell.searched, *cell.runs))


def _batches(cells: Iterable[Cell]) -> str:
    return ", ".join(str(cell.global_batch) for cell in cells)


def _one_batch(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> Iterable[Cannot]:
    if len(cells) == 1:
        asked = known.spec.get("axes", {}).get("global_batch") or []
        more = "let the study finish" if len(asked) > 1 else "list more in axes.global_batch"
        text = f"which batch size is better: there is only one, {cells[0].global_batch}; {more}"
        yield Cannot(code="one_batch", text=text)


def _not_tuned(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> Iterable[Cannot]:
    if not any(cell.tuned for cell in cells):
        several = any(len(cell.rates) > 1 for cell in cells)
        why = (
            "the learning rates were chosen by the same runs that would be judged"
            if several
            else "each batch size had one learning rate, which may suit one batch size and not another"
        )
        has = known.spec.get("protocol") is not None
        remedy = "let the study finish" if has else "add `protocol: {}` to the study"
        text = f"whether any batch size is better or equivalent: {why}; {remedy}"
        yield Cannot(code="not_tuned", text=text)


def _edges(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> Iterable[Cannot]:
    at_edge = [cell for cell in cells if cell.tuned and cell.at_edge]
    if at_edge:
        text = (
            f"anything about B = {_batches(at_edge)}: a better learning rate may lie beyond those tried; widen "
            "axes.learning_rate or raise protocol.extensions"
        )
        yield Cannot(code="rate_at_edge", text=text, trials=_ids(at_edge))


def _seeds(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> Iterable[Cannot]:
    unconfirmed = [
        cell for cell in cells if cell.tuned and not cell.at_edge and cell.reliable and _completed(cell) < FEWEST_PAIRS
    ]
    if unconfirmed:
        gone = "; ".join(
            f"B = {cell.global_batch}: {missing_text(cell.missing)}" for cell in unconfirmed if cell.missing
        )
        text = (
            f"anything about B = {_batches(unconfirmed)}: it is confirmed on fewer than {FEWEST_PAIRS} seeds"
            f"{f' ({gone})' if gone else ''}, so its noise is not known; let the study finish"
            f"{'' if len(known.spec['axes']['seeds']) >= ENOUGH_SEEDS else f', or set axes.seeds to {ENOUGH_SEEDS}'}"
        )
        yield Cannot(code="few_confirmations", text=text, trials=_ids(unconfirmed))


def _unreliable(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> Iterable[Cannot]:
    for cell in cells:
        lost = [run for run in cell.runs if run.diverged]
        if cell.tuned and lost:
            text = (
                f"whether B = {cell.global_batch} is equivalent, better or soonest: {len(lost)} of {len(cell.planned)} "
                "planned confirmations diverged, and the survivors make it look better than it is; lower "
                "axes.learning_rate, or set clip_norm"
            )
            yield Cannot(code="unreliable", text=text, trials=tuple(run.trial_id for run in lost))


def _diverged(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> Iterable[Cannot]:
    runs = [run for cell in cells for run in (*cell.searched, *cell.runs)]
    if runs and all(run.diverged for run in runs):
        text = "anything about losses: every trial diverged; lower axes.learning_rate, or set clip_norm"
        yield Cannot(code="all_diverged", text=text, trials=_ids(cells))


def _margin(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> Iterable[Cannot]:
    if known.margin_late and known.margin is not None:
        newest = (known.spec.get("margin") or {}).get("validation_loss")
        late = "that the newest spec has no margin" if newest is None else f"the margin of {newest:g}"
        text = (
            f"anything by another margin: {late} does not count, because the confirmations began under the margin "
            f"of {known.margin:g}, which is used; {_ANOTHER_STUDY}"
        )
        yield Cannot(code="late_margin", text=text)
    elif known.margin_late:
        text = (
            "whether batch sizes are equivalent: the margin was declared after the confirmations began; "
            f"{_ANOTHER_STUDY}"
        )
        yield Cannot(code="late_margin", text=text)
    elif known.margin is None:
        text = (
            "whether batch sizes are equivalent: no margin defines which differences matter; declare `margin` before "
            "the run"
        )
        yield Cannot(code="no_margin", text=text)


def _late_target(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> Iterable[Cannot]:
    if known.target_late and known.target is not None:
        text = (
            "which batch size reaches another target soonest: the newest spec's target does not count, because the "
            f"confirmations began under {_TARGETS[known.target_source]} of {known.target:.4g}, which is used; "
            f"{_ANOTHER_STUDY}"
        )
        yield Cannot(code="late_target", text=text)
    elif known.target_late:
        text = (
            "which batch size reaches the target soonest: the target was declared after the confirmations began; "
            f"{_ANOTHER_STUDY}"
        )
        yield Cannot(code="late_target", text=text)


def _target(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> Iterable[Cannot]:
    if known.target is None and known.target_late:
        return
    if known.target is None:
        auto = known.spec.get("target") == "auto"
        why = "an automatic target needs a finished screen; add `protocol: {}`" if auto else "set target: auto"
        yield Cannot(code="no_target", text=f"which batch size is soonest: there is no target; {why}")
    elif reaches and not any(run.reached for one in reaches.values() for run in one.runs):
        text = (
            f"which batch size is soonest: no run reached the target of {known.target:.4g}; train longer, or declare "
            "an easier target in another study"
        )
        trials = tuple(run.trial_id for one in reaches.values() for run in one.runs)
        yield Cannot(code="nobody_reached", text=text, trials=trials)
    elif reaches and all(one.measures["usd"] is None for one in reaches.values()):
        yield Cannot(code="no_price", text="which batch size is cheapest: these machines have no known price")


def _stopped(cells: Sequence[Cell], reaches: Reaches, known: Declared) -> Iterable[Cannot]:
    if known.stops_at_target:
        text = "which loss a batch size can attain: runs stopped at the target; remove protocol.stop_at_target"
        yield Cannot(code="stopped_at_target", text=text)


_CHECKS: tuple[Callable[[Sequence[Cell], Reaches, Declared], Iterable[Cannot]], ...] = (
    _diverged,
    _one_batch,
    _not_tuned,
    _edges,
    _seeds,
    _unreliable,
    _margin,
    _late_target,
    _target,
    _stopped,
)
