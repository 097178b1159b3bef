"""Confirmations that diverged, failed or were lost: every planned seed counts, and survivors alone conclude nothing."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pyarrow.compute as pc
import pytest

from cluster.analysis.asked import specs_of
from cluster.analysis.cells import cells_of
from cluster.analysis.figures import CellVerdict
from cluster.analysis.verdict import GroupVerdict, Verdict, judge
from cluster.report.page.page import page
from cluster.report.verdict import sentences, warnings
from cluster.report.verdict_table import table, to_json
from tests.support.simulated import BATCHES, Tables, World, spec_of, study
from tests.support.stored import store

AXES = {**spec_of().axes.model_dump(), "global_batch": [16, 128, 512]}


def ended(batch: int, *states: str) -> dict[tuple[int, int], str]:
    """The first confirmations of a batch size end so."""
    return {(batch, seed): state for seed, state in enumerate(states)}


@cache
def tables_of(*states: str, batch: int = 512, after: float = 0.0, floor: float = 0.8, number: int = 0) -> Tables:
    world = World(
        run_deviation=0.005,
        ends=ended(batch, *states),
        ends_after=after,
        floors={batch: floor},
        random_seed=number,
    )
    return study(spec_of(axes=AXES), world)


def judged(tables: Tables) -> tuple[Verdict, GroupVerdict, dict[int, CellVerdict]]:
    verdict = judge(*tables)
    return verdict, verdict.groups[0], {cell.global_batch: cell for cell in verdict.groups[0].cells}


def outcomes(group: GroupVerdict) -> Mapping[int, str]:
    return {one.global_batch: one.outcome for one in group.qualities}


@pytest.mark.parametrize("after", [0.0, 0.5])
@pytest.mark.parametrize("states", [("DIVERGED",) * 2, ("DIVERGED",), ("DIVERGED",) * 3])
def test_survivors_are_neither_equivalent_nor_soonest(states: tuple[str, ...], after: float) -> None:
    # Equal losses, and the least time of all to the target: without the runs that diverged it would be both.
    tables = tables_of(*states, batch=16, after=after)
    verdict, group, cells = judged(tables)
    # Two survivors are too few for an outcome of their own.
    assert outcomes(group).get(16) == ("unreliable" if len(states) < 3 else None)
    assert group.reference != 16
    assert group.soonest
    assert all(16 not in (*one.candidates, *one.ratios) for one in group.soonest)
    told = f"{len(states)} of 5 planned confirmations diverged"
    assert any(line.startswith(f"B = 16 is unreliable: {told}") for line in sentences(verdict))
    assert not [line for line in sentences(verdict)[1:] if "B = 16" in line and "soonest" in line]
    assert sentences(verdict)[0].endswith("; B = 16 is unreliable.") == (len(states) < 3)
    [refusal] = [one for one in group.cannot if one.code == "unreliable"]
    assert told in refusal.text
    assert len(refusal.trials) == len(states)
    [row] = [row for row in table(verdict).to_pylist() if row["global_batch"] == 16]
    assert row["against_reference"] == "unreliable"
    assert row["seeds"] == 5 - len(states)
    assert row["without_result"] == f"{len(states)} diverged"
    assert cells[16].missing == {"diverged": len(states)}


@pytest.mark.parametrize("states", [("DIVERGED",), ("DIVERGED",) * 2])
@pytest.mark.parametrize("number", [1, 2])
def test_survivors_with_the_lowest_loss_are_not_better(states: tuple[str, ...], number: int) -> None:
    verdict, group, _ = judged(tables_of(*states, number=number, floor=0.6))
    assert outcomes(group)[512] == "unreliable"
    assert group.reference != 512
    [ranking] = [line for line in sentences(verdict) if line.startswith("Lowest mean validation loss")]
    assert "B = 512" not in ranking


def test_one_that_is_worse_stays_worse() -> None:
    verdict, group, _ = judged(tables_of("DIVERGED", floor=1.1))
    assert outcomes(group)[512] == "worse"
    [line] = [line for line in sentences(verdict) if "is worse than" in line]
    assert "on 4 of 5 planned seeds at B = 512 (1 diverged)" in line


@pytest.mark.parametrize("after", [0.0, 0.02])
def test_runs_that_diverged_before_they_were_evaluated_count_as_misses(after: float) -> None:
    _, _, cells = judged(tables_of("DIVERGED", "DIVERGED", "DIVERGED", after=after))
    reached = cells[512].reach
    assert reached is not None
    assert (reached.success.reached, reached.success.runs) == (2, 5)
    assert not reached.every_run
    measure = reached.measures["updates"]
    assert measure is not None
    # Two of five came there: fewer than half, so there is no median; the other three are charged the whole cap.
    assert measure.median is None
    came = [run.updates for run in reached.runs if run.reached]
    assert measure.restricted_mean == pytest.approx((sum(came) + 3 * measure.tau) / 5)
    spent = [run.updates for run in reached.runs]
    assert len(spent) == 5
    assert measure.expected == pytest.approx(sum(spent) / 2)
    seconds, usd = reached.measures["seconds"], reached.measures["usd"]
    assert seconds is not None
    assert usd is not None
    assert seconds.expected is not None
    # Whole runs that diverged are paid, evaluated or not.
    assert usd.expected == pytest.approx(seconds.expected * 0.001)


@pytest.mark.parametrize("state", ["FAILED", "LOST", "OUT_OF_MEMORY"])
def test_seeds_without_an_answer_are_counted_and_the_rest_decides(state: str) -> None:
    word = state.lower().replace("_", " ")
    word = {"out of memory": "ran out of memory"}.get(word, word)
    verdict, group, cells = judged(tables_of(state, state))
    assert outcomes(group)[512] == "equivalent"
    assert (cells[512].seeds, cells[512].completed) == (5, 3)
    [line] = [line for line in sentences(verdict) if "is equivalent to" in line]
    assert f"on 3 of 5 planned seeds at B = 512 (2 {word})" in line
    reached = cells[512].reach
    assert reached is not None
    assert (reached.success.reached, reached.success.runs) == (3, 5)
    assert reached.every_run
    [row] = [row for row in table(verdict).to_pylist() if row["global_batch"] == 512]
    assert (row["reached"], row["seeds"], row["without_result"]) == ("3/5", 3, f"2 {word}")
    soonest = next(first for first in group.soonest if first.measure == "seconds")
    ratio = soonest.ratios.get(512)
    assert ratio is not None
    assert ratio.pairs == 3
    said = next(line for line in sentences(verdict) if "soonest and cheapest to the target of" in line)
    assert f"on 3 of 5 planned seeds at B = 512 (2 {word})" in said
    assert any(f"B = 512: judged on 3 of 5 planned seeds (2 {word})" in line for line in warnings(verdict))
    assert not [one for one in group.cannot if one.code == "unreliable"]


def test_seeds_of_the_reference_without_an_answer_are_said() -> None:
    tables = tables_of(batch=16)
    reference = judged(tables)[1].reference
    assert reference is not None
    verdict, group, _ = judged(tables_of("FAILED", batch=reference))
    assert group.reference == reference
    [line] = [line for line in sentences(verdict) if "is equivalent to" in line]
    assert f"on 4 of 5 planned seeds at B = {reference} (1 failed)" in line


def test_seeds_that_have_not_run_yet_are_planned_all_the_same() -> None:
    studies, trials, evaluations = tables_of(batch=16)
    rows = [row for row in trials.to_pylist() if row["phase"] != "confirm" or row["seed"] < 3]
    verdict, _, cells = judged((studies, type(trials).from_pylist(rows, schema=trials.schema), evaluations))
    assert all(cell.missing == {"waiting": 2} for cell in cells.values())
    assert any("on 3 of 5 planned seeds" in line and "2 not run yet" in line for line in sentences(verdict))
    assert {cell.reach.success.runs for cell in cells.values() if cell.reach} == {5}


def test_for_a_seed_that_served_in_the_screen_the_next_free_one_is_planned() -> None:
    grown = spec_of(axes={**AXES, "seeds": 7})
    studies, trials, evaluations = tables_of(batch=16)
    # Screened on the seed after the last: 5.
    later = study(grown, World(), declared_after=True)[0]
    specs = specs_of(type(studies).from_pylist([*studies.to_pylist(), *later.to_pylist()], studies.schema), trials)
    taken = set(trials.filter(pc.field("phase") == "screen")["seed"].to_pylist())
    for cell in cells_of(trials, evaluations, specs):
        expected = [seed for seed in range(8 if 5 in taken else 7) if seed not in taken]
        assert cell.planned == tuple(expected)
        assert cell.late == tuple(expected[5:])
        assert cell.missing == {"waiting": 2}


def test_a_batch_size_whose_confirmations_all_failed_is_still_there() -> None:
    verdict, group, cells = judged(tables_of(*["FAILED"] * 5))
    assert cells[512].missing == {"failed": 5}
    assert cells[512].completed == 0
    assert 512 not in outcomes(group)
    [refusal] = [one for one in group.cannot if one.code == "few_confirmations"]
    assert "B = 512" in refusal.text
    assert "512" in table(verdict)["global_batch"].to_pylist().__repr__()


def test_where_every_batch_size_has_diverged_runs_nothing_is_compared() -> None:
    ends = {(batch, 0): "DIVERGED" for batch in BATCHES}
    _, group, _ = judged(study(spec_of(), World(run_deviation=0.005, ends=ends)))
    assert group.reference is None
    assert group.arms == ()
    assert group.soonest == ()


@pytest.mark.slow
def test_one_number_on_every_surface(tmp_path: Any) -> None:
    tables = tables_of("DIVERGED", "FAILED", batch=128)
    verdict, _, _ = judged(tables)
    found = json.loads(to_json(verdict, sentences(verdict)))
    [cell] = [cell for cell in found["groups"][0]["cells"] if cell["global_batch"] == 128]
    assert (cell["seeds"], cell["completed"], cell["missing"]) == (5, 3, {"diverged": 1, "failed": 1})
    assert (cell["reach"]["success"]["reached"], cell["reach"]["success"]["runs"]) == (3, 5)
    shown = page(store(tmp_path, tables), "simulated")
    assert "<td>3 of 5</td>" in shown
    assert "unreliable" in shown
    assert "3 of 5 runs reached it" in shown
    [own] = [one for one in cells_of(*tables[1:], specs_of(*tables[:2])) if one.global_batch == 128]
    assert own.planned == (0, 1, 2, 3, 4)
    assert len(own.runs) + len(own.unanswered) == 5
