"""The live view: what is told from Tune's thread is counted in the thread that reads it."""

import threading
from dataclasses import replace

import pytest

from cluster.lanes.schedule import Event
from cluster.report.live import LiveView, Terminal
from tests.unit.test_queue import TRIAL
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
                terminal.hear(Event(trial=trial, begins=True))
                terminal.hear(Event(trial=trial, examples=8, validation_loss=1.0 + trial.seed, state=State.COMPLETED))

        teller = threading.Thread(target=tell)
        teller.start()
        while teller.is_alive():
            terminal.refresh()
            view.line()
        teller.join()
    assert len(view.ended) == TRIALS
    assert view.running == {}
    assert f"{TRIALS} done, 0 running, 0 waiting; best loss so far 1.0000" in capsys.readouterr().err
