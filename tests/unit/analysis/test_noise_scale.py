"""The noise scale of a cell: moments pooled over its runs, a bound where the gradient is not told from none."""

import math

import numpy as np
import pytest

from cluster.analysis.noise_scale import NoiseScale, pooled
from cluster.analysis.verdict import judge
from cluster.report.verdict import sentences
from tests.support.simulated import World, spec_of, study
from tests.support.stored import changed


def row(squared: float | None, trace: float | None, scale: float | None = None) -> dict[str, float | None]:
    return {"noise_squared_gradient": squared, "noise_trace": trace, "noise_scale": scale}


def test_moments_are_pooled_and_a_run_whose_own_scale_is_unknown_counts() -> None:
    found = pooled([row(2.0, 1000.0, 500.0), row(-1.0, 1100.0), row(1.0, 900.0, 900.0)])
    assert found == NoiseScale(scale=pytest.approx(3000 / 2))


def test_a_gradient_that_is_not_told_from_none_gives_a_bound() -> None:
    squares = [-2.0, 1.0, -0.5, 0.5]
    found = pooled([row(square, 100.0) for square in squares])
    # The t quantile of 95 % at 3 degrees of freedom is 2.353.
    most = np.mean(squares) + 2.353363 * np.std(squares, ddof=1) / math.sqrt(4)
    assert found == NoiseScale(at_least=pytest.approx(100 / most, rel=1e-5))
    assert pooled([row(-1.0, 100.0)]) == pooled([row(-1.0, 5.0), row(-1.0, 5.0)]) == NoiseScale()


def test_rows_of_older_versions_have_the_mean_of_their_scales() -> None:
    assert pooled([row(None, None, 10.0), row(None, None, 30.0)]) == NoiseScale(scale=20.0)
    assert pooled([row(None, None, 10.0), row(None, None)]) == pooled([]) == NoiseScale()


def test_pooled_over_five_runs_a_scale_of_a_thousand_is_told_more_often_than_by_single_runs() -> None:
    random, told, singly = np.random.default_rng(0), 0, 0
    for _ in range(300):
        # Three updates a run at B = 64: the deviation of |G|^2 is trace / B * sqrt(2 / 8) / sqrt(3), about.
        squares = 1 + random.normal(0, 1000 / 64 * 0.5 / math.sqrt(3), 5)
        found = pooled([row(square, 1000 * (1 + random.normal(0, 0.1))) for square in squares])
        told += found != NoiseScale()
        singly += min(squares) > 0
    assert told > 0.9 * 300 > 3 * singly


def test_the_verdict_tells_the_scales_and_the_bounds() -> None:
    studies, trials, evaluations = study(spec_of(), World())
    batches, seeds = trials["global_batch"].to_pylist(), trials["seed"].to_pylist()
    squares = [0.01 if batch != 16 else (-1.0 if seed % 2 else 0.5) for batch, seed in zip(batches, seeds, strict=True)]
    trials = changed(trials, noise_squared_gradient=squares, noise_trace=7.0)
    [said] = [line for line in sentences(judge(studies, trials, evaluations)) if "noise scale" in line]
    assert "700 to 700 over the batch sizes; at least 10.2 at B = 16, from few updates" in said
