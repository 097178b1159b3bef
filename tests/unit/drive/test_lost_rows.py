"""A run whose rows are gone from the summary at its end says so and ends with 3, not with "done"."""

import contextlib
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from cluster import cli
from cluster.drive import run as running
from cluster.drive.opening import Opened
from cluster.lanes.events import TrialEnded, TrialEvaluated, TrialEvent
from cluster.process import ray_session
from cluster.study.capacity import Capacity
from cluster.study.preflight import examine
from cluster.study.spec import load
from cluster.summary import query
from cluster.summary.store import Summary
from tests.conftest import write_prepared
from tests.support.studies import LSTM, write_study
from trainer.errors import NotReadyError
from trainer.report import State

Harm = Callable[[Path], None]
Run = Callable[..., tuple[int, list[str]]]
UNLOST: Any = SimpleNamespace(lost=lambda: None)


class Trained:
    """A schedule without lanes: each trial is evaluated twice and completes, then something happens to the summary.

    The lanes of the first `gone` trials go away after the scheduler has stopped these, before they can write a row.
    """

    cause: None = None

    def __init__(self, here: Opened, watch: Callable[[TrialEvent], None], harm: Harm, gone: int) -> None:
        self._study, self._summary, self._watch, self._harm, self._gone = here.study, here.summary, watch, harm, gone
        self._trials = [trial for trial in here.study.trials if trial.trial_id not in here.answered]

    def wait(self, seconds: float) -> bool:
        for number, trial in enumerate(self._trials):
            key = {"study": self._study.spec.study, "trial_id": trial.trial_id, "attempt": 1}
            self._summary.attempt_started(**key, fields={})
            if number < self._gone:
                self._watch(TrialEnded(trial=trial, examples=17, state=State.STOPPED))
                continue
            for part, update in enumerate((0, 6)):
                self._summary.write_evaluations([{**key, "update": update, "validation_loss": 1.0}], part=part)
                self._watch(TrialEvaluated(trial=trial, examples=17 * update, validation_loss=1.0))
            axes = {"global_batch": trial.global_batch, "learning_rate": trial.learning_rate, "seed": trial.seed}
            row = {**axes, "optimizer": trial.optimizer, "dtype": trial.dtype, "best_validation_loss": 1.0}
            times = dict.fromkeys(("started_at", "ended_at"), datetime.now(UTC))
            self._summary.write_trial({**key, **row, **times, "state": "COMPLETED"})
            self._watch(TrialEnded(trial=trial, examples=102, state=State.COMPLETED))
        self._harm(Path(self._summary.uri))
        return True

    def cancel(self) -> None:
        """Nothing runs any more."""

    def leave(self) -> None:
        """Nor does Tune."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a study of three trials, after which the given harm is done; its exit code and lines on stderr."""
    write_prepared(tmp_path / "data")
    axes = {"global_batch": [17], "learning_rate": 0.01, "seeds": 3}
    write_study(tmp_path, data="data", summary="summary", model=LSTM, axes=axes)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_session, "local", lambda **resources: contextlib.nullcontext(UNLOST))
    monkeypatch.setattr(sys, "argv", ["batchscope", "run", "study.yaml"])

    def once(harm: Harm, *, gone: int = 0) -> tuple[int, list[str]]:
        def begun(here: Opened, storage: str, watch: Callable[[TrialEvent], None]) -> Any:
            return Trained(here, watch, harm, gone)

        monkeypatch.setattr(running, "begun_schedule", begun)
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(str(end.value.code)), capsys.readouterr().err.splitlines()

    return once


def first(table: str) -> Harm:
    return lambda summary: min((summary / table / "study=tiny").iterdir()).unlink()


