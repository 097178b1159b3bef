"""The verdict on simulated studies whose answers are known, and on studies that cannot have one."""

import dataclasses
import json
import re
from typing import Any

import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from scipy import stats

from cluster.analysis.asked import specs_of
from cluster.analysis.verdict import GroupVerdict, Verdict, judge
from cluster.report.verdict import sentences, warnings
from cluster.report.verdict_table import table
from cluster.summary import query
from tests.support.simulated import BATCHES, Tables, World, spec_of, study

STEADY = World(run_deviation=0.005)
# What the screen's seeds say, all seeds say.
QUIET = World(seed_deviation=0.0, run_deviation=0.005)
FORBIDDEN = ("optimal batch size", "no effect", "generalise worse", "nan", "inf ", "None")


def judged(tables: Tables) -> tuple[Verdict, GroupVerdict]:
    verdict = judge(*tables)
    assert len(verdict.groups) == 1
    for line in [*sentences(verdict), *warnings(verdict)]:
        assert not [words for words in FORBIDDEN if words in line], line
    return verdict, verdict.groups[0]


def outcomes(group: GroupVerdict) -> dict[int, str]:
    return {one.global_batch: one.outcome for one in group.qualities}


def codes(group: GroupVerdict) -> set[str]:
    return {one.code for one in group.cannot}


def test_batch_sizes_that_are_equal_are_called_equivalent() -> None:
    verdict, group = judged(study(spec_of(), STEADY))
    assert set(outcomes(group).values()) == {"equivalent"}
    assert set(outcomes(group)) | {group.reference} == set(BATCHES)
    others = ", ".join(str(batch) for batch in BATCHES if batch != group.reference)
    expected = f"Best validation loss at B = {others} is equivalent to that of B = {group.reference} within 0.05"
    assert any(line.startswith(expected) for line in sentences(verdict))
    [rates] = [line for line in sentences(verdict) if line.startswith("Learning rates, fitted")]
    assert rates.count("(between") == len(BATCHES)
    best = re.search(r"Use B = (\d+) with learning rate ([\d.]+):", sentences(verdict)[0])
    assert best is not None
    assert f"{best[2]} at B = {best[1]} (between" in rates
    assert codes(group) == set()


def test_one_that_is_worse_is_called_worse_with_its_interval() -> None:
    verdict, group = judged(study(spec_of(), World(floors={512: 1.0})))
    assert outcomes(group)[512] == "worse"
    assert set(outcomes(group).values()) <= {"worse", "equivalent", "undecided"}
    [line] = [line for line in sentences(verdict) if "worse" in line]
    assert re.search(
        r"B = 512 is worse than B = \d+ by 0\.\d+ \(95 % CI of this difference alone \+0\.\d+\.\.\+0\.\d+; p = ", line
    )
    [quality] = [one for one in group.qualities if one.global_batch == 512]
    assert quality.difference == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize(("seeds", "words"), [(3, "(TOST, n = 3, preliminary)"), (5, "(TOST, n = 5)")])
def test_a_conclusion_from_fewer_than_five_seeds_is_preliminary(seeds: int, words: str) -> None:
    axes = {**spec_of().axes.model_dump(), "global_batch": [16, 32, 512], "seeds": seeds}
    verdict, _ = judged(study(spec_of(axes=axes), World(run_deviation=0.002, floors={512: 1.0})))
    [equivalent] = [line for line in sentences(verdict) if "is equivalent to" in line]
    assert words in equivalent
    [worse] = [line for line in sentences(verdict) if "is worse than" in line]
    assert worse.count("preliminary") == (seeds < 5)


def test_bad_runs_that_so_few_seeds_miss_are_said() -> None:
    axes = {**spec_of().axes.model_dump(), "global_batch": [16, 32], "seeds": 5}
    verdict, group = judged(study(spec_of(axes=axes), World(run_deviation=0.002)))
    [line] = [line for line in sentences(verdict) if "bad" in line]
    worst = max(group.cells, key=lambda cell: cell.worst_above_mean)
    # 1 - 0.05^(1/5): the share of bad runs that five good ones leave possible.
    assert line.startswith("5 seeds cannot exclude that up to 45% of runs are bad")
    assert f"{worst.worst_above_mean:.2g} above the mean of its batch size, {worst.global_batch}." in line


def test_a_target_that_one_batch_size_reaches_is_said_to_be_missed_by_the_others() -> None:
    axes = {**spec_of().axes.model_dump(), "global_batch": [16, 64], "seeds": 5}
    missed = World(run_deviation=0.002, floors={16: 0.8, 64: 1.3})
    verdict, group = judged(study(spec_of(axes=axes, target={"validation_loss": 1.0}), missed))
    [quick] = [one for one in group.soonest if one.measure == "seconds"]
    assert (quick.candidates, quick.rarely) == ((16,), (64,))
    assert any("is B = 16 (expected" in line and "most runs of B = 64 missed it" in line for line in sentences(verdict))


