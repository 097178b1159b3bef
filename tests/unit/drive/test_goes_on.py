"""A run that lost its study goes on by itself: what it has spent stays spent, and a person's signal is heeded."""

import contextlib
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from cluster.cli import run as command
from cluster.drive import run as drive
from cluster.drive.events import RayConnected, StudyOpened, Waiting
from cluster.lanes.events import TrialEnded
from cluster.lanes.tally import Tally
from cluster.process import signals
from cluster.report.live import LiveView
from cluster.report.progress_lines import sentence
from cluster.report.stage_line import StageLine
from cluster.summary.driver.hold import LapsedError
from tests.unit.lanes.test_queue import TRIAL
from trainer.report import State


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A study of which the first run loses the hold, after a trial that failed for 3 USD; the second returns money."""
    runs: list[Tally] = []

    def once(run: Any, tally: Tally) -> Any:
        runs.append(tally)
        if len(runs) == 1:
            tally.note(TrialEnded(trial=TRIAL, state=State.FAILED, cost_usd=3.0))
            raise LapsedError("not renewed")
        return tally

    monkeypatch.setattr(drive, "_once", once)
    return SimpleNamespace(capacity=SimpleNamespace(fleet=None), spec=SimpleNamespace(summary="s3://bucket/summary"))


def test_money_counts_on_and_failures_do_not(study: Any) -> None:
    heard: list[Any] = []
    tally: Any = drive.run(study, heard.append, address="auto")
    assert (tally.cost_usd(), tally.failed, tally.unpriced) == (3.0, 0, False)
    tally.note(TrialEnded(trial=TRIAL, state=State.COMPLETED, cost_usd=0.5))
    assert tally.cost_usd() == 3.5
    [waiting] = heard
    assert isinstance(waiting, Waiting)
    assert "s3://bucket/summary could not be reached in time" in waiting.text


def test_after_a_signal_it_ends(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "count", lambda: 1)
    with pytest.raises(LapsedError):
        drive.run(study, lambda event: None, address="auto")


def test_its_live_view_takes_the_place_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    view = LiveView(examples=lambda trial: 8.0, expected_trials=1, expected_examples=8.0, finished_before=0, lanes=1)
    monkeypatch.setattr(LiveView, "of", lambda study, **counts: view)
    monkeypatch.setattr("cluster.report.headline.headline", lambda *_: "head")
    monkeypatch.setattr("cluster.plan.evaluating.hint_from_rows", lambda study: None)
    before = threading.active_count()
    with contextlib.ExitStack() as shown:
        stage = shown.enter_context(StageLine("loading"))
        hear = command._shown(shown, stage, lambda study: None, sentence)
        for _ in range(2):
            hear(StudyOpened(study=Mock(), asked=1, finished=0, finished_examples=0))
            hear(RayConnected(study=Mock(), bill_usd=lambda: 1.5))
            assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert "1.50 usd for the whole fleet so far" in capsys.readouterr().err


def test_where_nothing_is_left_to_train_it_tells_what_was_spent_before(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = SimpleNamespace(open=False, trials=())
    here: Any = SimpleNamespace(study=Mock(), answered=frozenset(), unfolding=SimpleNamespace(plan=plan))
    monkeypatch.setattr(drive, "opened", lambda study, say: contextlib.nullcontext(here))
    monkeypatch.setattr(drive, "_opening", lambda here: None)
    monkeypatch.setattr(drive, "_closed", lambda here, result, heard, on_event: result)
    meter: Any = SimpleNamespace(usd=lambda: 9.0)
    tally = Tally()
    tally.note(TrialEnded(trial=TRIAL, state=State.COMPLETED, cost_usd=3.0))
    result = drive._once(drive._Run(Mock(), lambda event: None, None, None, 0.0, meter), tally.carried_on())
    assert (result.cost_usd, result.bill_usd) == (3.0, 9.0)