def flipped(summary: Path) -> None:
    file = min((summary / "trials" / "study=tiny").glob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(bytes(content))


def test_a_run_whose_rows_are_there_is_done(run: Run) -> None:
    status, said = run(lambda summary: None)
    assert status == 0, said
    assert not any("no row" in line for line in said)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (first("trials"), "1 of 3 trials that ended have no row ("),
        (lambda summary: shutil.rmtree(summary / "trials"), "3 of 3 trials that ended have no row ("),
        (first("evaluations"), "1 evaluations are missing (of "),
        (flipped, "1 of 3 trials that ended have no row ("),
        (shutil.rmtree, "was deleted or replaced while study 'tiny' ran"),
    ],
    ids=["a row", "all rows", "evaluations", "a damaged row", "everything"],
)
def test_a_run_whose_rows_are_gone_says_so(harm: Harm, message: str, run: Run) -> None:
    status, said = run(harm)
    assert status == 3, said
    assert message in said[-1]
    assert "run the same command again" in said[-1]


def test_rows_of_an_earlier_run_are_missed_too(run: Run, tmp_path: Path) -> None:
    assert run(lambda summary: None)[0] == 0
    spec = yaml.safe_load((tmp_path / "study.yaml").read_text())
    spec["axes"]["global_batch"] = [16, 17]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(spec))
    whole = tmp_path / "summary" / "trials" / "study=tiny" / "whole.000000001.parquet"

    def harm(summary: Path) -> None:
        whole.unlink()

    status, said = run(harm)
    assert status == 3, said
    assert "3 of 6 trials that ended have no row" in said[-1]


def test_what_was_heard_before_the_surroundings_failed_is_told(run: Run) -> None:
    def harm(summary: Path) -> None:
        raise NotReadyError("the disk is full")

    status, said = run(harm)
    assert status == 3, said
    assert any(line.startswith("3 done, 0 running") for line in said), said


def rows_of(folder: Path) -> list[tuple[str, str]]:
    trials = query.trials(Summary(str(folder / "summary")), "tiny")
    return [(row["state"], row["error"]) for row in trials.sort_by("trial_id").to_pylist()]


def test_a_lane_that_went_away_before_its_row_leaves_it_lost_and_no_file_is_called_deleted(
    run: Run, tmp_path: Path
) -> None:
    status, said = run(lambda summary: None, gone=1)
    assert status == 4, said
    assert not any("deleted" in line for line in said)
    assert any(line.startswith("1 trials were stopped early and left no answer (") for line in said)
    assert sorted(state for state, _ in rows_of(tmp_path)) == ["COMPLETED", "COMPLETED", "LOST"]
    # All rows are compacted, that one too.
    assert [file.name for file in (tmp_path / "summary" / "trials" / "study=tiny").iterdir()] == [
        "whole.000000001.parquet"
    ]


def test_an_attempt_that_ended_while_it_was_taken_for_lost_keeps_its_row_and_hides_no_other_problem(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Summary.lost_attempts

    def late(summary: Summary, study: str) -> list[dict[str, Any]]:
        """On a cluster a lane may outlive its driver's connection."""
        found = listed(summary, study)
        for row in found:
            summary.write_trial({**row, "state": "COMPLETED", "best_validation_loss": 1.0})
        return found

    monkeypatch.setattr(Summary, "lost_attempts", late)

    def harm(summary: Path) -> None:
        raise NotReadyError("the head of the cluster does not answer any more")

    status, said = run(harm, gone=1)
    assert status == 3, said
    assert said[-1] == "batchscope: the head of the cluster does not answer any more"
    assert [state for state, _ in rows_of(tmp_path)] == ["COMPLETED"] * 3


def test_an_attempt_that_ends_while_the_next_driver_opens_the_study_is_its_answer(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = Summary.write_study

    def late(summary: Summary, row: dict[str, Any]) -> None:
        """A lane of the driver before ends its attempt after the study was read."""
        for begun in summary.lost_attempts("tiny"):
            summary.write_trial({**begun, "state": "COMPLETED", "best_validation_loss": 1.0})
        declared(summary, row)

    trial, *_ = examine(load("study.yaml"), Capacity(cpus=2.0, gpus=0.0)).trials
    Summary("summary").attempt_started("tiny", trial.trial_id, 1, {"started_at": datetime.now(UTC)})
    monkeypatch.setattr(Summary, "write_study", late)
    status, said = run(lambda summary: None)
    assert status == 0, said
    assert [state for state, _ in rows_of(tmp_path)] == ["COMPLETED"] * 3
