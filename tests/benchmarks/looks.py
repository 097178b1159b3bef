"""How often a study in looks is wrong in any of its comparisons, how much it decides, and what it costs.

    python -m tests.benchmarks.looks [--studies 2000] [--sum 1]

Losses are simulated without trainings (`tests.support.look_worlds`): run deviations of 1 beside what a seed shares, and
margins in deviations of a paired difference: 1, or 0.2 where all are equal, so that it forgives nothing. A study is
wrong if any comparison, of any optimizer, at any look, is called different although it is equal, or equivalent although
it differs by the margin. Beside it what the rule of earlier versions does in the same worlds: all seeds at once, or at
every look, and Holm within each optimizer alone.
"""

import argparse
import math
from collections.abc import Callable

import numpy as np

from cluster.study.looks import Looks, decide, looks_of
from tests.benchmarks import setting
from tests.benchmarks.false_alarms import share
from tests.support.look_worlds import LookWorld, played

PAIRED = math.sqrt(2)
# README's study: of five batch sizes compared, two equal, one within, one about as bad as the margin, one far worse.
FLAGSHIP = (0.0, 0.0, 0.1, 0.3, 1.0, 2.0)


def wrong(world: LookWorld, looks: Looks, margin: float, studies: int, claim: str) -> tuple[int, float, float]:
    """In how many studies some comparison has this claim; the mean share decided, and mean confirmations."""
    random = np.random.default_rng(0)
    found, decided, trained = 0, 0.0, 0.0
    for _ in range(studies):
        decisions, confirmations = played(world, looks, margin, random)
        found += any(one.claim == claim for one in decisions.values())
        decided += sum(one.claim is not None for one in decisions.values()) / len(decisions)
        trained += confirmations
    return found, decided / studies, trained / studies


def earlier(world: LookWorld, margin: float, studies: int, claim: str, looks: tuple[int, ...]) -> int:
    """In how many studies the rule of earlier versions claims it, at the first of these looks that does."""
    random, found = np.random.default_rng(0), 0

    def claims(differences: dict[object, list[float]], seeds: int) -> bool:
        cut = {key: values[:seeds] for key, values in differences.items()}
        return any(one.claim == claim for one in decide(cut, margin, looks_of("none", seeds)).values())

    most = looks[-1]
    for _ in range(studies):
        shared = random.normal(0, world.seed_deviation, most)
        groups = [[loss + shared + random.normal(0, world.deviation, most) for loss in one] for one in world.losses]
        apart = [{number: (cell - cells[0]).tolist() for number, cell in enumerate(cells[1:])} for cells in groups]
        found += any(claims(one, seeds) for seeds in looks for one in apart)  # type: ignore[arg-type]
    return found


def main() -> None:
    """Simulate, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--sum", type=float, default=1.0, help="of the weights of several looks, 1 in the product")
    options = parser.parse_args()

    def looks_at(most: int) -> Looks:
        found = looks_of("auto", most)
        scale = options.sum if len(found.seeds) > 1 else 1.0
        return Looks(found.seeds, tuple(scale * weight for weight in found.weights))

    margin, studies = PAIRED, options.studies
    margins = {"different": 0.2 * PAIRED, "equivalent": PAIRED}

    def equal(cells: int, groups: int = 1) -> LookWorld:
        return LookWorld(losses=[[0.0] * cells] * groups)

    def at_margin(cells: int, groups: int = 1, of: float = 1.0) -> LookWorld:
        return LookWorld(losses=[[0.0, *[of * margin] * (cells - 1)]] * groups)

    worlds: list[tuple[str, Callable[[], LookWorld], str]] = [
        *((f"{k} equal batch sizes", lambda k=k: equal(k), "different") for k in (2, 3, 6, 12)),
        *((f"6 equal batch sizes, {g} optimizers", lambda g=g: equal(6, g), "different") for g in (2, 4, 8)),
        *((f"{k - 1} worse by the margin", lambda k=k: at_margin(k), "equivalent") for k in (2, 4, 6, 12)),
        *((f"5 worse by the margin, {g} optimizers", lambda g=g: at_margin(6, g), "equivalent") for g in (2, 4, 8)),
    ]
    for most in (5, 10, 14, 20):
        looks = looks_at(most)
        for name, world, claim in worlds:
            found, _, _ = wrong(world(), looks, margins[claim], studies, claim)
            setting.figure(f"at most {most} seeds, {name}: called {claim}", share(found, studies), "<= 5 %")
    for name, world, claim in worlds:
        for seeds in ((5,), tuple(range(5, 21))):
            found = earlier(world(), margins[claim], studies, claim, seeds)
            when = "5 seeds" if len(seeds) == 1 else "a look at every seed from 5 to 20"
            setting.figure(f"before, {when}, {name}: called {claim}", share(found, studies), "for comparison")
    for sizes in (1.0, 1.25, 1.5, 2.0):
        for most in (5, 10, 14, 20):
            for name, losses in (("all equal", (0.0,) * 6), ("README's truth", FLAGSHIP)):
                scaled = LookWorld(losses=[[loss * sizes * PAIRED for loss in losses]])
                _, decided, trained = wrong(scaled, looks_at(most), sizes * PAIRED, studies, "different")
                told = f"{decided:.0%} decided by {trained:.0f} confirmations"
                setting.figure(f"margin of {sizes:g} deviations, at most {most} seeds, {name}", told, "")


if __name__ == "__main__":
    main()
