"""What the study that follows a first look would take, since the look itself proves nothing. Pure."""

from dataclasses import replace

from cluster.analysis.follow_up import MOST_SEEDS, RATES
from cluster.plan.first_study import FirstStudy
from cluster.study import protocol
from cluster.study.rules import Protocol


def deciding(found: FirstStudy) -> tuple[int, int, float, float]:
    """Its fewest and most trainings, and their seconds on as many lanes as the first look has."""
    study = found.plan.study
    batches = {point.trial.global_batch: point for point in found.plan.points}
    grid = [
        replace(point.trial, learning_rate=point.trial.learning_rate * (number + 1), seed=seed)
        for point in batches.values()
        for number in range(RATES)
        for seed in range(MOST_SEEDS)
    ]
    wanted = [protocol.expected(grid, Protocol(), at_first_look=first) for first in (True, False)]
    seconds = [sum(batches[one.global_batch].seconds for one in trials) / study.placed.lanes for trials in wanted]
    return len(wanted[0]), len(wanted[1]), seconds[0], seconds[1]
