"""`plan` for an agent: a file of the server's folder, without calibration, and no code of a study runs."""

from pathlib import Path

import pytest

from tests.conftest import write_prepared
from tests.support import agents
from tests.support.studies import LSTM, write_study


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_prepared(tmp_path / "data")
    return tmp_path


def test_a_plan_is_a_guess_and_starts_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.plan.basis._calibration", lambda *_: pytest.fail("an agent's plan calibrates nothing"))
    write_study(folder, model=LSTM)
    found = agents.asked(str(folder / "summary"), "plan", folder, study_file="study.yaml")
    assert (found["schema_version"], found["study"], found["source"]) == (1, "tiny", "guess")
    assert found["expected"]["trials"] == 4
    assert not (folder / "summary").exists()


def test_a_factory_is_not_imported(folder: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    write_study(folder, model={"factory": "evil:build"})
    found = agents.asked(str(folder / "summary"), "plan", folder, study_file="study.yaml")
    assert "is code that would run here" in found["error"]
    assert not (folder / "ran").exists()


def test_no_path_and_no_link_leads_out_of_the_folder(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    file = write_study(folder, model=LSTM)
    (inner / "link.yaml").symlink_to(file)
    for name in (str(file), "../study.yaml", "link.yaml", "/etc/passwd"):
        assert "only files there are read" in agents.asked(str(folder), "plan", inner, study_file=name)["error"]
    assert "error" in agents.asked(str(folder), "plan", inner, study_file="a\0b")
    assert "missing.yaml" in agents.asked(str(folder), "plan", inner, study_file="missing.yaml")["error"]
