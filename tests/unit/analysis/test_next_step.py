"""What more work buys where a study ended undecided, against simulation and arithmetic."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cluster.analysis.next_step import MOST_SEEDS, USD, NextStep
from cluster.analysis.power import chance_to_decide
from cluster.analysis.verdict import Verdict, judge
from cluster.report.verdict import sentences
from cluster.study.looks import ALPHA, p_values
from cluster.summary.tables import TIME
from tests.support.simulated import World, spec_of, study

REPEATS = 4000


@pytest.mark.slow
@pytest.mark.parametrize(("pairs", "truth"), [(5, 0.0), (10, 0.5), (10, 1.6), (20, -1.2), (8, 1.0)])
def test_the_chance_to_decide_is_the_share_of_decided_comparisons(pairs: int, truth: float) -> None:
    draw = np.random.default_rng(3).normal(truth, 1, (REPEATS, pairs))
    decided = 0
    for one in draw:
        different, equivalent = p_values(one.tolist(), 1.0)
        decided += (different <= ALPHA) if abs(one.mean()) >= 1 else (equivalent <= ALPHA)
    # Three deviations of a share of so many repeats, at most.
    assert chance_to_decide(pairs, 1, 1, truth) == pytest.approx(decided / REPEATS, abs=0.024)


def noisy() -> Verdict:
    return judge(*study(spec_of(), World(run_deviation=0.08)))


def test_an_undecided_study_says_what_five_dollars_buy() -> None:
    verdict = noisy()
    group = verdict.groups[0]
    step = group.next_step
    undecided = {one.global_batch: one for one in group.qualities if one.outcome == "undecided"}
    assert step.global_batch in undecided
    assert step.reference == group.reference
    paid = step.usd_screen + step.dollars.seeds * step.usd_seed
    assert step.dollars.seeds == MOST_SEEDS or USD - step.usd_seed < paid <= USD
    chosen = undecided[step.global_batch]
    needed = step.seeds_needed
    arguments = chosen.deviation, verdict.declared.margin, chosen.difference
    assert chance_to_decide(needed - 1, *arguments) < 0.8 <= chance_to_decide(needed, *arguments)
    cells = {cell.global_batch: cell for cell in group.cells}
    assert step.usd_seed == pytest.approx(cells[step.global_batch].usd + cells[step.reference].usd)
    [line] = [line for line in sentences(verdict) if "would decide most easily" in line]
    assert f"B = {step.global_batch} against B = {step.reference}" in line
    assert f"5 usd pay for {step.dollars.seeds} seeds" in line
    assert f"80 % takes {needed} seeds" in line


def test_where_nothing_is_paid_for_it_is_an_hour() -> None:
    verdict = judge(*study(spec_of(), World(run_deviation=0.08, usd_per_second=None)))
    step: NextStep = verdict.groups[0].next_step
    assert (step.dollars, step.usd_seed) == (None, None)
    assert step.hour.seeds == min(MOST_SEEDS, int((3600 - step.seconds_screen) / step.seconds_seed))
    assert any("One more hour pays for" in line for line in sentences(verdict))


def test_a_study_that_is_decided_or_goes_on_has_no_next_step() -> None:
    decided = judge(*study(spec_of(), World(run_deviation=0.002)))
    assert decided.groups[0].next_step is None
    studies, trials, evaluations = study(spec_of(), World(run_deviation=0.08))
    going_on = trials.filter(pc.field("seed") != 4)
    [group] = judge(studies, going_on, evaluations).groups
    assert "undecided" in {one.outcome for one in group.qualities}
    assert group.next_step is None


@pytest.mark.parametrize("seconds", [0, -5])
def test_trainings_that_took_no_time_by_their_rows_promise_nothing(seconds: int) -> None:
    studies, trials, evaluations = study(spec_of(), World(run_deviation=0.08))
    moved = pc.add(trials["started_at"], pa.scalar(timedelta(seconds=seconds)))
    trials = trials.set_column(trials.schema.get_field_index("ended_at"), "ended_at", moved.cast(TIME))
    [group] = judge(studies, trials, evaluations).groups
    assert "undecided" in {one.outcome for one in group.qualities}
    assert group.next_step is None


def test_what_five_dollars_cannot_buy_is_said() -> None:
    group = noisy().groups[0]
    verdict = judge(*study(spec_of(), World(run_deviation=0.08, usd_per_second=1.0)))
    assert verdict.groups[0].next_step.dollars.seeds < 3
    assert verdict.groups[0].next_step.seeds_needed == group.next_step.seeds_needed
    assert any("5 usd do not pay for three seeds" in line for line in sentences(verdict))
    never = replace(verdict.groups[0], next_step=replace(group.next_step, seeds_needed=None))
    assert any(f"more than {MOST_SEEDS} seeds" in line for line in sentences(replace(verdict, groups=(never,))))
