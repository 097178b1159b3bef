"""Packages of others in the place of ours: named with both paths and a remedy, and told from our own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.process.own_packages import refuse_hiding_folder
from trainer.errors import InputError

ROOT = Path(__file__).parents[3]


def said_by(code: str, folder: Path, *paths: Path) -> str:
    """The last line of a Python that is started in `folder` and also searches `paths`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with our packages, as pip would install them."""
    place = tmp_path / "site-packages"
    for source, target in (("trainer", "trainer"), ("cluster", "cluster"), ("cluster/api", "batchscope")):
        shutil.copytree(ROOT / source, place / target, ignore=shutil.ignore_patterns("__pycache__"))
    return place


@pytest.mark.parametrize("hiding", ["trainer/__init__.py", "trainer.py"])
def test_a_trainer_that_python_finds_first_is_named_beside_ours(hiding: str, installed: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / hiding).parent.mkdir(parents=True)
    (project / hiding).touch()
    line = said_by("import batchscope", project, installed)
    assert line.startswith(f"ImportError: {project / hiding.removesuffix('/__init__.py')} hides ")
    assert f"{installed / 'trainer'}: rename it" in line


def test_a_cluster_that_python_finds_first_is_named_beside_ours(installed: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "cluster").mkdir(parents=True)
    (project / "cluster" / "__init__.py").touch()
    line = said_by("import batchscope", project, installed)
    assert line.startswith(f"ImportError: {project / 'cluster'}")
    assert str(installed / "batchscope") in line
    assert "rename it" in line


def test_a_trainer_that_was_installed_over_ours_is_found(installed: Path, tmp_path: Path) -> None:
    (installed / "trainer" / "__init__.py").write_text('"""Somebody else\'s."""\n')
    line = said_by("import cluster", tmp_path, installed)
    assert f"{installed / 'trainer'} is no longer batchscope's" in line
    assert "environment of its own" in line


def test_ours_are_taken(installed: Path, tmp_path: Path) -> None:
    assert said_by("import batchscope, cluster.cli", tmp_path, installed) == "exit 0"


@pytest.mark.parametrize("hiding", ["trainer/__init__.py", "cluster/__init__.py", "trainer.py", "cluster.py"])
def test_a_folder_that_hides_ours_from_the_workers_is_refused(hiding: str, tmp_path: Path) -> None:
    (tmp_path / hiding).parent.mkdir(exist_ok=True)
    (tmp_path / hiding).touch()
    name = hiding.partition("/")[0].removesuffix(".py")
    with pytest.raises(InputError, match=f"{tmp_path}/{name}.* hides batchscope's own package {ROOT / name} .*rename"):
        refuse_hiding_folder(tmp_path)


def test_a_folder_of_data_and_the_repository_itself_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "nodes.yaml").touch()
    refuse_hiding_folder(tmp_path)
    refuse_hiding_folder(ROOT)
