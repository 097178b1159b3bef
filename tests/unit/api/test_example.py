"""README's example as it stands, with doubles where it would train; tests/integration/test_python.py has none."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import batchscope
from tests.support import readme, simulated, stored


@pytest.mark.slow
def test_the_example_of_the_readme_is_short_and_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    readme.write_what_it_needs(tmp_path)
    plan = batchscope.Study.plan

    def run(study: batchscope.Study, on_event: object, budget: str) -> None:
        tables = simulated.study(simulated.spec_of(), simulated.World())
        stored.store(tmp_path / study.spec.summary, tables, study=study.name)

    monkeypatch.setattr(batchscope.Study, "plan", lambda study: plan(study, calibrate=False))
    monkeypatch.setattr(batchscope.Study, "check", lambda study: (SimpleNamespace(passed=True),))
    monkeypatch.setattr(batchscope.Study, "run", run)
    code = readme.example()
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 15
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "minutes, from a guess" in shown
    assert "Best validation loss at B = " in shown
    assert "6 rows" in shown
    assert isinstance(names["points"], batchscope.Table)
