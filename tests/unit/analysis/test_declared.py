"""What a study declared in time stays; a margin, target or seed that was declared after a look decides nothing."""

import json
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cluster.analysis.declared import as_begun
from cluster.analysis.verdict import GroupVerdict, Verdict, judge
from cluster.report.page.page import page
from cluster.report.verdict import sentences, warnings
from cluster.report.verdict_table import to_json
from cluster.study import axes, protocol
from cluster.study.identity import spec_hash
from cluster.study.spec import StudySpec
from cluster.study.study import Study
from cluster.summary.known_losses import losses
from tests.support.simulated import BEGAN, ROWS, Tables, World, spec_of, study
from tests.support.stored import changed, store

STEADY = World(run_deviation=0.005)
WIDE = World(run_deviation=0.005, floors={16: 0.83, 512: 0.95})
AUTO: dict[str, Any] = {"target": "auto", "margin": {"validation_loss": 0.05}}
# The simulated studies know no guess.
SPLIT = Mock(rows=ROWS, label_mean=None, label_counts=())
MANIFEST = Mock(data_hash="d" * 16, splits={"train": SPLIT, "validation": SPLIT})
SEVEN = {**spec_of().axes.model_dump(), "seeds": 7}


def declared_later(tables: Tables, *specs: StudySpec) -> Tables:
    """The same rows under these specs too, which were declared when all had ended, one after the other."""
    later = [study(spec, STEADY, declared_after=True)[0] for spec in specs]
    return pa.concat_tables([tables[0], *later]), *tables[1:]


def judged(tables: Tables) -> tuple[Verdict, GroupVerdict]:
    verdict = judge(*tables)
    return verdict, verdict.groups[0]


def refusal(group: GroupVerdict, code: str) -> str:
    [text] = [one.text for one in group.cannot if one.code == code]
    return text


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0.2, 0.01, None])
def test_a_late_margin_moves_neither_the_automatic_target_nor_a_conclusion(margin: float | None) -> None:
    tables = study(spec_of(**AUTO), WIDE)
    before, known = judged(tables)
    late = spec_of(target="auto", margin=margin and {"validation_loss": margin})
    after, group = judged(declared_later(tables, late))
    assert after.declared.target == before.declared.target
    assert (after.declared.margin, after.declared.margin_late) == (0.05, True)
    assert (group.qualities, group.soonest, group.cells) == (known.qualities, known.soonest, known.cells)
    assert sentences(after) == sentences(before)
    named = "no margin" if margin is None else f"the margin of {margin:g}"
    assert f"{named} does not count" in refusal(group, "late_margin")
    assert "under the margin of 0.05" in refusal(group, "late_margin")


@pytest.mark.slow
def test_a_margin_that_came_late_where_none_was_moves_no_automatic_target() -> None:
    tables = study(spec_of(target="auto", margin=None), WIDE)
    before, _ = judged(tables)
    after, group = judged(declared_later(tables, spec_of(target="auto", margin={"validation_loss": 0.2})))
    assert after.declared.target == before.declared.target
    assert after.declared.margin is None
    assert "was declared after the confirmations began" in refusal(group, "late_margin")


@pytest.mark.slow
def test_a_target_changed_late_leaves_the_one_declared_in_time() -> None:
    tables = study(spec_of(), STEADY)
    for late in ({"validation_loss": 0.9}, "auto", None):
        verdict, group = judged(declared_later(tables, spec_of(target=late)))
        assert (verdict.declared.target, verdict.declared.target_source) == (1.2, "declared")
        assert verdict.declared.target_late
        assert "under a target of 1.2" in refusal(group, "late_target")
        assert group.soonest


def test_a_batch_size_screened_late_moves_no_automatic_target() -> None:
    spec = spec_of(**AUTO)
    studies, trials, evaluations = study(spec, World(run_deviation=0.005, floors={512: 0.5}))
    without = trials.filter(pc.field("global_batch") != 512)
    before, _ = judged((studies, without, evaluations))
    hour = pc.max(trials["started_at"]).as_py() - pc.min(trials["started_at"]).as_py()
    moved = [
        row["started_at"] + 2 * hour if row["global_batch"] == 512 else row["started_at"] for row in trials.to_pylist()
    ]
    after, _ = judged((studies, changed(trials, started_at=moved), evaluations))
    assert after.declared.target == before.declared.target


@pytest.mark.slow
def test_the_spec_of_the_first_confirmation_is_the_one_that_counts() -> None:
    spec, other = spec_of(**AUTO), spec_of(target="auto", margin={"validation_loss": 0.3})
    studies, trials, evaluations = study(spec, WIDE)
    both = pa.concat_tables([studies, study(other, WIDE)[0]])
    # Both were declared before; without a hash in the rows the newer one is taken.
    assert judge(both, changed(trials, spec_hash=None), evaluations).declared.margin == 0.3
    named = changed(trials, spec_hash=studies["spec_hash"][0].as_py())
    verdict = judge(both, named, evaluations)
    assert (verdict.declared.margin, verdict.declared.margin_late) == (0.05, True)


