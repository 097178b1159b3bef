"""The N-th request fails, for N = 1, 2, ... until a run has none to spoil: nothing is half there, nothing is twice.

As SQLite tests its storage ("How SQLite Is Tested", anomaly testing), in the three modes of Ray's RPC faults: each N in
one of the three, and with --long in all.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cluster.stores.bucket import Bucket
from cluster.summary import compact as compaction
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.studies.change import move
from cluster.summary.studies.place import StudyPlace
from cluster.summary.studies.unfinished import unfinished
from tests.contracts.test_summary import EVALUATION, NOW, STUDY, TRIAL
from tests.support import faults
from tests.support.faults import Proxy
from trainer.checkpoint import Checkpoints, Progress, Saved
from trainer.data.store import Store

pytestmark = pytest.mark.slow

MODES = (faults.LOST_REQUEST, faults.LOST_ANSWER, faults.IN_FLIGHT)
every_mode = pytest.mark.parametrize("mode", MODES)


def run_until_clean(
    proxy: Proxy, store: Bucket, mode: str, run: Callable[[Store], None], *, long: bool, stride: int = len(MODES)
) -> int:
    """Run with the N-th request spoilt, each time in a new place; the last N that there was."""
    for number in itertools.count(1) if long else itertools.count(1 + MODES.index(mode), stride):
        proxy.begin()
        proxy.spoil(mode, first=number)
        run(store.within(f"run-{number}"))
        if not proxy.fired[mode]:
            return number - 1 if long else number - stride
    raise AssertionError


def saved(update: int) -> Saved:
    arrays = [np.full((3, 5), update, "float32"), np.arange(update)]
    return Saved(progress=Progress(update=update), weights=arrays, optimizer_state=arrays, best_weights=arrays)


@every_mode
def test_checkpoints(proxy: Proxy, store: Bucket, mode: str, long: bool) -> None:
    def run(place: Store) -> None:
        checkpoints = Checkpoints(place, "trial")
        assert checkpoints.newest() is None
        for update in (1, 2, 3):
            checkpoints.save(saved(update))
            found = checkpoints.newest()
            assert found is not None
            assert found.progress.update == update
            assert found.weights[0].tobytes() == saved(update).weights[0].tobytes()
        checkpoints.finish(best=saved(2).weights, last=saved(3).weights)
        assert place.names() == ["best.json", "best.npz", "last.json", "last.npz"]
        for name, update in (("best", 2), ("last", 3)):
            weights = checkpoints.weights(name)
            assert weights is not None
            assert weights[1].tolist() == list(range(update))

    assert run_until_clean(proxy, store, mode, run, long=long) > 30


@every_mode
def test_the_rows_of_a_trial(proxy: Proxy, store: Bucket, mode: str, long: bool) -> None:
    evaluations: list[dict[str, Any]] = [{**EVALUATION, "update": update} for update in (1, 2, 3)]

    def run(place: Store) -> None:
        summary = Summary(place.uri)
        assert summary.next_attempt("wiki", "00ff") == 1
        summary.attempt_started("wiki", "00ff", 1, {"started_at": NOW})
        assert [row["attempt"] for row in summary.lost_attempts("wiki")] == [1]
        summary.write_evaluations(evaluations[:2], part=0)
        summary.write_evaluations(evaluations[2:], part=1)
        summary.write_trial(TRIAL)
        assert summary.lost_attempts("wiki") == []
        assert query.trials(summary, "wiki").to_pylist() == [TRIAL]
        assert query.evaluations(summary, "wiki").to_pylist() == evaluations

    assert run_until_clean(proxy, store, mode, run, long=long) > 10


@pytest.mark.parametrize("mode", [faults.LOST_ANSWER])
def test_compaction(proxy: Proxy, store: Bucket, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "AT_ONCE", 1)
    trials = [{**TRIAL, "trial_id": name} for name in ("00aa", "00ff")]

    def run(place: Store) -> None:
        summary = Summary(place.uri)
        for trial in trials:
            summary.write_trial(trial)
            summary.write_evaluations([{**EVALUATION, "trial_id": trial["trial_id"]}], part=0)
        compaction.compact(summary, "wiki")
        assert query.trials(summary, "wiki").to_pylist() == trials
        assert len(query.evaluations(summary, "wiki")) == 2
        assert len(place.names("trials/")) == len(place.names("evaluations/")) == 1

    assert run_until_clean(proxy, store, mode, run, long=True) > 15


@pytest.mark.parametrize("mode", [faults.LOST_ANSWER])
def test_a_move(proxy: Proxy, store: Bucket, mode: str, monkeypatch: pytest.MonkeyPatch, long: bool) -> None:
    monkeypatch.setattr(compaction, "AT_ONCE", 1)

    def run(place: Store) -> None:
        old, new = StudyPlace(Summary(place.uri), "wiki"), StudyPlace(Summary(f"{place.uri}-moved"), "wiki")
        old.summary.attempt_started("wiki", "00ff", 1, {})
        old.summary.write_study({**STUDY, "spec_json": '{"study": "wiki"}'})
        old.summary.write_trial(TRIAL)
        move(old, new, lambda _: None)
        assert not old.is_there()
        assert query.trials(new.summary, "wiki").to_pylist() == [TRIAL]
        assert new.summary.next_attempt("wiki", "00ff") == 2
        assert unfinished(old.summary) == unfinished(new.summary) == {}

    # Each takes more than a second, and there are a hundred.
    assert run_until_clean(proxy, store, mode, run, long=long, stride=12) > 60
