"""What one, two and `auto` screen seeds cost, and how often a batch size is then confirmed at a bad rate.

    python -m tests.benchmarks.screen_seeds [--studies 100]

The product's own screens, with extensions, on losses that are formulas of the rate, as in `rate_rules`. Each batch
size's best rate lies anywhere within two doublings of the middle of its five rates. Told are the trainings of a screen,
the mean loss above that of the best rate, and the studies of six batch sizes in which one is confirmed at a rate that
loses more than half the margin.
"""

import argparse
import json
import statistics
from collections.abc import Mapping
from itertools import chain

import numpy as np

from cluster.study import axes, protocol
from cluster.study.spec import StudySpec, parse
from tests.benchmarks import setting
from tests.benchmarks.rate_rules import GUESS, SHAPES, Shape
from trainer.trial import TrialSpec

BATCHES = (16, 32, 64, 128, 256, 512)
MARGIN = 0.1


def on_articles(doublings: float) -> float:
    """About what an LSTM on the bundled articles loses at B = 16, at so many doublings from its best rate."""
    if doublings < 0:
        return 0.015 * doublings**2
    return 0.16 * doublings**2 if doublings < 2 else 0.64 * (doublings - 1)


def spec_of(screen_seeds: int | str, factor: float) -> StudySpec:
    """A study of six batch sizes whose confirmations are not run."""
    whole = {
        "study": "s",
        "data": "d",
        "task": "classification",
        "axes": {
            "global_batch": list(BATCHES),
            "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5, "factor": factor},
            "seeds": 5,
        },
        "budget": {"epochs": 1},
        "margin": {"validation_loss": MARGIN},
        "protocol": {"screen_seeds": screen_seeds},
    }
    return parse(json.dumps(whole), where="here")


def screened(
    spec: StudySpec,
    grid: tuple[TrialSpec, ...],
    best: Mapping[int, float],
    shape: Shape,
    draw: np.random.Generator,
    sd: float,
) -> tuple[int, dict[int, float]]:
    """The trainings of one screen, and what each batch size loses at the rate that it would be confirmed at."""
    losses: dict[str, float] = {}

    def above(trial: TrialSpec) -> float:
        return shape(float(np.log2(trial.learning_rate / best[trial.global_batch])))

    while True:
        conditions = protocol.Conditions(guess=GUESS, margin=MARGIN)
        plan = protocol.wanted(grid, spec.protocol, losses, conditions)
        confirmed = {one.trial.global_batch: above(one.trial) for one in plan.trials if one.phase == protocol.CONFIRM}
        if confirmed:
            return len(losses), confirmed
        missing = [one.trial for one in plan.trials if one.trial.trial_id not in losses]
        losses |= {trial.trial_id: min(GUESS, 1 + above(trial)) + float(draw.normal(0, sd)) for trial in missing}


def main() -> None:
    """Print each world's figures, one screen under the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100)
    options = parser.parse_args()
    shapes = {"as on the articles": on_articles, **{name: SHAPES[name] for name in ("as measured", "parabola")}}
    for name, shape in shapes.items():
        for deviation in (0.08, 0.06, 0.02):
            for factor in (2.0, 3.0):
                for seeds in (1, 2, "auto"):
                    draw, found = np.random.default_rng(0), []
                    spec = spec_of(seeds, factor)
                    grid = axes.trials(spec, data_hash="d" * 16, train_rows=10_000)
                    for _ in range(options.studies):
                        best = {b: 0.01 * (b / 32) ** 0.5 * 2 ** draw.uniform(-2, 2) for b in BATCHES}
                        found.append(screened(spec, grid, best, shape, draw, deviation))
                    lost = [list(losses.values()) for _, losses in found]
                    setting.figure(
                        f"{name}, deviation {deviation:g}, factor {factor:g}, screen seeds {seeds}",
                        f"{statistics.mean(trainings for trainings, _ in found):.0f} trainings, "
                        f"{statistics.mean(chain.from_iterable(lost)):.4f} above the best, "
                        f"{sum(max(one) > MARGIN / 2 for one in lost) / len(lost):.0%} of studies with a bad rate",
                        "",
                    )


if __name__ == "__main__":
    main()
