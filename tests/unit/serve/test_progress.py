"""How far a study is said to be, against a study written by hand."""

from datetime import timedelta
from pathlib import Path

import pytest

from cluster.report.serve import reading
from cluster.report.serve.html import counted, money, under_way
from cluster.report.serve.progress import progress
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.tables import EVALUATIONS
from tests.unit.serve.test_serve import SPEC_JSON, START, trial


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    """Of 8 trials, with 1,600 rows: two completed, one lost and resumed, one begun, one cancelled."""
    found = Summary(str(tmp_path))
    row = {"study": "wiki", "spec_hash": "a1", "trials": 8, "started_at": START, "train_rows": 1600}
    found.write_study({**row, "spec_json": SPEC_JSON})
    found.write_trial(trial("1"))
    found.write_trial(trial("2", started_at=START - timedelta(seconds=5), seconds_waiting=5.0))
    found.write_trial(trial("3", state="LOST", cost_usd=0.02))
    found.write_trial(trial("5", state="CANCELLED", cost_usd=None))
    key = {"study": "wiki", "trial_id": "3"}
    for attempt, update in ((1, 10), (1, 20), (2, 15)):
        row = {**key, "attempt": attempt, "update": update, "examples": 16 * update, "validation_loss": 1 / update}
        found.write_evaluations([row], part=update)
    begun = {"global_batch": 16, "learning_rate": 0.001, "optimizer": "adam", "dtype": "float32", "workers": 2}
    for trial_id, attempt, changes in (("3", 2, {}), ("4", 1, {"global_batch": 1600})):
        fields = {**begun, "seed": int(trial_id), "started_at": START + timedelta(seconds=20), **changes}
        found.attempt_started("wiki", trial_id, attempt, fields)
    return found


def test_what_is_done_runs_and_waits(summary: Summary) -> None:
    found = reading.study_tables(summary, "wiki").progress
    assert (found.asked, found.done, len(found.running), found.waiting) == (8, 2, 2, 4)
    assert found.going_on
    assert counted(found) == ["2 of 8 trials done", "2 under way", "4 waiting", "1 cancelled, to be resumed"]
    resumed, begun = found.running
    assert (resumed.trial_id, resumed.attempt, resumed.updates, resumed.planned_updates) == ("3", 2, 15, 300)
    assert resumed.validation_loss == 1 / 15
    assert (begun.trial_id, begun.updates, begun.planned_updates, begun.validation_loss) == ("4", 0, 3, None)
    *_, line, cost = under_way(found)
    assert line == (
        "under way: global batch 16, rate 0.001, seed 3, 15 of 300 updates, validation loss 0.0667; "
        "global batch 1600, rate 0.001, seed 4, not evaluated yet"
    )
    assert cost.endswith("usd so far for trials under way")
    listed = reading.listing(summary).progress["wiki"]
    assert (listed.done, len(listed.running), listed.cost_usd) == (found.done, len(found.running), found.cost_usd)


def test_what_it_costs(summary: Summary) -> None:
    now = START + timedelta(seconds=50)
    specs, trials = query.studies(summary, "wiki"), query.trials(summary, "wiki")
    begun = summary.lost_attempts("wiki")
    found = progress("wiki", specs, trials, EVALUATIONS.empty_table(), begun, now)
    # 4 cents for 3 attempts of 10 s on 2 workers; two attempts run for 30 s on 2 workers each.
    assert found.cost_usd == pytest.approx(0.04)
    assert found.running_usd == pytest.approx(0.04 / 60 * 120)
    assert found.unpriced == 1
    assert money(found) == [
        "0.04 usd so far",
        "about 0.08 usd more for trials under way",
        "1 attempts without a known price",
    ]


def test_a_finished_study_does_not_go_on(summary: Summary) -> None:
    summary.write_trial(trial("3", attempt=2, state="DIVERGED"))
    for number in (4, 5, 6, 7, 8):
        summary.write_trial(trial(str(number), attempt=2 if number == 5 else 1, seed=number))
    found = reading.study_progress(summary, "wiki")
    assert (found.done, found.running, found.waiting, found.going_on) == (8, [], 0, False)


def test_a_study_never_has_more_trials_than_it_wants(summary: Summary) -> None:
    summary.write_trial(trial("3", attempt=2))
    for number in range(4, 13):
        summary.write_trial(trial(str(number), attempt=2 if number == 5 else 1, seed=number))
    found = reading.study_progress(summary, "wiki")
    assert (found.asked, found.done, found.waiting) == (12, 12, 0)


def test_what_ran_out_of_memory_is_done_only_where_it_cannot_go_on_in_smaller_parts(summary: Summary) -> None:
    summary.write_trial(trial("6", state="OUT_OF_MEMORY", micro_batch_next=4))
    summary.write_trial(trial("7", state="OUT_OF_MEMORY"))
    found = reading.study_progress(summary, "wiki")
    assert (found.done, found.waiting, found.states["OUT_OF_MEMORY"]) == (3, 3, 2)


def test_a_spec_of_another_version_plans_nothing(summary: Summary) -> None:
    row = {"study": "wiki", "spec_hash": "a2", "trials": 9, "train_rows": 1600, "started_at": START + timedelta(days=1)}
    summary.write_study({**row, "spec_json": '{"study": "wiki", "of_tomorrow": 1}'})
    found = reading.study_tables(summary, "wiki").progress
    assert found.asked == 9
    assert [one.planned_updates for one in found.running] == [None, None]


def test_each_thing_that_is_written_makes_another_version(summary: Summary) -> None:
    def versions() -> tuple[str, str]:
        return (
            reading.version(summary, reading.OF_STUDY, "wiki"),
            reading.version(summary, reading.OF_LIST, None),
        )

    before = versions()
    assert versions() == before
    row = {"study": "wiki", "trial_id": "4", "attempt": 1, "update": 1, "examples": 16}
    summary.write_evaluations([row], part=0)
    after = versions()
    assert after[0] != before[0]
    assert after[1] == before[1]
    seen = {before, after}
    summary.attempt_started("wiki", "6", 1, {"global_batch": 16})
    seen.add(versions())
    summary.write_trial(trial("6"))
    seen.add(versions())
    row = {"study": "wiki", "spec_hash": "a1", "trials": 9, "started_at": START, "train_rows": 1600}
    summary.write_study(row)
    seen.add(versions())
    assert len({of_study for of_study, _ in seen}) == 5
    assert len({of_list for _, of_list in seen}) == 4