@pytest.mark.slow
def test_what_noise_hides_is_undecided_after_the_most_seeds() -> None:
    verdict, group = judged(study(spec_of(), World(run_deviation=0.08)))
    assert "undecided" in outcomes(group).values()
    assert any("undecided: difference" in line and "the most that were declared" in line for line in sentences(verdict))


@pytest.mark.slow
def test_the_law_of_updates_and_its_knee_are_found() -> None:
    batches = [8, 16, 32, 64, 128, 256, 512]
    spec = spec_of(axes={**spec_of().axes.model_dump(), "global_batch": batches}, budget={"epochs": 60})
    spec = spec.model_copy(update={"evaluate_every": dataclasses.replace(spec.evaluate_every, amount=512.0)})
    world = World(run_deviation=0.005, seed_deviation=0.01, smin=200.0, critical_batch=64.0)
    _, group = judged(study(spec, world))
    assert group.scaling.knee is not None
    assert group.scaling.knee.critical_batch == pytest.approx(64, rel=0.2)
    assert group.scaling.b20 is not None
    assert group.scaling.b20.batch == pytest.approx(0.2 * 64 + 1.2 * 8, rel=0.3)
    # Updates cost 0.004 s and a row 0.0002 s: the seconds Smin (1 + Bc / B) (0.004 + 0.0002 B) are least at B = 36.
    [soonest] = [one for one in group.soonest if one.measure == "seconds"]
    assert set(soonest.candidates) <= {32, 64}
    one = soonest.ratios[512]
    assert one.low < one.mean < one.high < 1  # type: ignore[operator]
    expected = (1 + 64 / 32) * (0.004 + 0.0064) / ((1 + 64 / 512) * (0.004 + 0.1024))
    assert one.mean == pytest.approx(expected, rel=0.15)


def test_runs_that_miss_the_target_are_counted() -> None:
    tables = study(spec_of(target={"validation_loss": 0.8}), World(seed_deviation=0.1, run_deviation=0.0))
    _, group = judged(tables)
    for cell in group.cells:
        assert cell.reach is not None
        assert 0 < cell.reach.success.reached < cell.reach.success.runs
        measure = cell.reach.measures["updates"]
        assert measure is not None
        assert measure.expected is not None
        came = [run.updates for run in cell.reach.runs if run.reached]
        assert measure.expected > sum(came) / len(came)


def test_the_automatic_target_comes_from_the_screen() -> None:
    verdict, _ = judged(study(spec_of(target="auto"), QUIET))
    known = verdict.declared
    assert known.target_source == "automatic"
    assert known.target is not None
    # The floors lie at 0.8, the best rates' penalty adds nothing, and half a margin is added.
    assert 0.8 < known.target < 0.95


def test_confirmations_that_stop_at_the_target_say_nothing_of_quality() -> None:
    spec = spec_of(protocol={"stop_at_target": True}, target="auto")
    tables = study(spec, QUIET)
    _, group = judged(tables)
    assert group.arms == ()
    assert "stopped_at_target" in codes(group)
    confirmed = tables[1].filter(pc.equal(tables[1]["phase"], "confirm"))
    assert pc.max(confirmed["epochs"]).as_py() < 30
    assert all(cell.reach is not None and cell.reach.every_run for cell in group.cells)


def test_without_a_protocol_nothing_is_concluded() -> None:
    rate = {"around": 0.01, "at": 32, "rule": "sqrt"}
    for points, seeds in ((1, 5), (5, 2)):
        axes = {"global_batch": list(BATCHES), "learning_rate": {**rate, "points": points}, "seeds": seeds}
        verdict, group = judged(study(spec_of(axes=axes, protocol=None), STEADY))
        assert "not_tuned" in codes(group)
        assert group.arms == ()
        assert group.soonest == ()
        assert not any("soonest:" in line or "equivalent to" in line for line in sentences(verdict))


