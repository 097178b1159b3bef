"""The verdict of a campaign notices each thing that could be wrong, and nothing where all is right."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster.summary.store import Summary
from tests.faults.verdict import OF_EVALUATIONS, OF_ROWS, STUDY, Answers, wrong_in
from trainer.report import Evaluation, Outcome, State

TRIAL, NOW = "00ff", datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = dict.fromkeys(OF_EVALUATIONS, 0.5) | {"seconds": 1.0}
CURVE = [Evaluation(**{**NUMBERS, "update": update, "examples": 17 * update}) for update in (10, 20)]
OUTCOME = Outcome(
    **dict.fromkeys(set(OF_ROWS) - {"state"}, 0.25) | {"updates": 20, "examples": 340, "state": State.COMPLETED},
    **dict.fromkeys(("error", "first_update_at", "examples_per_second", "tokens_per_second"), None),
    **dict.fromkeys(("seconds_training", "seconds_resumed", "seconds_evaluating", "seconds_saving"), 0.0),
)
UNDISTURBED: Answers = {TRIAL: (CURVE, OUTCOME)}
KEPT = ("best.json", "best.npz", "last.json", "last.npz")


def row(**changes: Any) -> dict[str, Any]:
    of_study = {"study": STUDY, "trial_id": TRIAL, "attempt": 2, "phase": "grid", "optimizer": "adam"}
    numbers = {name: getattr(OUTCOME, name) for name in OF_ROWS} | {"state": "COMPLETED", "dtype": "float32"}
    times = {"started_at": NOW, "ended_at": NOW + timedelta(seconds=9), "seconds_training": 5.0}
    axes = {"global_batch": 17, "learning_rate": 0.01, "seed": 1, "data_hash": "da", "spec_hash": "5b", "workers": 1}
    return {**of_study, **numbers, **times, **axes, **changes}


def found_in(folder: Path, rows: list[dict[str, Any]], curve: list[Evaluation] = CURVE, *, marked: int = 2) -> str:
    summary = Summary(str(folder / "summary"))
    summary.write_study({"study": STUDY, "spec_hash": "5b", "started_at": NOW, "trials": 1})
    for one in rows:
        summary.write_trial(one)
    for attempt in range(1, marked + 1):
        summary.attempt_started(STUDY, TRIAL, attempt, {"started_at": NOW})
    identity = {"study": STUDY, "trial_id": TRIAL, "attempt": rows[-1]["attempt"]}
    points = [{**identity, **{name: getattr(one, name) for name in OF_EVALUATIONS}, "seconds": 1.0} for one in curve]
    for part, one in enumerate(points):
        summary.write_evaluations([one], part=part)
    for name in KEPT:
        summary.store.write(f"checkpoints/study={STUDY}/{TRIAL}/{name}", b"")
    return "; ".join(wrong_in(summary, UNDISTURBED, complete=True, clocks=True))


LOST = row(attempt=1, state="LOST", updates=None)


def test_nothing_is_wrong_where_nothing_is(tmp_path: Path) -> None:
    assert found_in(tmp_path, [LOST, row()]) == ""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([LOST, row(state="FAILED")], "trial 00ff has 0 answers"),
        ([row(attempt=1), row()], "trial 00ff has 2 answers"),
        ([LOST, row(test_loss=0.25000000000000006)], "test_loss 0.25000000000000006 for 0.25"),
        ([row()], "rows of attempts [2]"),
        ([row()], "2 attempts began, 1 have a row"),
        ([LOST, row(seconds_training=11.0)], "took 9 s, of which 11 s are training"),
        ([LOST, row(seconds_resumed=6.0)], "trained for -1 s"),
    ],
)
def test_what_is_wrong_with_rows_is_noticed(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    assert said in found_in(tmp_path, rows)


@pytest.mark.parametrize(
    ("curve", "said"),
    [
        (CURVE[:1], "the evaluation of ('00ff', 20) is there 0 times"),
        ([*CURVE, CURVE[1]], "they have a key that is in 00ff-2-1.parquet too"),
        ([CURVE[0], replace(CURVE[1], gradient_norm=0.5000000000000001)], "gradient_norm 0.5000000000000001 for 0.5"),
    ],
)
def test_what_is_wrong_with_curves_is_noticed(tmp_path: Path, curve: list[Evaluation], said: str) -> None:
    assert said in found_in(tmp_path, [LOST, row()], curve)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "best.npz").unlink(), "that are missing: ['00ff/best.npz']"),
        (lambda folder: (folder / "resume-1.npz").touch(), "that nobody needs: ['00ff/resume-1.npz']"),
    ],
)
def test_what_is_wrong_with_weights_is_noticed(tmp_path: Path, change: Callable[[Path], None], said: str) -> None:
    assert found_in(tmp_path, [LOST, row()]) == ""
    change(tmp_path / "summary" / "checkpoints" / f"study={STUDY}" / TRIAL)
    lines = wrong_in(Summary(str(tmp_path / "summary")), UNDISTURBED, complete=True, clocks=True)
    assert said in "; ".join(lines)


def test_a_store_that_went_back_may_lack_what_came_before_a_row_and_have_nothing_wrong(tmp_path: Path) -> None:
    found_in(tmp_path, [LOST, row()], CURVE[:-1])
    folder = tmp_path / "summary" / "checkpoints" / f"study={STUDY}" / TRIAL
    (folder / "best.npz").unlink()
    summary = Summary(str(tmp_path / "summary"))
    assert len(wrong_in(summary, UNDISTURBED, complete=True, clocks=True)) == 2
    assert wrong_in(summary, UNDISTURBED, complete=True, clocks=True, kept=False) == []
    (folder / "resume-1.npz").touch()
    [line] = wrong_in(summary, UNDISTURBED, complete=True, clocks=True, kept=False)
    assert "resume-1.npz" in line
