"""Costs from the study's own trials: what was measured of those that completed, where each kind of trial has one.

The costs are the guessed ones, multiplied so that the median trial of a kind takes what its rows say: an update's
seconds, and an evaluation's. Their range is that of the rows, but for one in ten at either end: one trial beside other
work can take ten times as long.
"""

from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from statistics import median

from cluster.plan.costs import Costs
from cluster.plan.costs_from_calibration import LEAST_SPREAD
from cluster.plan.costs_from_probe import Kind, Row, kind_of
from cluster.plan.estimate import Point
from cluster.study import experiment
from cluster.study.memory import MemoryModel
from trainer.order.layouts import ROWS_AT_MOST
from trainer.trial import TrialSpec

# One in so many rows may lie outside of the range, at either end.
OUTSIDE = 10


def costs_of(
    rows: Sequence[Row],
    points: Mapping[Kind, Point],
    guessed: Callable[[TrialSpec], Costs],
    *,
    longest: int,
    node_types: Container[str] | None,
) -> Callable[[TrialSpec], Costs] | None:
    """The costs of each trial from the study's completed `rows`; None unless all kinds of `points` have some.

    `points` are those of the guess, and `longest` is the padded length of the longest row. A row counts if its trial is
    like its point's, on one of `node_types` (None: on any): the same budget and evaluations, on as many workers, in
    micro-batches as large.
    """
    by_kind: dict[Kind, list[Row]] = defaultdict(list)
    for row in rows:
        kind = row["global_batch"], row["optimizer"], row["dtype"]
        here = node_types is None or row["node_type"] in node_types
        if here and kind in points and _alike(row, points[kind]):
            by_kind[kind].append(row)
    if by_kind.keys() != points.keys():
        return None
    found = {kind: _costs(by_kind[kind], point, guessed(point.trial), longest) for kind, point in points.items()}
    return lambda trial: found[kind_of(trial)]


def _alike(row: Row, point: Point) -> bool:
    asked = experiment.of_trial(point.trial)
    same = all(row[name] == asked[name] for name in ("budget", "evaluate_every"))
    layout = (row["workers"], row["micro_batch"]) == (point.workers, point.micro_batch)
    return same and layout and bool(row["updates"]) and bool(row["seconds_training"])


def _costs(rows: Sequence[Row], point: Point, guess: Costs, longest: int) -> Costs:
    each = sorted(row["seconds_training"] / row["updates"] for row in rows)
    middle, outside = median(each), len(each) // OUTSIDE
    training = middle / (point.seconds_training / point.updates)
    # A confirmation that reached its target ended before its budget.
    whole = [(row["seconds_evaluating"] or 0.0) * point.updates / row["updates"] for row in rows]
    evaluating = median(whole) / point.seconds_evaluating
    return replace(
        guess,
        seconds_per_update=guess.seconds_per_update * training,
        training=guess.training.times(training),
        evaluation=guess.evaluation.times(evaluating),
        low=min(each[outside] / middle, 1 / (1 + LEAST_SPREAD)),
        high=max(each[-1 - outside] / middle, 1 + LEAST_SPREAD),
        memory=_memory(rows, point, guess.memory, longest),
        bytes_per_shape=0.0,
        measured=True,
    )


def _memory(rows: Sequence[Row], point: Point, guess: MemoryModel, longest: int) -> MemoryModel:
    """The guessed model with another base: a worker with as many rows as there were holds the peak that was seen."""
    peak = max(row["peak_memory_bytes"] or 0 for row in rows)
    held = guess.bytes_per_place * max(point.micro_batch, min(point.trial.global_batch, ROWS_AT_MOST)) * longest
    return replace(guess, base_bytes=max(0.0, peak - held), least_bytes=0.0, measured=True) if peak else guess