@pytest.mark.parametrize("late", [{"margin": {"validation_loss": 0.2}}, {"target": {"validation_loss": 1.0}}])
def test_confirmations_that_have_begun_go_on_to_the_target_they_began_with(late: dict[str, Any]) -> None:
    stopping = {**AUTO, "protocol": {"stop_at_target": True}}
    tables = study(spec_of(**stopping), WIDE)
    spec = spec_of(**stopping | late)
    grid = axes.trials(spec, data_hash="d" * 16, train_rows=ROWS)
    changed_spec = Study(spec=spec, manifest=MANIFEST, trials=grid, placed=Mock(), capacity=Mock())
    known = losses(tables[1])
    plan = as_begun(changed_spec, *tables[:2]).plan(known)
    assert not plan.open
    assert {planned.trial.trial_id for planned in plan.trials} == set(tables[1]["trial_id"].to_pylist())
    # The verdict's target is theirs, to the last digit.
    verdict, _ = judged(declared_later(tables, spec))
    [stop_at_loss] = {planned.trial.stop_at_loss for planned in plan.trials if planned.phase == protocol.CONFIRM}
    assert verdict.declared.target == stop_at_loss
    # Before the first confirmation the spec's own target counts.
    screened = tables[1].filter(pc.field("phase") == "screen")
    fresh = as_begun(changed_spec, tables[0], screened)
    assert {one.trial.stop_at_loss for one in fresh.plan(losses(screened)).trials} != {None, stop_at_loss}


@pytest.mark.slow
def test_seeds_added_after_a_look_are_a_caution_everywhere(tmp_path: Any) -> None:
    few, more = spec_of(), spec_of(axes=SEVEN)
    _, trials, evaluations = study(more, STEADY)
    hashes = [spec_hash(more if seed in (5, 6) else few) for seed in trials["seed"].to_pylist()]
    trials = changed(trials, spec_hash=hashes)
    tables = declared_later((study(few, STEADY)[0], trials, evaluations), more)
    verdict, group = judged(tables)
    assert verdict.declared.seeds_late == (5, 6)
    [caution] = [one for one in group.caveats if one.code == "late_seeds"]
    assert caution.text.startswith("seeds 5, 6 were added after the confirmations began")
    rows = trials.to_pylist()
    added = {row["trial_id"] for row in rows if row["phase"] == "confirm" and row["seed"] in (5, 6)}
    assert set(caution.trials) == added
    assert any(line.startswith("caution: seeds 5, 6 were added") for line in warnings(verdict))
    found = json.loads(to_json(verdict, sentences(verdict)))
    assert found["declared"]["seeds_late"] == [5, 6]
    shown = page(store(tmp_path, tables), "simulated")
    assert "seeds 5, 6 were added after the confirmations began" in shown
    assert "7 (2 added too late)" in shown


@pytest.mark.slow
def test_seeds_that_were_declared_in_time_are_no_caution() -> None:
    few, more = spec_of(), spec_of(axes=SEVEN)
    tables = study(more, STEADY)
    verdict, group = judged((pa.concat_tables([study(few, STEADY)[0], tables[0]]), *tables[1:]))
    assert verdict.declared.seeds_late == ()
    assert "late_seeds" not in {one.code for one in group.caveats}
    # Fewer seeds later add none.
    verdict, _ = judged(declared_later(tables, few))
    assert verdict.declared.seeds_late == ()


@pytest.mark.slow
def test_a_margin_declared_with_another_budget_after_a_look_is_a_caution() -> None:
    first, margin = study(spec_of(margin=None), STEADY), {"validation_loss": 0.2}
    shorter = spec_of(budget={"epochs": 29}, margin=margin)

    def after(spec: StudySpec) -> Tables:
        studies, trials, evaluations = study(spec, STEADY)
        day = timedelta(days=1)
        moved = {name: [at + day for at in trials[name].to_pylist()] for name in ("started_at", "ended_at")}
        at = [BEGAN + day]
        return changed(studies, started_at=at, declared_at=at), changed(trials, **moved), evaluations

    def codes(*both: Tables) -> tuple[float | None, list[str]]:
        verdict, group = judged(tuple(map(pa.concat_tables, zip(*both, strict=True))))  # type: ignore[arg-type]
        return verdict.declared.margin, [caveat.code for caveat in group.caveats]

    found, said = codes(first, after(shorter))
    assert found == 0.2
    assert "seen_before" in said
    assert "seen_before" not in codes(after(shorter))[1]
    assert "seen_before" not in codes(study(spec_of(margin=margin), STEADY), after(shorter))[1]
    axes = {"global_batch": [16, 32], "learning_rate": {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5}}
    fresh = spec_of(budget={"epochs": 29}, margin=margin, axes={**axes, "seeds": [100, 101, 102]})
    assert "seen_before" not in codes(first, after(fresh))[1]
