"""What a verdict says beside its comparisons: the test split, schedules, misshapen curves, labels of groups."""

from typing import Any

import numpy as np
import pytest

from cluster.analysis import critical_batch
from cluster.analysis.verdict import Verdict, judge
from cluster.report.verdict import sentences, warnings
from tests.support.simulated import Tables, World, spec_of, study
from tests.support.stored import changed

QUICK: dict[str, Any] = {
    "axes": {
        "global_batch": [16, 64, 256],
        "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3},
        "seeds": 5,
    },
    "budget": {"epochs": 12},
    "evaluate_every": {"epochs": 2},
    "target": None,
}
EQUAL = World(smin=2.0, run_deviation=0.005)


def with_test_losses(tables: Tables, worse: int) -> Tables:
    """The tables with test losses, those of one batch size higher by four margins."""
    rows = tables[1].to_pylist()
    random = np.random.default_rng(0)
    losses = [0.9 + 0.2 * (row["global_batch"] == worse) + random.normal(0, 0.01) for row in rows]
    return tables[0], changed(tables[1], test_loss=losses), tables[2]


def test_a_test_split_that_does_not_agree_is_said() -> None:
    tables = study(spec_of(**QUICK), EQUAL)
    reference = judge(*tables).groups[0].reference
    other = next(batch for batch in (16, 64, 256) if batch != reference)
    verdict = judge(*with_test_losses(tables, other))
    [quality] = [one for one in verdict.groups[0].qualities if one.global_batch == other]
    assert quality.outcome == "equivalent"
    assert quality.on_test is not None
    assert quality.on_test.difference == pytest.approx(0.2, abs=0.03)
    said = [line for line in sentences(verdict) if "not shown on the test split" in line]
    assert [line.split()[2] for line in said] == [str(other)]


def scaling_of(**changes: Any) -> Any:
    axes = {**QUICK["axes"], "global_batch": [8, 16, 32, 64, 128, 256]}
    spec = spec_of(axes=axes, budget={"epochs": 60}, **changes)
    return judge(*study(spec, World(run_deviation=0.005, seed_deviation=0.01, smin=200.0))).groups[0].scaling


@pytest.mark.slow
def test_under_a_schedule_no_critical_batch_is_named() -> None:
    constant, linear = scaling_of(), scaling_of(schedule="linear")
    assert constant.b20 is not None
    assert linear.b20 is None
    assert linear.knee is not None
    assert linear.knee.critical_batch is None
    assert "with schedule linear" in linear.knee.reason


@pytest.mark.slow
def test_a_curve_that_is_far_from_the_law_has_no_limit_either(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scaling_of().b20 is not None
    monkeypatch.setattr(critical_batch, "RESIDUAL", 0.0)
    found = scaling_of()
    assert found.knee is not None
    assert "from the law" in found.knee.reason
    assert found.b20 is None


def test_cautions_of_several_optimizers_name_theirs() -> None:
    axes = {**QUICK["axes"], "optimizer": ["adam", "sgd"]}
    verdict = judge(*study(spec_of(**QUICK | {"axes": axes}), EQUAL))
    cautions = [line for line in warnings(verdict) if line.startswith("caution")]
    assert cautions
    assert all(line.startswith(("caution: adam, float32: ", "caution: sgd, float32: ")) for line in cautions)


def shifted(by: float) -> Verdict:
    """The verdict where one batch size's confirmations are all worse by about this."""
    tables = study(spec_of(**QUICK), World(smin=2.0, run_deviation=0.0005))
    reference = judge(*tables).groups[0].reference
    moved = 256 if reference != 256 else 64
    ids = {
        row["trial_id"] for row in tables[1].to_pylist() if (row["phase"], row["global_batch"]) == ("confirm", moved)
    }
    added = [by * (trial_id in ids) for trial_id in tables[1]["trial_id"].to_pylist()]
    best = [loss + more for loss, more in zip(tables[1]["best_validation_loss"].to_pylist(), added, strict=True)]
    trials = changed(tables[1], best_validation_loss=best)
    evaluations = changed(
        tables[2],
        validation_loss=[row["validation_loss"] + by * (row["trial_id"] in ids) for row in tables[2].to_pylist()],
    )
    return judge(tables[0], trials, evaluations)


def test_what_is_worse_by_about_the_margin_is_said_to_be_worse() -> None:
    found = sentences(shifted(0.0504))
    assert any("it is worse, by less than the margin of 0.05 or about as much" in line for line in found)


def shaken(tables: Tables, number: int) -> Tables:
    """The tables with a noise in every evaluation of a confirmation, as a validation loss has."""
    random = np.random.default_rng(number)
    confirming = {row["trial_id"] for row in tables[1].to_pylist() if row["phase"] == "confirm"}
    rows = tables[2].to_pylist()
    losses = [row["validation_loss"] + random.normal(0, 0.05) * (row["trial_id"] in confirming) for row in rows]
    best: dict[str, float] = {}
    for row, loss in zip(rows, losses, strict=True):
        best[row["trial_id"]] = min(loss, best.get(row["trial_id"], loss))
    lowest = [best[trial_id] for trial_id in tables[1]["trial_id"].to_pylist()]
    return tables[0], changed(tables[1], best_validation_loss=lowest), changed(tables[2], validation_loss=losses)


@pytest.mark.slow
def test_a_ranking_that_only_noise_turns_depends_on_nothing() -> None:
    # Evaluated as often at equal updates as at equal seconds, all at their floors: which mean is lowest is chance.
    often = spec_of(**QUICK | {"evaluate_every": {"updates": 24}})
    worlds = [World(smin=2.0, run_deviation=0.05, random_seed=number) for number in range(8)]
    found = [judge(*shaken(study(often, world), world.random_seed)).groups[0] for world in worlds]
    best = [{min(arm.losses, key=lambda batch: arm.losses[batch]) for arm in group.arms} for group in found]
    assert sum(len(winners) > 1 for winners in best) > 1
    assert sum(group.ranking_depends for group in found) <= 1
