"""The live view: what is told from Tune's thread is counted in the thread that reads it, and shown as a table."""

import io
import threading
import time
from dataclasses import replace

import pytest
from rich.console import Console

from cluster.lanes.events import TrialBegan, TrialEnded, TrialEvaluated
from cluster.report.live import LiveView, UnderWay
from cluster.report.live_table import drawn
from cluster.report.pace import Pace
from cluster.report.terminal import Terminal
from tests.unit.lanes.test_queue import TRIAL
from trainer.report import State

TRIALS = 3000


@pytest.mark.timeout(60)
def test_events_that_come_while_the_view_is_read_are_all_counted(capsys: pytest.CaptureFixture[str]) -> None:
    trials = [replace(TRIAL, seed=seed) for seed in range(TRIALS)]
    view = LiveView(
        examples=lambda trial: 8.0, expected_trials=TRIALS, expected_examples=8.0 * TRIALS, finished_before=0, lanes=2
    )
    with Terminal(view) as terminal:

        def tell() -> None:
            for trial in trials:
                terminal.note(TrialBegan(trial=trial))
                terminal.note(
                    TrialEnded(trial=trial, examples=8, validation_loss=1.0 + trial.seed, state=State.COMPLETED)
                )

        teller = threading.Thread(target=tell)
        teller.start()
        while teller.is_alive():
            terminal._refresh()
        teller.join()
    assert view.ended == TRIALS
    assert view.running == {}
    assert f"{TRIALS} done, 0 running, 0 waiting; best loss so far 1.0000" in capsys.readouterr().err


def test_a_pace_is_of_what_was_done_between_reports() -> None:
    begun = Pace(began_at=100.0).reported(0, 104.0)
    assert (begun.examples_per_second(), begun.seconds_left(1000, 105.0)) == (None, None)
    # Resumed at 500: what was done before it counts for nothing.
    once = begun.reported(500, 110.0)
    assert (once.examples_per_second(), once.seconds_left(1000, 110.0)) == (None, None)
    twice = once.reported(600, 120.0).reported(700, 130.0)
    assert twice.examples_per_second() == 10.0
    assert twice.seconds_left(1000, 130.0) == 30.0
    assert twice.seconds_left(1000, 145.0) == 15.0
    assert twice.seconds_left(1000, 1000.0) == 0.0


def shown(view: LiveView, *, height: int = 40, width: int = 120) -> list[str]:
    """The lines on a terminal."""
    console = Console(width=width, height=height, file=io.StringIO())
    with console.capture() as captured:
        console.print(drawn(view, now=20.0, height=height, width=width))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_table_has_what_runs_what_ended_and_the_best() -> None:
    running, done, failed = (replace(TRIAL, seed=seed) for seed in range(3))
    view = LiveView(
        examples=lambda trial: 800.0, expected_trials=4, expected_examples=3200.0, finished_before=0, lanes=2
    )
    for trial in (done, failed, running):
        view.note(TrialBegan(trial=trial))
    view.note(TrialEnded(trial=done, examples=800, validation_loss=0.25, state=State.COMPLETED))
    view.note(TrialEnded(trial=failed, examples=80, validation_loss=0.5, state=State.OUT_OF_MEMORY))
    view.note(TrialEvaluated(trial=running, examples=400, validation_loss=0.75))
    view.running[running] = UnderWay(Pace(0.0, (10.0, 200), (20.0, 400)), 400, 0.75)
    lines = shown(view)
    assert lines[0].split() == ["running", "updates", "of", "validation", "loss", "rows/s", "left"]
    assert lines[1].startswith("global batch 8, rate 0.1, seed 0 ")
    assert lines[1].split()[7:] == ["50", "100", "0.7500", "20", "20", "s"]
    assert lines[3].split() == ["ended", "last", "updates", "best", "loss", "took"]
    assert lines[4].split()[7:] == ["100", "0.2500", "0", "s"]
    assert lines[5].split()[7:] == ["10", "out", "of", "memory", "0.5000", "0", "s"]
    assert lines[8].startswith(
        "2 done, 1 running, 1 waiting; 1 out_of_memory; best loss so far 0.2500 (global batch 8, rate 0.1, seed 1)"
    )


def test_the_table_fits_the_terminal() -> None:
    view = LiveView(examples=lambda trial: 0.0, expected_trials=99, expected_examples=0.0, finished_before=0, lanes=64)
    for seed in range(99):
        view.note(TrialBegan(trial=replace(TRIAL, seed=seed)))
        if seed >= 64:
            view.note(TrialEnded(trial=replace(TRIAL, seed=seed - 64), state=State.COMPLETED))
    lines = shown(view, height=24)
    assert len(lines) <= 24
    assert "and 49 more" in lines
    assert sum("global batch" in line for line in lines) == 16


