"""The study that decides what another one left open, from that one's rows: its spec, and what it takes. Pure.

After a protocol, this is the undecided comparison that fresh seeds decide most easily (`cluster.analysis.next_step`),
as a study of two batch sizes. Seeds added under the old name would decide nothing, since its looks were declared
without them. After a plain grid, or a protocol without a margin, nothing can be decided from the runs that are there:
the study that follows has the same axes, a protocol, a margin, and a target. All confirm on seeds that no run has seen.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, groupby, islice
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from cluster.analysis.next_step import NextStep, side_by_side
from cluster.analysis.power import decidable
from cluster.analysis.verdict import GroupVerdict, Verdict, judge
from cluster.study import axes, identity, protocol
from cluster.study.forms import FULL
from cluster.study.looks import NONE
from cluster.study.names import free_name
from cluster.study.rules import Protocol, RateRule
from cluster.study.seeds import SCREEN_SEEDS
from cluster.study.spec import StudySpec, ValidationLoss, parse
from cluster.summary import query
from cluster.summary.tables import CANCELLED, COMPLETED
from trainer.trial import TrialSpec

# At most so many seeds confirm; what is decided after 5, 7 or 10 stops there.
MOST_SEEDS = 14
RATES = 5
# Of batch sizes.
FEWEST = 2
# A margin does not follow from the data, so a file without one gets an example; noise tells what so many seeds decide.
EXAMPLE_MARGIN = 0.05
PAIRS_OF_A_MARGIN = 10

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """The study that follows.

    `step` is the comparison that it repeats; None if it tunes and confirms every batch size. `undecided` are the batch
    sizes that are not told apart from their reference. `trainings` and `seconds` are the fewest and the most; the
    seconds are from the measured ones (None: not known), with as many trainings at once. `margin` is where its margin
    comes from: declared in the study before it, or only an example. `decidable_margin` is then the smallest that
    PAIRS_OF_A_MARGIN seeds decide by that study's noise; None if it is not known. `left_out` are the batch sizes for
    which there is no time.
    """

    spec: StudySpec
    before: str
    step: NextStep | None
    undecided: tuple[int, ...]
    trainings: tuple[int, int]
    seconds: tuple[float, float] | None
    margin: Literal["declared", "example"]
    decidable_margin: float | None = None
    left_out: tuple[int | str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NoFollowUp:
    """Why no study follows: everything is decided, or a code for what stands in the way and its explanation."""

    code: Literal["decided", "unfinished", "one_batch", "no_answer", "not_judged", "out_of_reach"]
    text: str = ""


def follow_up(
    studies: pa.Table,
    trials: pa.Table,
    evaluations: pa.Table,
    *,
    taken: Collection[str],
    seconds_at_most: float = math.inf,
) -> FollowUp | NoFollowUp:
    """The study that follows one study, given its rows in the three tables; `taken` are the names of all studies.

    If it tunes and confirms every batch size, that takes at most `seconds_at_most`, or it is of fewer batch sizes, the
    smallest and the largest at least.

    Raises:
        InputError: the stored spec cannot be read by this version.
    """
    row = studies.to_pylist()[-1]
    before = identity.stored(row["spec_json"], where=f"the stored spec of {row['study']}")
    newest = query.newest(trials, studies)
    states = query.states(newest)
    ended = states["trials"] - states[CANCELLED.lower()]
    if row["trials"] is not None and ended < row["trials"]:
        return NoFollowUp(code="unfinished", text=f"{ended} of {row['trials']} trials have ended")
    completed = [one for one in query.finished(newest).to_pylist() if one["state"] == COMPLETED]
    if not completed:
        return NoFollowUp(code="no_answer")
    if len(before.axes.global_batch) < 2:
        return NoFollowUp(code="one_batch", text=str(before.axes.global_batch[0]))
    seen = {seed for seed in trials["seed"].to_pylist() if seed is not None}
    verdict = judge(studies, trials, evaluations)
    if verdict.groups and all(group.nothing_learnt for group in verdict.groups):
        return NoFollowUp(code="not_judged", text=_reasons(verdict))
    name = free_name(before.study, "next", taken)
    if before.protocol is None or verdict.declared.margin is None:
        sizes = before.axes.global_batch
        counts = range(len(sizes), 1, -1)
        found = (_all_again(before, name, row, completed, seen, _spread(sizes, count)) for count in counts)
        return next(one for one in found if _is_in(one, seconds_at_most) or len(one.spec.axes.global_batch) == FEWEST)
    return _two_again(before, name, row, verdict, seen)


def _all_again(
    before: StudySpec,
    name: str,
    row: Mapping[str, Any],
    completed: Rows,
    seen: Collection[int],
    sizes: tuple[int | str, ...],
) -> FollowUp:
    """These sizes with a protocol, a margin and a target. Runs that stop at a target have no losses to compare."""
    rules = (before.protocol or Protocol()).model_copy(update={"stop_at_target": False})
    margin = before.margin or ValidationLoss(validation_loss=EXAMPLE_MARGIN)
    spec = _checked(
        before,
        study=name,
        axes=before.axes.model_copy(
            update={"global_batch": sizes, "learning_rate": _rates(before), "seeds": _fresh(seen, MOST_SEEDS)}
        ),
        budget=_budget_of(before, sizes),
        protocol=rules,
        margin=margin,
        target=before.target or "auto",
    )
    grid = axes.trials(spec, data_hash=row["data_hash"], train_rows=row["train_rows"])
    wanted = [protocol.expected(grid, rules, at_first_look=first) for first in (True, False)]
    fewest, most = (_seconds(trials, completed) for trials in wanted)
    return FollowUp(
        spec=spec,
        before=before.study,
        step=None,
        undecided=tuple(sorted({trial.global_batch for trial in grid})),
        trainings=(len(wanted[0]), len(wanted[1])),
        seconds=None if fewest is None or most is None else (fewest, most),
        margin="example" if before.margin is None else "declared",
        decidable_margin=_decidable(completed) if before.margin is None else None,
        left_out=tuple(size for size in before.axes.global_batch if size not in sizes),
    )


def _spread(sizes: Sequence[int | str], count: int) -> tuple[int | str, ...]:
    """So many of the sizes, with the smallest and the largest, in their order."""
    rising = sorted(sizes, key=lambda size: math.inf if isinstance(size, str) else size)
    kept = {rising[round(number * (len(rising) - 1) / (count - 1))] for number in range(count)}
    return tuple(size for size in sizes if size in kept)


def _is_in(found: FollowUp, seconds_at_most: float) -> bool:
    return found.seconds is None or found.seconds[1] <= seconds_at_most


def _budget_of(before: StudySpec, sizes: Sequence[int | str]) -> Any:
    budget = before.budget
    return {size: budget[size] for size in sizes} if isinstance(budget, dict) else budget


def _two_again(
    before: StudySpec, name: str, row: Mapping[str, Any], verdict: Verdict, seen: Collection[int]
) -> FollowUp | NoFollowUp:
    """The undecided comparison of any group that needs the fewest seeds, on fresh ones and at one look."""
    open_ones = [one for group in verdict.groups for one in group.qualities if one.outcome == "undecided"]
    undecided = tuple(sorted({one.global_batch for one in open_ones}))
    steps = [(group, group.next_step) for group in verdict.groups if group.next_step is not None]
    if not steps and not undecided:
        reasons = "; ".join(one.text for group in verdict.groups for one in group.cannot)
        judged = all(group.qualities for group in verdict.groups)
        return NoFollowUp(code="decided" if judged else "not_judged", text=reasons)
    if any(
        one.seeds < one.most_seeds for group in verdict.groups for one in group.qualities if one.outcome == "undecided"
    ):
        return NoFollowUp(code="unfinished", text="its looks go on")
    reachable = [(group, step, step.seeds_needed) for group, step in steps if step.seeds_needed is not None]
    if not reachable:
        return NoFollowUp(code="out_of_reach", text=", ".join(map(str, undecided)))
    group, step, seeds = min(reachable, key=lambda one: one[2])
    spec = _of_two(before, name, row["train_rows"], group, step, _fresh(seen, seeds))
    grid = axes.trials(spec, data_hash=row["data_hash"], train_rows=row["train_rows"])
    trainings = len(protocol.expected(grid, spec.protocol))
    seconds = step.seconds_screen + seeds * step.seconds_seed
    return FollowUp(
        spec=spec,
        before=before.study,
        step=step,
        undecided=undecided,
        trainings=(trainings, trainings),
        seconds=(seconds, seconds),
        margin="declared",
    )


def _reasons(verdict: Verdict) -> str:
    return "; ".join(one.text for group in verdict.groups for one in group.cannot)


def _of_two(
    before: StudySpec, name: str, train_rows: int, group: GroupVerdict, step: NextStep, seeds: tuple[int, ...]
) -> StudySpec:
    assert before.protocol is not None
    two = (step.global_batch, step.reference)
    batches = tuple(one for one in before.axes.global_batch if (train_rows if one == FULL else one) in two)
    [variant] = [
        one
        for one in axes.settings_of(before)
        if one.optimizer == group.optimizer and (one.name or "") == group.settings
    ]
    narrowed: dict[str, object] = {
        "global_batch": batches,
        "optimizer": (group.optimizer,),
        "dtype": (group.dtype,),
        "seeds": seeds,
        **{axis: (getattr(variant, axis),) if axis in variant.axes else None for axis in ("beta1", "weight_decay")},
    }
    if isinstance(before.axes.learning_rate, RateRule):
        narrowed["learning_rate"] = _around_found(before.axes.learning_rate, group, step.reference)
    return _checked(
        before,
        study=name,
        axes=before.axes.model_copy(update=narrowed),
        budget=_budget_of(before, batches),
        protocol=before.protocol.model_copy(update={"looks": NONE}),
    )


def _checked(before: StudySpec, **changes: Any) -> StudySpec:
    """The spec with other values, checked like one that was read."""
    return parse(identity.whole_json(before.model_copy(update=changes)), where="the study that follows")


def _rates(before: StudySpec) -> tuple[float, ...] | RateRule:
    """Rates enough to tune: those of the study if they are, or RATES of them around its own."""
    rates = before.axes.learning_rate
    if isinstance(rates, RateRule):
        return rates.model_copy(update={"points": max(RATES, rates.points)})
    if len(rates) >= RATES:
        return tuple(sorted(rates))
    middle = math.exp(math.fsum(map(math.log, rates)) / len(rates))
    return RateRule(around=float(f"{middle:.3g}"), rule="none", points=RATES)


def _around_found(rule: RateRule, group: GroupVerdict, reference: int) -> RateRule:
    """The same rates, moved so that the middle one at the reference is the one that was found best there."""
    [rate] = [cell.learning_rate for cell in group.cells if cell.global_batch == reference]
    return rule.model_copy(update={"around": float(f"{rate:.3g}"), "at": reference})


def _fresh(seen: Collection[int], number: int) -> tuple[int, ...]:
    """The lowest seeds that no run has had and no screen takes."""
    return tuple(islice((seed for seed in count() if seed not in seen and seed not in SCREEN_SEEDS), number))


def _decidable(completed: Rows) -> float | None:
    """The smallest margin that PAIRS_OF_A_MARGIN seeds decide at the deviation over seeds; None without one."""
    names = (*query.POINT, "settings", "phase")
    ordered = sorted(completed, key=lambda row: [str(row[name]) for name in names])
    points = [
        [row["best_validation_loss"] for row in rows]
        for _, rows in groupby(ordered, key=lambda row: [row[name] for name in names])
    ]
    variances = [np.var(losses, ddof=1) for losses in points if len(losses) > 1 and None not in losses]
    deviation = math.sqrt(float(np.mean(variances))) if variances else 0.0
    if not deviation:
        return None
    # As in `cluster.analysis.noise`: nothing is taken to be common to two runs of one seed.
    return _rounded_up(decidable(PAIRS_OF_A_MARGIN, math.sqrt(2) * deviation))


def _rounded_up(number: float) -> float:
    """The next number of two significant digits."""
    step = 10.0 ** (math.floor(math.log10(number)) - 1)
    return float(f"{math.ceil(number / step) * step:.2g}")


def _seconds(trials: Sequence[TrialSpec], completed: Rows) -> float | None:
    """The seconds of trials, by the mean of completed ones of their batch size; of other sizes, by the longest."""
    spans: dict[int, list[float]] = {}
    for row in completed:
        spans.setdefault(row["global_batch"], []).append((row["ended_at"] - row["started_at"]).total_seconds())
    means = {batch: max(0.0, sum(seconds) / len(seconds)) for batch, seconds in spans.items()}
    longest = max(means.values())
    if not longest:
        return None
    return sum(means.get(trial.global_batch, longest) for trial in trials) / side_by_side(completed)
