"""The code of a user's model: which files it is, what a job takes along, and that no study mixes two versions of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.jobs import package
from cluster.study.factory_code import factory_of, files_of, refuse_other_code, sha256_of, to_ship
from cluster.study.spec import StudySpec, parse
from trainer.errors import InputError

FILES = {
    "models.py": "import keras\nfrom parts.layers import Gate\nimport sizes\n\ndef build(**x):\n    return Gate()\n",
    "sizes.py": "UNITS = 3\n",
    "parts/__init__.py": "",
    "parts/layers.py": "from . import gates\nfrom .gates import Gate\nfrom trainer import errors\n",
    "parts/gates.py": "class Gate:\n    pass\n",
    "parts/unused.py": "raise SystemExit\n",
    "other.py": "raise SystemExit\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).write_text(text)
    return tmp_path / "here"


def spec_of(factory: str | None) -> StudySpec:
    model = {"factory": factory} if factory else {"lstm_units": 8}
    spec = {
        "study": "mine",
        "data": "/data",
        "summary": "/summary",
        "task": "classification",
        "model": model,
        "axes": {"global_batch": [8], "learning_rate": 0.1, "seeds": 1},
        "budget": {"epochs": 1},
    }
    return parse(json.dumps(spec), where="here")


def test_what_importing_it_reads_is_found_and_nothing_is_run(folder: Path) -> None:
    assert set(files_of("models:build", folder)) == {
        "models.py",
        "sizes.py",
        "parts/__init__.py",
        "parts/layers.py",
        "parts/gates.py",
    }
    assert set(files_of("parts.gates:Gate", folder)) == {"parts/__init__.py", "parts/gates.py"}
    assert files_of("elsewhere:build", folder) == {}


def test_a_job_takes_it_along_under_the_same_names(folder: Path, tmp_path: Path) -> None:
    spec = spec_of("models:build")
    (job := tmp_path / "job").mkdir()
    package.fill(job, spec, to_ship(spec, folder))
    for name in ("models.py", "sizes.py", "parts/layers.py", "parts/gates.py"):
        assert (job / name).read_text() == FILES[name]
    assert not (job / "other.py").exists()
    assert sha256_of(files_of("models:build", job)) == sha256_of(files_of("models:build", folder))


def test_a_module_that_is_nowhere_is_refused_before_a_machine_is_asked_for(folder: Path) -> None:
    with pytest.raises(InputError, match=r"factory nowhere_at_all:build: there is no module 'nowhere_at_all' in"):
        to_ship(spec_of("nowhere_at_all:build"), folder)
    # What is installed here may be installed there.
    assert to_ship(spec_of("yaml:build"), folder) == {}


@pytest.mark.parametrize("factory", [None, "cluster.articles.iris:build"])
def test_what_is_ours_is_no_code_of_the_users(factory: str | None, folder: Path) -> None:
    spec = spec_of(factory)
    assert factory_of(spec) is None
    assert to_ship(spec, folder) == {}


def test_the_hash_is_of_the_code_that_is_imported_and_of_no_other(folder: Path) -> None:
    before = sha256_of(files_of("models:build", folder))
    (folder / "other.py").write_text("UNITS = 4\n")
    assert sha256_of(files_of("models:build", folder)) == before
    (folder / "sizes.py").write_text("UNITS = 4\n")
    assert sha256_of(files_of("models:build", folder)) not in (before, None)
    assert sha256_of({}) is None


def row(factory: str, sha256: str | None, spec_hash: str = "5bec") -> dict[str, Any]:
    spec_json = json.dumps({"model": {"factory": factory}})
    return {"spec_hash": spec_hash, "spec_json": spec_json, "factory_sha256": sha256}


def ran(state: str, updates: int | None, spec_hash: str = "5bec") -> dict[str, Any]:
    return {"spec_hash": spec_hash, "state": state, "updates": updates}


@pytest.mark.parametrize("trial", [ran("COMPLETED", 6), ran("FAILED", 3), ran("LOST", None), ran("CANCELLED", 1)])
def test_a_study_goes_on_only_with_the_code_that_trained_it(trial: dict[str, Any]) -> None:
    refuse_other_code("models:build", "a" * 64, [row("models:build", "a" * 64), row("models:build", None)], [trial])
    refuse_other_code("models:build", None, [row("models:build", "a" * 64)], [trial])
    # Trials of another factory are other trials.
    refuse_other_code("models:build", "a" * 64, [row("models:wider", "b" * 64)], [trial])
    with pytest.raises(InputError, match=r"factory models:build changed: .* trained with bbbbbbbb, .* aaaaaaaa"):
        refuse_other_code("models:build", "a" * 64, [row("models:build", "b" * 64)], [trial])


def test_code_that_failed_before_any_update_may_be_corrected() -> None:
    rows = [row("models:build", "b" * 64)]
    refuse_other_code("models:build", "a" * 64, rows, [])
    refuse_other_code("models:build", "a" * 64, rows, [ran("FAILED", None), ran("FAILED", 0)])
    # What ran under another spec was trained with that one's code.
    refuse_other_code("models:build", "a" * 64, rows, [ran("COMPLETED", 6, "07be")])


def test_a_file_that_is_no_python_is_named(folder: Path) -> None:
    (folder / "sizes.py").write_text("UNITS = \n")
    with pytest.raises(InputError, match=r"sizes\.py is no Python"):
        files_of("models:build", folder)
