"""Early stopping compares rates of one cell and one seed only."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray")

from cluster.lanes import early
from cluster.lanes.early import StopWithinCells
from cluster.study.protocol import CONFIRM, SCREEN
from tests.support.trials import TINY
from trainer.trial import Duration


def test_each_seed_of_a_cell_has_a_bracket_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Tune hands on is a trial with its config; which trial of ours that is, the queue says.
    monkeypatch.setattr(early, "trial_of", lambda config: config["trial"])

    def bracket(trial: Any, phase: str = SCREEN) -> Any:
        return scheduler._of(SimpleNamespace(config={"trial": trial, "phase": phase}))

    scheduler = StopWithinCells(train_rows=100)
    one = replace(TINY, budget=Duration(unit="epochs", amount=4.0))
    first = bracket(replace(one, seed=1, learning_rate=0.1))
    assert first is bracket(replace(one, seed=1, learning_rate=0.2))
    assert first is not bracket(replace(one, seed=2, learning_rate=0.1))
    assert first is not bracket(replace(one, seed=1, global_batch=one.global_batch + 1))
    assert bracket(replace(one, seed=1), CONFIRM) is None
