"""Each caveat is seen where its cause is, names the trials, and is silent where it is not."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from cluster.analysis.evidence import Caveat
from cluster.analysis.verdict import judge
from tests.support.simulated import Tables, World, spec_of, study

# Nothing to say against it: 8 seeds, a narrow axis, evaluations enough, an end on the floor.
AXES = {"global_batch": [16, 32, 64], "seeds": 8}
CLEAN: dict[str, Any] = {
    "axes": {**AXES, "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}},
    "budget": {16: {"examples": 100000}, 32: {"examples": 100000}, 64: {"examples": 120000}},
    "evaluate_every": {"examples": 512},
}
WORLD = World(run_deviation=0.01, smin=300.0, critical_batch=16.0)
MARGIN = {"validation_loss": 0.04}
Change = Callable[[dict[str, Any]], None]


def caveats(tables: Tables) -> dict[str, Caveat]:
    return {one.code: one for one in judge(*tables).groups[0].caveats}


def changed(change: Change, **spec: Any) -> tuple[dict[str, Caveat], list[dict[str, Any]]]:
    """The caveats of the clean study with its trials' rows changed, and the rows."""
    studies, trials, evaluations = study(spec_of(**{**CLEAN, **spec}), WORLD)
    rows = trials.to_pylist()
    for row in rows:
        change(row)
    return caveats((studies, pa.Table.from_pylist(rows, schema=trials.schema), evaluations)), rows


@pytest.fixture(scope="module")
def clean() -> dict[str, Caveat]:
    return changed(lambda row: None)[0]


def test_a_clean_study_has_only_the_caveat_that_it_cannot_escape(clean: dict[str, Caveat]) -> None:
    # Curves without noise fall to the end, and at equal examples updates differ.
    assert set(clean) <= {"still_improving", "unequal_updates"}


