"""What is lost without tuning: one rate for all batch sizes by the spec's rule, and how wide the good rates are."""

import math

import pytest

from cluster.analysis.verdict import judge
from cluster.report.verdict import sentences
from tests.support.simulated import World, spec_of, study

AXIS = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5}
AXES = {"global_batch": [16, 64, 256], "learning_rate": AXIS, "seeds": 5}


def test_a_batch_size_whose_best_rate_is_elsewhere_loses_by_the_common_one() -> None:
    world = World(run_deviation=0.0, seed_deviation=0.0, smin=2.0, best_rates={16: 0.0, 64: 0.0, 256: 1.0})
    verdict = judge(*study(spec_of(axes=AXES), world))
    found = verdict.groups[0].untuned
    assert found is not None
    assert found.rule == "sqrt"
    assert found.at_rate == pytest.approx({batch: 0.01 * math.sqrt(batch / 32) for batch in (16, 64, 256)})
    assert found.losses_above_best == pytest.approx({16: 0, 64: 0, 256: 0.1}, abs=1e-3)
    # A step costs 0.1, twice the margin: only the best rate itself is within it.
    assert found.widths == pytest.approx({16: 1, 64: 1, 256: 1})
    said = [line for line in sentences(verdict) if "Untuned" in line]
    assert said
    assert "B = 256 loses 0.1" in said[0]


def test_flat_curves_are_wide_and_lose_nothing() -> None:
    world = World(run_deviation=0.0, seed_deviation=0.0, smin=2.0, rate_penalty=0.01)
    verdict = judge(*study(spec_of(axes=AXES), world))
    found = verdict.groups[0].untuned
    assert found is not None
    assert found.widths == pytest.approx(dict.fromkeys((16, 64, 256), 81.0))
    assert max(found.losses_above_best.values()) == pytest.approx(0, abs=1e-9)
    assert not [line for line in sentences(verdict) if "B = 16 loses" in line]


def test_a_grid_and_a_single_batch_size_have_none() -> None:
    assert judge(*study(spec_of(protocol=None), World())).groups[0].untuned is None
    alone = spec_of(axes={**AXES, "global_batch": [64]})
    assert judge(*study(alone, World())).groups[0].untuned is None