@pytest.mark.slow
def test_a_rate_at_an_edge_speaks_for_nothing() -> None:
    world = World(run_deviation=0.005, best_rates={64: 9.0})
    verdict, group = judged(study(spec_of(), world))
    assert "rate_at_edge" in codes(group)
    [cell] = [cell for cell in group.cells if cell.at_edge]
    assert cell.global_batch == 64
    assert 64 not in outcomes(group)
    assert not [line for line in sentences(verdict) if re.search(r"\b64\b(?!\.)", line)]
    rows = {row["global_batch"]: row for row in table(verdict).to_pylist()}
    assert rows[64]["against_reference"] == "rate at edge"
    assert rows[64]["difference"] is None
    assert rows[64]["updates_to_target"] is None


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_seed_or_two_are_no_verdict(seeds: int) -> None:
    axes = {**spec_of().axes.model_dump(), "seeds": seeds}
    _, group = judged(study(spec_of(axes=axes), STEADY))
    assert "few_confirmations" in codes(group)
    assert group.arms == ()
    assert group.soonest == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"margin": None}, "no_margin"),
        ({"target": None}, "no_target"),
        ({"target": {"validation_loss": 0.01}}, "nobody_reached"),
    ],
)
def test_what_a_spec_lacks_is_said(changed: dict[str, Any], code: str) -> None:
    _, group = judged(study(spec_of(**changed), STEADY))
    assert code in codes(group)
    assert "equivalent" not in outcomes(group).values() or code != "no_margin"
    assert group.soonest == () or code == "no_margin"


@pytest.mark.slow
def test_what_is_declared_after_the_confirmations_decides_nothing() -> None:
    early, late = spec_of(target=None, margin=None), spec_of()
    studies, trials, evaluations = study(early, STEADY)
    later, _, _ = study(late, STEADY, declared_after=True)
    import pyarrow as pa

    _, group = judged((pa.concat_tables([studies, later]), trials, evaluations))
    assert {"late_margin", "late_target"} <= codes(group)
    assert "equivalent" not in outcomes(group).values()
    assert group.soonest == ()
    # Declared before, and run again with something else changed, they stand.
    before, _, _ = study(late, STEADY)
    _, group = judged((pa.concat_tables([before, later]), trials, evaluations))
    assert not {"late_margin", "late_target"} & codes(group)


def test_when_every_trial_diverged_that_is_all_that_is_said() -> None:
    verdict, group = judged(study(spec_of(), World(diverging=frozenset(BATCHES))))
    assert "all_diverged" in codes(group)
    assert group.arms == ()
    assert {"diverged"} <= {one.code for one in group.caveats}
    assert table(verdict).num_rows == len(BATCHES)


def test_one_batch_size_is_compared_with_nothing() -> None:
    axes = {**spec_of().axes.model_dump(), "global_batch": [32]}
    _, group = judged(study(spec_of(axes=axes), STEADY))
    assert "one_batch" in codes(group)


@pytest.mark.slow
def test_a_price_that_is_not_known_is_said() -> None:
    _, group = judged(study(spec_of(), World(run_deviation=0.005, usd_per_second=None)))
    assert "no_price" in codes(group)
    assert {one.measure for one in group.soonest} == {"seconds", "updates", "examples"}


def test_the_ranking_depends_on_what_is_held_equal() -> None:
    verdict, group = judged(study(spec_of(budget={"epochs": 4}), STEADY))
    arms = {arm.clock: arm.losses for arm in group.arms}
    assert min(arms["examples"], key=lambda batch: arms["examples"][batch]) == min(BATCHES)
    assert min(arms["updates"], key=lambda batch: arms["updates"][batch]) == max(BATCHES)
    assert any("the ranking depends on what is held equal" in line for line in sentences(verdict))
    assert "unequal_updates" in {one.code for one in group.caveats}


@pytest.mark.slow
def test_studies_of_equal_batch_sizes_call_one_different_no_more_often_than_5_percent_allow() -> None:
    rates = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 3}
    axes = {"global_batch": list(BATCHES), "learning_rate": rates, "seeds": 5}
    spec, alarms = spec_of(axes=axes, budget={"epochs": 12}, evaluate_every={"epochs": 2}, target=None), 0
    for number in range(60):
        # So quick that every batch size is at its floor when the budget ends: nothing but chance is left.
        world = World(smin=2.0, run_deviation=0.05, random_seed=number)
        alarms += bool({"worse", "better"} & set(outcomes(judge(*study(spec, world)).groups[0]).values()))
    # Of a rate of 5 %, one sample in a hundred has more; `tests.benchmarks.false_alarms` measures the rate itself.
    assert alarms <= stats.binom.ppf(0.99, 60, 0.05)