def first_seeds(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["phase"] == "confirm" and row["seed"] < count


def confirmed_at(batch: int) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["phase"] == "confirm" and row["global_batch"] == batch


@pytest.mark.parametrize(
    ("code", "where", "values"),
    [
        ("mixed_device", first_seeds(2), {"device": "gpu"}),
        ("mixed_gpu_name", first_seeds(2), {"gpu_name": "NVIDIA L4"}),
        ("mixed_kernel_path", first_seeds(2), {"kernel_path": "keras"}),
        ("mixed_node_type", first_seeds(2), {"node_type": "g5.xlarge"}),
        ("noise_near_all_rows", confirmed_at(16), {"noise_scale": 3000.0}),
        ("unsteady_speed", lambda row: first_seeds(4)(row) and row["global_batch"] == 32, {"examples_per_second": 9.0}),
        ("diverged", lambda row: first_seeds(6)(row) and row["global_batch"] == 32, {"state": "DIVERGED"}),
        ("runs_without_a_loss", lambda row: first_seeds(2)(row) and row["global_batch"] == 32, {"state": "STOPPED"}),
    ],
)
def test_a_caveat_of_rows(
    code: str, where: Callable[[dict[str, Any]], bool], values: dict[str, Any], clean: dict[str, Caveat]
) -> None:
    def change(row: dict[str, Any]) -> None:
        row |= {"kernel_path": "xla", "node_type": "g4dn.xlarge", "gpu_name": "Tesla T4"}
        if where(row):
            row |= values

    found, rows = changed(change)
    assert code not in clean
    assert code in found
    causes = {row["trial_id"] for row in rows if where(row)}
    assert causes & set(found[code].trials)


@pytest.mark.parametrize(
    ("code", "spec", "world"),
    [
        ("few_seeds", {"axes": {**CLEAN["axes"], "seeds": 3}}, WORLD),
        ("no_target", {"target": None}, WORLD),
        ("fixed_beta2", {"axes": {**CLEAN["axes"], "global_batch": [8, 64]}, "budget": {"examples": 100000}}, WORLD),
        ("few_evaluations", {"evaluate_every": {"examples": 20000}}, WORLD),
        (
            "few_updates_an_epoch",
            {"axes": {**CLEAN["axes"], "global_batch": [16, 512]}, "budget": {"examples": 100000}},
            WORLD,
        ),
        ("unequal_updates", {"budget": {"examples": 100000}}, WORLD),
        ("rate_at_edge", {"protocol": {"extensions": 0}}, World(best_rates={32: 9.0}, smin=100.0)),
        ("one_rate", {"axes": {**CLEAN["axes"], "learning_rate": 0.01}, "protocol": None}, WORLD),
    ],
)
def test_a_caveat_of_a_study(code: str, spec: dict[str, Any], world: World, clean: dict[str, Caveat]) -> None:
    found = caveats(study(spec_of(**{**CLEAN, **spec}), world))
    assert code in found
    assert code not in clean or code == "unequal_updates"
    assert code in ("no_target", "fixed_beta2", "few_updates_an_epoch", "unequal_updates") or found[code].trials


def test_a_search_that_was_not_equal_is_told() -> None:
    studies, trials, evaluations = study(spec_of(**CLEAN), WORLD)
    rows = trials.to_pylist()
    dropped = next(row for row in rows if row["phase"] == "screen" and row["global_batch"] == 32)
    kept = pa.Table.from_pylist([row for row in rows if row is not dropped], schema=trials.schema)
    assert "2 at B = 32" in caveats((studies, kept, evaluations))["unequal_search"].text


def test_clipping_at_some_batch_sizes_only_is_told() -> None:
    studies, trials, evaluations = study(spec_of(**CLEAN, clip_norm=2.0), WORLD)
    assert "uneven_clipping" not in caveats((studies, trials, evaluations))
    small = {row["trial_id"] for row in trials.to_pylist() if row["global_batch"] == 16}
    rows = [row | {"gradient_norm": 5.0} if row["trial_id"] in small else row for row in evaluations.to_pylist()]
    found = caveats((studies, trials, pa.Table.from_pylist(rows, schema=evaluations.schema)))
    assert "B = 16" in found["uneven_clipping"].text
    assert set(found["uneven_clipping"].trials) <= small


@pytest.mark.parametrize(
    ("optimizer", "rules", "code", "named"),
    [
        ("adam", {}, "fixed_beta2", "beta1, beta2 of adam are"),
        ("adam", {"beta2": {"value": 0.999, "at": 32}}, "fixed_beta1", "beta1 of adam is"),
        ("adamw", {"weight_decay": 0.01}, "fixed_beta2", "beta1, beta2, weight_decay of adamw are"),
        ("lion", {}, "fixed_weight_decay", "weight_decay of lion is"),
    ],
)
def test_what_is_fixed_by_the_update_is_named(optimizer: str, rules: dict[str, Any], code: str, named: str) -> None:
    axes = {**CLEAN["axes"], "global_batch": [8, 64], "optimizer": [optimizer]}
    found = caveats(study(spec_of(**{**CLEAN, **rules, "axes": axes, "budget": {"examples": 100000}}), WORLD))
    assert named in found[code].text


def test_what_is_on_an_axis_is_not_said_to_be_fixed() -> None:
    axes = {**CLEAN["axes"], "global_batch": [8, 64], "optimizer": ["lion"], "weight_decay": [0, 0.01]}
    tables = study(spec_of(**{**CLEAN, "axes": axes, "budget": {"examples": 100000}}), WORLD)
    assert not [one.code for group in judge(*tables).groups for one in group.caveats if one.code.startswith("fixed_")]


def test_nothing_is_fixed_where_rules_hold_it_or_the_optimizer_has_none() -> None:
    held = {"beta1": {"value": 0.9, "at": 32}, "beta2": {"value": 0.999, "at": 32}}
    for optimizer, rules in (("adam", held), ("sgd", {})):
        axes = {**CLEAN["axes"], "global_batch": [8, 64], "optimizer": [optimizer]}
        found = caveats(study(spec_of(**{**CLEAN, **rules, "axes": axes, "budget": {"examples": 100000}}), WORLD))
        assert not [code for code in found if code.startswith("fixed_")]


def test_a_rate_between_those_tried_is_said_where_no_fit_found_it() -> None:
    wide = {**AXES, "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5}}
    changes = {**CLEAN, "axes": wide, "margin": MARGIN}
    kept = caveats(study(spec_of(**changes, protocol={"rates": "best_of_grid"}), WORLD))
    assert "one between them may be better by up to 0.025" in kept["between_rates"].text
    fitted = caveats(study(spec_of(**changes), WORLD))
    assert "between_rates" not in fitted


@pytest.mark.slow
def test_evaluations_by_updates_are_said_to_favour_small_batches() -> None:
    found = caveats(study(spec_of(**{**CLEAN, "evaluate_every": {"updates": 20}}), WORLD))
    assert "B = 16 was evaluated" in found["uneven_evaluations"].text


def test_a_rate_that_is_much_sooner_at_the_target_is_said() -> None:
    studies, trials, evaluations = study(spec_of(**CLEAN), WORLD)
    lowest = min(trials["learning_rate"].to_pylist())
    ended = trials.to_pylist()
    quick = {row["trial_id"] for row in ended if row["phase"] == "screen" and row["learning_rate"] == lowest}
    trials = pa.Table.from_pylist(
        [row | ({"best_validation_loss": 1.1} if row["trial_id"] in quick else {}) for row in ended],
        schema=trials.schema,
    )
    rows = [row | ({"validation_loss": 1.1} if row["trial_id"] in quick else {}) for row in evaluations.to_pylist()]
    found = caveats((studies, trials, pa.Table.from_pylist(rows, schema=evaluations.schema)))
    assert "B = 16 at 0.00" in found["sooner_at_another_rate"].text
