"""A run in a notebook shows its progress in the cell; elsewhere, and without IPython, nothing is shown."""

import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from cluster.api.cell import display_of_kernel, watched
from cluster.drive import events
from cluster.lanes.events import TrialBegan, TrialEnded, TrialEvaluated
from tests.unit.lanes.test_queue import TRIAL
from trainer.report import State

HOSTILE = "ValueError: <script>alert(1)</script>\x1b[31m (my_models.py:39)"


class Screen:
    """IPython's display as a front end sees it: one output, and what it held after each update."""

    def __init__(self) -> None:
        self.contents: list[dict[str, str]] = []
        self.drawn = threading.Event()

    def display(self, content: dict[str, str], *, raw: bool, display_id: bool) -> "Screen":
        assert raw
        assert display_id
        self.update(content, raw=True)
        return self

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.contents.append(content)
        self.drawn.set()


def study() -> Any:
    return SimpleNamespace(
        spec=SimpleNamespace(study="<b>mine"),
        examples=lambda trial: 800.0,
        expected=lambda: [TRIAL, TRIAL],
        placed=SimpleNamespace(lanes=2),
    )


def opened() -> events.StudyOpened:
    return events.StudyOpened(study=study(), asked=2, finished=0, finished_examples=0)


def test_a_cell_has_a_stage_then_the_trials_with_every_text_escaped() -> None:
    screen = Screen()
    with watched(screen.display) as hear:
        assert screen.drawn.wait(10)
        assert screen.contents[0]["text/plain"].startswith("reading the data and building the model, ")
        hear(opened())
    assert "&lt;b&gt;mine: 0 of 2 trials finished before; starting Ray" in screen.contents[-1]["text/html"]
    screen = Screen()
    with watched(screen.display) as hear:
        hear(opened())
        hear(events.RayConnected(study=study(), bill_usd=lambda: None))
        hear(TrialBegan(trial=TRIAL))
        hear(TrialEvaluated(trial=TRIAL, examples=400, validation_loss=0.75))
        hear(TrialEnded(trial=TRIAL, state=State.FAILED, error=HOSTILE))
        hear(events.Stopping(reason="the budget of <i>3 s is spent"))
    last = screen.contents[-1]
    assert "<script>" not in last["text/html"]
    assert "ValueError: &lt;script&gt;" in last["text/html"]
    assert "\x1b" not in last["text/html"] + last["text/plain"]
    assert "the budget of &lt;i&gt;3 s is spent: saving and stopping" in last["text/html"]
    assert "1 failed" in last["text/plain"]
    assert last["text/html"].count("<table>") == 1


def test_a_program_without_a_kernel_gets_nothing_and_ipython_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert display_of_kernel() is None
    assert "IPython" not in sys.modules
    with watched(None) as hear:
        hear(opened())


@pytest.mark.parametrize(("shell", "shown"), [(None, False), (object(), False), (SimpleNamespace(kernel=1), True)])
def test_only_a_kernel_has_a_cell(shell: object, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    vars(ipython).update(get_ipython=lambda: shell)
    vars(display).update(display=print)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    found: Callable[..., Any] | None = display_of_kernel()
    assert (found is print) == shown
