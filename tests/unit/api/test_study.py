"""`batchscope.Study`: loaded, planned and run in somebody's program, whose output, signals and Ray stay its own."""

import contextlib
import io
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

import batchscope
from cluster.process import signals
from tests.conftest import write_prepared


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A study of the tiny data set."""
    write_prepared(tmp_path / "data")
    spec = {
        "study": "tiny",
        "data": str(tmp_path / "data"),
        "summary": str(tmp_path / "summary"),
        "task": "classification",
        "model": {"embedding_units": 6, "lstm_units": 5},
        "axes": {"global_batch": [17, "full"], "learning_rate": 0.01, "seeds": 2},
        "budget": {"updates": 6},
    }
    place = tmp_path / "study.yaml"
    place.write_text(yaml.safe_dump(spec))
    return place


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Puts a function in the place of the driver."""

    def put(run: Callable[..., Any]) -> None:
        from cluster.drive import run as module

        monkeypatch.setattr(module, "run", run, raising=False)

    return put


def test_a_study_is_loaded_and_planned_without_a_word(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = batchscope.Study.load(file)
    assert (study.name, study.summary.uri) == ("tiny", str(file.parent / "summary"))
    plan = study.plan(calibrate=False)
    assert plan.low.seconds <= plan.expected.seconds <= plan.high.seconds
    assert {point.trial.global_batch for point in plan.points} == {17, 51}
    assert capfd.readouterr() == ("", "")


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(batchscope.InputError, match="does not exist"):
        batchscope.Study.load(tmp_path / "study.yaml")


def test_a_run_gets_the_examined_study_and_its_limits(file: Path, driver: Callable[..., None]) -> None:
    given: dict[str, Any] = {}

    def run(study: Any, on_event: Callable[[object], object], **limits: Any) -> str:
        given.update(limits, trials=len(study.trials))
        return "its result"

    driver(run)
    assert batchscope.Study.load(file).run(budget="90min") == "its result"
    assert (given["trials"], given["address"], given["spending"].seconds) == (4, None, 5400.0)
    with pytest.raises(batchscope.InputError, match="the budget 'much'"):
        batchscope.Study.load(file).run(budget="much")


def test_a_listener_prints_where_the_program_does(
    file: Path, driver: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(study: object, on_event: Callable[[object], object], **limits: object) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            on_event("an event")

    driver(run)
    study = batchscope.Study.load(file)
    study.run(on_event=print)
    assert capsys.readouterr().out == "an event\n"
    study.run()
    assert capsys.readouterr().out == ""


def test_ctrl_c_is_heeded_and_then_given_to_the_program(file: Path, driver: Callable[..., None]) -> None:
    saved = []

    def run(*arguments: object, **limits: object) -> None:
        with signals.counted():
            signal.raise_signal(signal.SIGINT)
            saved.append(signals.count())

    driver(run)
    # Whoever runs the tests in the background ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        batchscope.Study.load(file).run()
    assert saved == [1]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_study_runs_in_another_thread(file: Path, driver: Callable[..., None]) -> None:
    driver(lambda *arguments, **limits: "its result")
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(batchscope.Study.load(file).run()))
    thread.start()
    thread.join()
    assert results == ["its result"]


@pytest.mark.parametrize("work", [batchscope.Study.run, batchscope.Study.check])
def test_a_ray_of_the_program_is_left_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[batchscope.Study], object]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))  # type: ignore[arg-type]
    with pytest.raises(batchscope.NotReadyError, match=r"ray\.shutdown\(\)"):
        work(batchscope.Study.load(file))


def test_a_plan_leaves_the_programs_own_file_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ModuleType] = []
    monkeypatch.setattr("cluster.plan.planned.planned", lambda *_, **__: seen.append(sys.modules["__main__"]))
    program = sys.modules["__main__"]
    batchscope.Study.load(file).plan()
    assert not hasattr(seen[0], "__file__")
    assert sys.modules["__main__"] is program