@pytest.mark.slow
def test_the_command_prints_tables_sentences_and_json(tmp_path: Any) -> None:
    from cluster.cli import batchscope
    from cluster.summary.store import Summary

    studies, trials, evaluations = study(spec_of(), STEADY)
    summary = Summary(str(tmp_path))
    summary.write_study(studies.to_pylist()[0])
    for row in trials.to_pylist():
        summary.write_trial({name: value for name, value in row.items() if value is not None})
        mine = evaluations.filter(pc.equal(evaluations["trial_id"], row["trial_id"]))
        summary.write_evaluations(mine.to_pylist(), part=0)
    arguments = ["results", "simulated", "--verdict", "--summary", str(tmp_path)]
    shown = CliRunner().invoke(batchscope, arguments)
    assert shown.exit_code == 0, shown.output
    assert "is equivalent to that of B =" in shown.output
    assert max(map(len, shown.output.splitlines()[:2])) < 200
    found = json.loads(CliRunner().invoke(batchscope, [*arguments, "--format", "json"]).output)
    assert found["schema_version"] == 2
    assert {cell["global_batch"] for cell in found["groups"][0]["cells"]} == set(BATCHES)
    assert found["sentences"]


def test_a_study_that_has_just_begun_and_one_without_its_spec(tmp_path: Any) -> None:
    from cluster.cli.results import command
    from cluster.summary.store import Summary
    from trainer.errors import InputError

    studies, trials, _ = study(spec_of(), STEADY)
    summary = Summary(str(tmp_path / "begun"))
    summary.write_study(studies.to_pylist()[0])
    shown = CliRunner().invoke(command, ["simulated", "--verdict", "--summary", summary.uri], standalone_mode=False)
    assert shown.exception is None
    assert "Nothing can be said yet: no trial has ended." in shown.output
    summary = Summary(str(tmp_path / "bare"))
    summary.write_trial({name: value for name, value in trials.to_pylist()[0].items() if value is not None})
    refused = CliRunner().invoke(command, ["simulated", "--verdict", "--summary", summary.uri], standalone_mode=False)
    assert isinstance(refused.exception, InputError)
    assert "has no spec" in str(refused.exception)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [None, {}])
def test_what_is_said_where_nothing_completed_is_true(protocol: dict[str, Any] | None) -> None:
    spec = spec_of(protocol=protocol)
    verdict = judge(*study(spec, World(diverging=frozenset(BATCHES))))
    assert sentences(verdict) == ["Nothing can be said yet: no trial that counts has completed."]
    assert not [text for text in warnings(verdict) if "without a target" in text]
    studies, trials, evaluations = study(spec, World())
    assert sentences(judge(studies, trials.slice(0, 0), evaluations)) == [
        "Nothing can be said yet: no trial has ended."
    ]


@pytest.mark.slow
def test_settings_on_an_axis_are_groups_of_their_own() -> None:
    decays = [0, {"value": 0.004, "at": 32, "rate": 0.001}]
    axes = {"optimizer": ["adamw"], "weight_decay": decays, "global_batch": [16, 512], "seeds": 5}
    spec = spec_of(axes={**spec_of().axes.model_dump(exclude_none=True), **axes})
    tables = study(spec, World(run_deviation=0.002, floors={512: 1.0}))
    verdict = judge(*tables)
    names = ["weight_decay 0", "weight_decay 0.004 at 32, rate 0.001"]
    assert [group.settings for group in verdict.groups] == names
    for group in verdict.groups:
        assert (group.reference, outcomes(group)) == (16, {512: "worse"})
        assert {cell.seeds for cell in group.cells} == {5}
    assert f"adamw, float32, {names[1]}:" in sentences(verdict)
    points = query.points(tables[1].filter(pc.field("phase") == "confirm"))
    assert sorted(zip(points["global_batch"].to_pylist(), points["settings"].to_pylist(), strict=True)) == [
        (batch, name) for batch in (16, 512) for name in names
    ]
    assert points["completed"].to_pylist() == [5] * 4


def test_settings_that_are_on_no_axis_any_more_plan_no_seeds() -> None:
    axes = {**spec_of().axes.model_dump(exclude_none=True), "optimizer": ["adamw"], "global_batch": [16, 32]}
    spec = spec_of(axes={**axes, "weight_decay": [0]})
    specs = specs_of(*study(spec, World())[:2])
    assert specs.seeds((16, "adamw", "float32", "weight_decay 0")) == (0, 1, 2, 3, 4)
    for settings in ("weight_decay 0.1", ""):
        assert specs.seeds((16, "adamw", "float32", settings)) == ()


def test_one_batch_size_is_the_lowest_of_none() -> None:
    axes = {"learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5}, "seeds": 5}
    assert "Lowest" not in "".join(sentences(judge(*study(spec_of(axes={**axes, "global_batch": [32]}), World()))))
    both = spec_of(axes={**axes, "global_batch": [32, 64]})
    assert "Lowest" in "".join(sentences(judge(*study(both, World()))))
