"""How often a whole simulated study, screen and all, is wrong in what it says.

    python -m tests.benchmarks.false_alarms [--studies 1000] [--only N[,N]]

Each world is a line of figures. All have a margin of 0.05 and 5 confirmed seeds unless the line says otherwise; a run's
loss has a deviation of its own beside what its seed shares. Where all are equal, a verdict that calls any batch size
worse or better is a false alarm; where one is worse by the margin exactly, one that calls it equivalent; where one is
the soonest, a set without it; where some runs of a batch size diverge, one that calls it equivalent, better or soonest.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from cluster.analysis.verdict import Verdict, judge
from tests.benchmarks import setting
from tests.support.simulated import BATCHES, World, spec_of, study

MARGIN, WORSE = 0.05, 512
RATES = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}
FIVE_RATES = {**RATES, "points": 5}
# So quick that every batch size is at its floor when the budget ends.
QUICK = {"budget": {"epochs": 12}, "evaluate_every": {"epochs": 2}, "target": None}
# At this law 36 rows take the fewest seconds, and the others hardly more.
NEARLY_EQUAL = (32, 36, 40)


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A world, the study of it, and what it must not say; `at_most` is the goal for its share of wrong studies."""

    says: str
    world: Callable[[int], World]
    wrong: Callable[[Verdict], bool]
    axes: Mapping[str, Any]
    spec: Mapping[str, Any]
    at_most: str = "<= 5 %"


def called(verdict: Verdict, *outcomes: str, only: int | None = None) -> bool:
    """Whether any comparison, or any of this batch size, has one of these outcomes."""
    found = [one for group in verdict.groups for one in group.qualities]
    return any(one.outcome in outcomes for one in found if only in (None, one.global_batch))


def equal(number: int, *, deviation: float = 0.05, **changed: Any) -> World:
    return World(smin=2.0, run_deviation=deviation, random_seed=number, **changed)


def between_rates(number: int) -> World:
    """All equally good, each at a rate anywhere between two of those tried."""
    offsets = np.random.default_rng(number).uniform(-0.5, 0.5, len(BATCHES)).tolist()
    return equal(number, deviation=0.005, rate_penalty=0.07, best_rates=dict(zip(BATCHES, offsets, strict=True)))


def noisy_rates(number: int) -> World:
    """The same, with a run's deviation as large as in a real screen, and its curvature."""
    offsets = np.random.default_rng(number).uniform(-0.5, 0.5, len(BATCHES)).tolist()
    return equal(number, deviation=0.06, rate_penalty=0.073, best_rates=dict(zip(BATCHES, offsets, strict=True)))


def some_diverge(number: int) -> World:
    """Of one batch size, one to three of the five confirmations diverge; the others end as well as any."""
    draw = np.random.default_rng(number)
    seeds = draw.choice(5, draw.integers(1, 4), replace=False).tolist()
    return equal(number, deviation=0.02, ends={(WORSE, seed): "DIVERGED" for seed in seeds})


def without_the_soonest(verdict: Verdict) -> bool:
    [quick] = [one for one in verdict.groups[0].soonest if one.measure == "seconds"]
    return NEARLY_EQUAL[1] not in quick.candidates


def trusted(verdict: Verdict) -> bool:
    soon = [batch for group in verdict.groups for one in group.soonest for batch in one.candidates]
    return called(verdict, "equivalent", "better", only=WORSE) or WORSE in soon


PROMISES = (
    Promise(
        says="all equal, a batch size called different",
        world=equal,
        wrong=lambda verdict: called(verdict, "worse", "better"),
        axes={},
        spec=QUICK,
    ),
    Promise(
        says="worse by the margin exactly, called equivalent",
        world=lambda number: equal(number, deviation=0.02, floors={WORSE: 0.8 + MARGIN}),
        wrong=lambda verdict: called(verdict, "equivalent", only=WORSE),
        axes={},
        spec=QUICK,
    ),
    Promise(
        says="best rates between those tried, margin 0.01, called different",
        world=between_rates,
        wrong=lambda verdict: called(verdict, "worse", "better"),
        axes={"learning_rate": FIVE_RATES},
        spec={**QUICK, "margin": {"validation_loss": 0.01}},
    ),
    Promise(
        says="the same by the old rule, best_of_grid (a control: must be wrong)",
        world=between_rates,
        wrong=lambda verdict: called(verdict, "worse", "better"),
        axes={"learning_rate": FIVE_RATES},
        spec={**QUICK, "margin": {"validation_loss": 0.01}, "protocol": {"rates": "best_of_grid"}},
        at_most="> 5 %",
    ),
    Promise(
        says="best rates between those tried, a deviation of 0.06, called different",
        world=noisy_rates,
        wrong=lambda verdict: called(verdict, "worse", "better"),
        axes={"learning_rate": FIVE_RATES},
        spec=QUICK,
    ),
    Promise(
        says="two optimizers, all equal, margin 0.01, called different",
        world=equal,
        wrong=lambda verdict: called(verdict, "worse", "better"),
        axes={"optimizer": ["adam", "sgd"]},
        spec={**QUICK, "margin": {"validation_loss": 0.01}},
    ),
    Promise(
        says="at most 14 seeds in looks, all equal, called different",
        world=equal,
        wrong=lambda verdict: called(verdict, "worse", "better"),
        axes={"seeds": 14},
        spec=QUICK,
    ),
    Promise(
        says="some runs of one diverge, and it is called equivalent, better or soonest",
        world=some_diverge,
        wrong=trusted,
        axes={},
        spec={**QUICK, "target": {"validation_loss": 1.2}},
    ),
    Promise(
        says="three of nearly equal speed, the soonest is not in the set",
        world=lambda number: World(smin=40.0, run_deviation=0.05, random_seed=number),
        wrong=without_the_soonest,
        axes={"global_batch": NEARLY_EQUAL},
        spec={"budget": {"epochs": 20}},
    ),
)


def is_wrong(place: int, number: int) -> bool:
    """Whether the study of this number in the world at this place says what it must not."""
    promise = PROMISES[place]
    axes = {"global_batch": list(BATCHES), "learning_rate": RATES, "seeds": 5, **promise.axes}
    spec = spec_of(**{"axes": axes, "margin": {"validation_loss": MARGIN}, **promise.spec})
    return promise.wrong(judge(*study(spec, promise.world(number))))


def share(wrong: int, studies: int) -> str:
    """The share of wrong studies with its Wilson interval."""
    interval = stats.binomtest(wrong, studies).proportion_ci(0.95, method="wilson")
    return f"{wrong} of {studies} studies, {wrong / studies:.1%} (95 % CI {interval.low:.1%}-{interval.high:.1%})"


def main() -> None:
    """Simulate, and print the share of each world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--only", metavar="N[,N]", help="the worlds at these places, from 1; all if left out")
    options = parser.parse_args()
    chosen = [int(one) - 1 for one in options.only.split(",")] if options.only else range(len(PROMISES))
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for place in chosen:
            wrong = sum(processes.map(partial(is_wrong, place), range(options.studies), chunksize=8))
            setting.figure(PROMISES[place].says, share(wrong, options.studies), PROMISES[place].at_most)


if __name__ == "__main__":
    main()
