"""A grid read in two lines: what its budget held equal, what therefore differed, and one as one."""

from typing import Any

import pytest

from cluster.analysis.verdict import judge
from cluster.report.page.page import page
from cluster.report.reading import two_lines
from cluster.report.verdict import sentences, warnings
from cluster.summary import query
from tests.support.simulated import World, spec_of, study
from tests.support.stored import store

BATCHES = [16, 64, 256]


def said(budget: dict[Any, Any], *, seeds: int = 2, world: World | None = None) -> str:
    axes = {"global_batch": BATCHES, "learning_rate": 0.01, "seeds": seeds}
    spec = spec_of(protocol=None, axes=axes, budget=budget)
    _, trials, _ = study(spec, world or World())
    return " ".join(two_lines(query.points(trials, by=["global_batch"]), spec.model_dump(mode="json")["budget"]))


def test_equal_updates_give_large_batches_more_examples() -> None:
    text = said({"updates": 60}, seeds=1)
    assert "Equal updates give large batches more examples (15,360 against 960)" in text
    assert "numbers of examples as much as batch sizes" in text
    assert "more updates" not in text
    assert "60 updates against 60" not in text
    assert "1 seed at one rate each is a first look, not a verdict." in text


@pytest.mark.parametrize("budget", [{"epochs": 4}, {"examples": 16384}])
def test_equal_examples_give_small_batches_more_updates(budget: dict[str, int]) -> None:
    text = said(budget)
    [unit] = budget
    assert f"Equal {unit} give small batches more updates, so this compares numbers of updates as much as" in text
    assert "2 seeds at one rate each are a first look, not a verdict." in text


def test_equal_seconds_give_neither() -> None:
    axes = {"global_batch": BATCHES, "learning_rate": 0.01, "seeds": 2}
    _, trials, _ = study(spec_of(protocol=None, axes=axes), World())
    text = " ".join(two_lines(query.points(trials, by=["global_batch"]), {"seconds": 30.0}))
    assert "Equal seconds" in text
    assert "speed as much as batch sizes" in text
    assert "more updates" not in text
    assert "more examples" not in text


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({16: {"epochs": 1}, 64: {"epochs": 4}, 256: {"epochs": 16}}, "Equal updates give large batches more examples"),
        ({16: {"epochs": 4}, 64: {"epochs": 4}, 256: {"examples": 16384}}, "Equal examples give small batches more"),
        ({16: {"epochs": 2}, 64: {"epochs": 4}, 256: {"updates": 300}}, "Each batch size had its own budget"),
    ],
)
def test_budgets_for_each_batch_size_are_judged_by_what_they_came_to(budget: dict[Any, Any], expected: str) -> None:
    assert expected in said(budget)


def test_a_mean_over_survivors_says_so() -> None:
    axes = {"global_batch": BATCHES, "learning_rate": 0.01, "seeds": 3}
    spec = spec_of(protocol=None, axes=axes)
    _, trials, _ = study(spec, World(floors={256: 0.5}))
    rows = trials.to_pylist()
    rows[2]["state"] = "DIVERGED"
    assert rows[2]["global_batch"] == 256
    points = query.points(type(trials).from_pylist(rows, schema=trials.schema), by=["global_batch"])
    first, second = two_lines(points, {"epochs": 30})
    assert "global batch 256, " in first
    assert "over 2 seeds; 1 of its 3 trials diverged)" in first
    assert second.endswith("2 to 3 seeds at one rate each are a first look, not a verdict.")


def test_the_page_of_a_grid_reads_its_budget(tmp_path: Any) -> None:
    axes = {"global_batch": BATCHES, "learning_rate": 0.01, "seeds": 1}
    tables = study(spec_of(protocol=None, axes=axes, budget={"updates": 60}), World())
    shown = page(store(tmp_path, tables), "simulated")
    assert "Equal updates give large batches more examples (15,360 against 960)" in shown
    assert "1 seeds" not in shown
    assert "1 runs" not in shown


def test_one_is_one_in_a_verdict() -> None:
    axes = {**spec_of().axes.model_dump(), "global_batch": [16, 512], "seeds": 3}
    for number in range(6):
        world = World(run_deviation=0.02, random_seed=number)
        verdict = judge(*study(spec_of(axes=axes, evaluate_every={"examples": 16384}), world))
        for line in [*sentences(verdict), *warnings(verdict)]:
            for words in (" 1 more seeds", " 1 seeds", " 1 runs", " 1 batch sizes", "(1 trials)"):
                assert words not in line, line
