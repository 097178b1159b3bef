"""A run whose rows are gone from the summary at its end says so and ends with 3, not with "done"."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import cli, machines
from cluster import run as running
from cluster.lanes.schedule import Event
from cluster.preflight import Study
from cluster.summary.store import Summary
from tests.conftest import write_prepared
from trainer.report import State

Harm = Callable[[Path], None]


class Trained:
    """A schedule without lanes: each trial is evaluated twice and completes, then something happens to the summary."""

    def __init__(
        self, study: Study, losses: Mapping[str, float], summary: Summary, watch: Callable[[Event], None], harm: Harm
    ) -> None:
        self._study, self._summary, self._watch, self._harm = study, summary, watch, harm
        self._trials = [trial for trial in study.trials if trial.trial_id not in losses]

    def wait(self, seconds: float) -> bool:
        for trial in self._trials:
            key = {"study": self._study.spec.study, "trial_id": trial.trial_id, "attempt": 1}
            self._summary.attempt_started(**key, fields={})
            for part, update in enumerate((0, 6)):
                self._summary.write_evaluations([{**key, "update": update, "validation_loss": 1.0}], part=part)
                self._watch(Event(trial=trial, examples=17 * update, validation_loss=1.0))
            axes = {"global_batch": trial.global_batch, "learning_rate": trial.learning_rate, "seed": trial.seed}
            row = {**axes, "optimizer": trial.optimizer, "dtype": trial.dtype, "best_validation_loss": 1.0}
            times = dict.fromkeys(("started_at", "ended_at"), datetime.now(UTC))
            self._summary.write_trial({**key, **row, **times, "state": "COMPLETED"})
            self._watch(Event(trial=trial, examples=102, state=State.COMPLETED))
        self._harm(Path(self._summary.uri))
        return True

    def cancel(self) -> None:
        """Nothing runs any more."""


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Harm], tuple[int, list[str]]]:
    """Runs a study of three trials, after which the given harm is done; its exit code and lines on stderr."""
    write_prepared(tmp_path / "data")
    spec = {
        "study": "tiny",
        "data": "data",
        "summary": "summary",
        "task": "classification",
        "model": {"embedding_units": 6, "lstm_units": 5},
        "axes": {"global_batch": [17], "learning_rate": 0.01, "seeds": 3},
        "budget": {"updates": 6},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(spec))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machines, "local_ray", lambda placed: contextlib.nullcontext())
    monkeypatch.setattr(sys, "argv", ["batchscope", "run", "study.yaml"])

    def once(harm: Harm) -> tuple[int, list[str]]:
        @contextlib.contextmanager
        def training(
            study: Study, losses: Mapping[str, float], summary: Summary, watch: Callable[[Event], None]
        ) -> Iterator[Any]:
            yield Trained(study, losses, summary, watch, harm)

        monkeypatch.setattr(running, "training", training)
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


def test_a_run_whose_rows_are_there_is_done(run: Callable[[Harm], tuple[int, list[str]]]) -> None:
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
def test_a_run_whose_rows_are_gone_says_so(
    harm: Harm, message: str, run: Callable[[Harm], tuple[int, list[str]]]
) -> None:
    status, said = run(harm)
    assert status == 3, said
    assert message in said[-1]
    assert "run the same command again" in said[-1]


def test_rows_of_an_earlier_run_are_missed_too(run: Callable[[Harm], tuple[int, list[str]]], tmp_path: Path) -> None:
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
