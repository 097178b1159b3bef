"""How often a whole simulated study, screen and all, is wrong: false differences, and false equivalences.

    python -m tests.benchmarks.false_alarms [--studies 1000]

Every study has 6 batch sizes, 3 rates, 5 confirmed seeds and a margin of 0.05; a run's loss has a deviation of its own
(0.05 in the first line of figures, 0.02 in the second) beside what its seed shares. Where all are equal, a verdict
that calls any batch size worse or better is a false alarm; where one is worse by the margin exactly, a verdict that
calls it equivalent is one.
"""

import argparse
from collections.abc import Mapping

from scipy import stats

from cluster.analysis.quality import Quality
from cluster.analysis.verdict import judge
from tests.benchmarks import setting
from tests.support.simulated import BATCHES, World, spec_of, study

MARGIN, WORSE = 0.05, 512


def qualities(world: World) -> tuple[Quality, ...]:
    """The comparisons of a study in which every batch size reaches its floor."""
    rates = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}
    axes = {"global_batch": list(BATCHES), "learning_rate": rates, "seeds": 5}
    spec = spec_of(
        axes=axes,
        budget={"epochs": 12},
        evaluate_every={"epochs": 2},
        target=None,
        margin={"validation_loss": MARGIN},
    )
    return judge(*study(spec, world)).groups[0].qualities


def share(wrong: int, studies: int) -> str:
    """The share of wrong studies with its Wilson interval."""
    interval = stats.binomtest(wrong, studies).proportion_ci(0.95, method="wilson")
    return f"{wrong} of {studies} studies, {wrong / studies:.1%} (95 % CI {interval.low:.1%}-{interval.high:.1%})"


def main() -> None:
    """Simulate, and print both shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    options = parser.parse_args()

    def count(floors: Mapping[int, float], deviation: float, *outcomes: str, only: int | None = None) -> int:
        wrong = 0
        for number in range(options.studies):
            world = World(smin=2.0, floors=floors, run_deviation=deviation, random_seed=number)
            found = [one for one in qualities(world) if only in (None, one.global_batch)]
            wrong += any(one.outcome in outcomes for one in found)
        return wrong

    alarms = count({}, 0.05, "worse", "better")
    setting.figure("all equal, a batch size called different", share(alarms, options.studies), "<= 5 %")
    # The reference must be one of the others: the screen, which chooses it, sees the difference.
    at_margin = count({WORSE: 0.8 + MARGIN}, 0.02, "equivalent", only=WORSE)
    setting.figure("worse by the margin exactly, called equivalent", share(at_margin, options.studies), "<= 5 %")


if __name__ == "__main__":
    main()
