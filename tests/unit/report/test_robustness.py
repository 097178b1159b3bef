"""The plot of robustness: each loss above the batch size's own best, by how far its rate is from the one for all."""

from pathlib import Path

import pytest

from cluster.report.page import robustness
from cluster.report.page.chart import Chart, Missing
from cluster.report.page.facts import read
from tests.support.simulated import World, spec_of, study
from tests.support.stored import store

AXES = {
    "global_batch": [16, 64],
    "learning_rate": {"around": 0.01, "at": 16, "rule": "none", "points": 5},
    "seeds": 3,
}


def drawn(folder: Path, **changed: object) -> Chart | Missing:
    world = World(run_deviation=0.0, seed_deviation=0.0, best_rates={16: 0.0, 64: 1.0}, rate_penalty=0.05)
    facts = read(store(folder, study(spec_of(**{"axes": AXES, **changed}), world)), "simulated")
    return robustness.chart(facts, facts.groups[0])


def test_a_loss_is_above_its_own_best_and_a_rate_a_multiple_of_the_one_for_all(tmp_path: Path) -> None:
    chart = drawn(tmp_path, budget={"epochs": 200}, evaluate_every={"epochs": 10})
    assert isinstance(chart, Chart)
    rows = chart.table.to_pylist()
    by_batch = {batch: [row for row in rows if row["global_batch"] == batch] for batch in (16, 64)}
    # The penalty is 0.05 times the square of the steps from the best rate, which 64 has one step higher.
    assert [row["loss_above_best"] for row in by_batch[16]] == pytest.approx([0.2, 0.05, 0, 0.05, 0.2], abs=1e-4)
    assert [row["loss_above_best"] for row in by_batch[64]] == pytest.approx([0.45, 0.2, 0.05, 0, 0.05], abs=1e-4)
    for of_one in by_batch.values():
        [common] = [row["learning_rate"] for row in of_one if row["multiple_of_rate_for_all"] == pytest.approx(1)]
        assert common == pytest.approx(0.01)
    assert "0 at B = 16, 0.05 at B = 64" in chart.says


def test_a_single_batch_size_has_no_rate_for_all(tmp_path: Path) -> None:
    assert isinstance(drawn(tmp_path, axes={**AXES, "global_batch": [16]}), Missing)
