"""What `batchscope check` says and when the answer is no."""

from dataclasses import replace

import pytest

from cluster.cli.check import line
from trainer.check import Proof

GOOD = Proof(rows=64, dtype="float32", repeats=True, micro_batches=2e-7, workers=3e-7, evaluation=1e-8, tolerance=1e-5)


def test_the_largest_difference_decides() -> None:
    assert GOOD.passed
    assert GOOD.largest == 3e-7
    assert "largest relative difference 3.0e-07, allowed 1e-05: the same update" in line(GOOD)


@pytest.mark.parametrize("layout", ["micro_batches", "workers", "evaluation"])
@pytest.mark.parametrize("difference", [2e-5, float("nan")])
def test_one_layout_that_differs_is_a_no(layout: str, difference: float) -> None:
    bad = replace(GOOD, **{layout: difference})
    assert not bad.passed
    assert "NOT the same update" in line(bad)