def test_before_the_first_update_the_stage_and_its_seconds_are_shown() -> None:
    view = LiveView(
        examples=lambda trial: 800.0, expected_trials=1, expected_examples=800.0, finished_before=0, lanes=2
    )
    view.began_at = 5.0
    assert " ".join(shown(view, width=60)[-2:]) == (
        "starting 2 lanes: waiting for Ray's workers, 15 s so far; 0 done, 0 running, 1 waiting"
    )
    view.note(TrialBegan(trial=TRIAL))
    view.running[TRIAL] = UnderWay(Pace(8.0))
    lines = shown(view, width=60)
    assert lines[1].split()[-3:] == ["starting,", "12", "s"]
    assert "workers import TensorFlow" in " ".join(lines)
    view.note(TrialEvaluated(trial=TRIAL, examples=400, validation_loss=0.75))
    assert "starting" not in " ".join(shown(view, width=60))
    view.note(TrialEnded(trial=TRIAL, examples=800, validation_loss=0.5, state=State.COMPLETED))
    assert view.sentence(20.0).startswith("ending Ray and packing the study's rows; 1 done, 0 running, 0 waiting")
    assert view.sentence(20.0).endswith("15 s so far")


def test_what_failed_is_in_the_line_with_its_cause() -> None:
    view = LiveView(examples=lambda trial: 8.0, expected_trials=3, expected_examples=24.0, finished_before=0, lanes=1)
    for seed in range(2):
        view.note(
            TrialEnded(trial=replace(TRIAL, seed=seed), state=State.FAILED, error="ValueError: \x1b[31mno (my.py:3)")
        )
    assert view.line() == "2 done, 0 running, 1 waiting; 2 failed; 2 times: ValueError: no (my.py:3)"
    assert (view.progress()["failed"], view.progress()["seconds_left"]) == (2, None)


def test_a_saved_trial_waits_to_go_on_and_is_not_done() -> None:
    done, saved = (replace(TRIAL, seed=seed) for seed in range(2))
    view = LiveView(
        examples=lambda trial: 800.0, expected_trials=4, expected_examples=3200.0, finished_before=3, lanes=2
    )
    view.note(TrialEnded(trial=done, examples=800, state=State.COMPLETED))
    view.note(TrialEnded(trial=saved, examples=80, state=State.CANCELLED))
    assert view.line() == "4 done, 0 running, 3 waiting (1 of them saved)"


def test_the_bill_of_a_whole_fleet_is_in_the_line_as_it_is_at_that_moment() -> None:
    bills = iter([0.04321, 12.5, None])
    view = LiveView(examples=lambda trial: 8.0, expected_trials=1, expected_examples=8.0, finished_before=0, lanes=1)
    assert "fleet" not in view.line()
    view.bill_usd = lambda: next(bills)
    assert view.line() == "0 done, 0 running, 1 waiting; 0.0432 usd for the whole fleet so far"
    assert view.line() == "0 done, 0 running, 1 waiting; 12.50 usd for the whole fleet so far"
    assert "fleet" not in view.line()


@pytest.mark.parametrize(
    ("width", "head", "cells"),
    [
        (60, ["val.", "loss", "left"], ["0.7500", "3", "s"]),
        (80, ["updates", "of", "val.", "loss", "left"], ["9,876", "12,345", "0.7500", "3", "s"]),
        (120, ["updates", "of", "validation", "loss", "rows/s", "left"], ["9,876", "12,345", "0.7500", "4,045,190"]),
    ],
)
def test_a_narrow_terminal_has_fewer_columns_and_no_cut_number(
    width: int, head: list[str], cells: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both lines are of the same moment.
    now = time.monotonic()
    monkeypatch.setattr("cluster.report.live.time.monotonic", lambda: now)
    trial = replace(TRIAL, global_batch=4096, learning_rate=0.00282842712475)
    running, done = (replace(trial, seed=1_000_000 + seed) for seed in range(2))
    view = LiveView(
        examples=lambda trial: 4096 * 12_345.0, expected_trials=99, expected_examples=1e9, finished_before=0, lanes=2
    )
    view.note(TrialBegan(trial=done))
    view.note(TrialEnded(trial=done, examples=4096 * 12_345, validation_loss=0.25, state=State.OUT_OF_MEMORY))
    view.note(TrialBegan(trial=running))
    view.note(TrialEvaluated(trial=running, examples=4096 * 100, validation_loss=0.75))
    view.running[running] = UnderWay(Pace(0.0, (10.0, 200), (20.0, 4096 * 9876)), 4096 * 9876, 0.75)
    lines = shown(view, width=width)
    assert max(map(len, lines)) <= width
    assert "\u2026" not in "".join(lines)
    assert lines[0].split() == ["running", *head]
    named = (
        "B = 4096, rate 0.00283, seed 1000000" if width < 100 else "global batch 4096, rate 0.00282843, seed 1000000"
    )
    assert lines[1].startswith(named)
    assert lines[1].removeprefix(named).split()[: len(cells)] == cells
    # The sentence below ends its lines at words.
    assert " ".join(lines[-6:]).split()[-12:] == view.sentence(20.0).split()[-12:]


def test_a_run_that_stops_says_so_and_for_how_long() -> None:
    view = LiveView(examples=lambda trial: 8.0, expected_trials=2, expected_examples=16, finished_before=0, lanes=2)
    view.note(TrialBegan(trial=TRIAL))
    assert view.sentence(view.began_at + 5).startswith("starting 2 lanes")
    view.stopping_since = view.began_at + 5
    assert view.sentence(view.began_at + 45).startswith("saving and stopping, 40 s so far; 0 done, 1 running")
