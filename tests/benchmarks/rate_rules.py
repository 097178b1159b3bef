"""What a rule for choosing learning rates loses: the fitted rate on one screen seed, the best of the grid on two.

    python -m tests.benchmarks.rate_rules [--studies 150]

Losses are formulas of the rate, the same shape at every batch size, with each batch size's best rate anywhere within
half a step of the middle of its five rates; a run has a deviation beside. The regret is how far the expected loss at
the chosen rate lies above the best one.
"""

import argparse
import math
from collections.abc import Callable

import numpy as np

from cluster.study.chosen_rates import BEST_OF_GRID, FITTED, Rule, choose
from tests.benchmarks import setting

GUESS = 2.4
Shape = Callable[[float], float]
# The loss above the best at so many doublings from the best rate.
SHAPES: dict[str, Shape] = {
    "as measured": lambda x: 0.029 * x**2 * (1 + 0.15 * np.tanh(x)),
    "parabola": lambda x: 0.05 * x**2,
    "flat below, steep above": lambda x: (0.025 if x < 0 else 0.1) * x**2,
    "steep below, flat above": lambda x: (0.1 if x < 0 else 0.025) * x**2,
    "flat below, cliff above": lambda x: 0.012 * x**2 if x < 0 else 0.2 * x**2 if x < 1.5 else 0.5 * x - 0.3,
    "wall 1.5 doublings above": lambda x: 0.05 * x**2 if x < 1.5 else math.inf,
    "wall 0.7 doublings above": lambda x: 0.05 * x**2 if x < 0.7 else math.inf,
}


def regret(shape: Shape, *, cells: int, factor: float, deviation: float, rule: Rule, seeds: int, studies: int) -> float:
    """The mean regret of a batch size; one at whose chosen rate a run diverges counts as if it had learnt nothing."""
    random, total = np.random.default_rng(0), 0.0
    for _ in range(studies):
        best = {
            (cell + 1, "adam", "float32", ""): random.uniform(-0.5, 0.5) * math.log2(factor) for cell in range(cells)
        }
        screened = {
            key: {
                factor**step: 1
                + shape(step * math.log2(factor) - away)
                + float(random.normal(0, deviation, seeds).mean())
                for step in range(-2, 3)
            }
            for key, away in best.items()
        }
        for key, choice in choose(screened, rule, GUESS).cells.items():
            lost = shape(math.log2(choice.rate) - best[key])
            total += lost if math.isfinite(lost) else GUESS - 1
    return total / studies / cells


def main() -> None:
    """Print the regrets of both rules side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=150)
    options = parser.parse_args()
    for cells in (2, 3, 6):
        for name, shape in SHAPES.items():
            for factor in (3.0, 2.0):
                for deviation in (0.06, 0.02, 0.005):
                    world = {"cells": cells, "factor": factor, "deviation": deviation, "studies": options.studies}
                    found = [
                        regret(shape, rule=rule, seeds=seeds, **world)  # type: ignore[arg-type]
                        for rule, seeds in ((FITTED, 1), (FITTED, 2), (BEST_OF_GRID, 2))
                    ]
                    told = "fitted on 1 seed {:.4f}, on 2 {:.4f}; best of grid on 2 {:.4f}".format(*found)
                    setting.figure(f"{cells} cells, {name}, factor {factor:g}, deviation {deviation:g}", told, "")


if __name__ == "__main__":
    main()
