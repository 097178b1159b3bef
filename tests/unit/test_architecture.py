"""The house: light commands, small files with a first line, packages that are installed, a lock without hosts."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from cluster.cli import COMMANDS

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for package in ("trainer", "cluster") for path in (ROOT / package).rglob("*.py"))
HEAVY = {"ray", "tensorflow", "keras", "pyarrow", "boto3", "duckdb", "scipy", "tokenizers", "pydantic", "numpy", "rich"}


def imported_by(code: str) -> set[str]:
    """The top-level modules that a new interpreter holds after `code`."""
    text = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split())


def test_help_imports_nothing_heavy() -> None:
    code = "sys.argv = ['batchscope', '--help']\nfrom cluster.cli import batchscope\nbatchscope(standalone_mode=False)"
    assert not HEAVY & imported_by(code.replace("\nbatchscope(", "\nimport click\nbatchscope("))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_commands_own_help_imports_nothing_heavy(command: str) -> None:
    assert not HEAVY & imported_by(f"import cluster.cli.{command}")


@pytest.mark.slow
def test_asking_results_needs_neither_ray_nor_tensorflow() -> None:
    code = "import cluster.summary.query, cluster.summary.store, cluster.report.points, cluster.text.formats"
    assert not {"ray", "tensorflow", "keras", "boto3"} & imported_by(code)


def test_the_python_front_door_imports_nothing_heavy() -> None:
    code = "import batchscope\nfor name in batchscope.__all__:\n    getattr(batchscope, name)"
    assert not (HEAVY | {"click", "IPython"}) & imported_by(code)


def test_every_package_is_installed_and_the_front_door_under_its_own_name() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = [path.parent.relative_to(ROOT) for path in MODULES if path.name == "__init__.py"]
    front = Path(setuptools["package-dir"]["batchscope"])
    assert front in packages
    named = {"batchscope" if package == front else ".".join(package.parts) for package in packages}
    assert sorted(setuptools["packages"]) == sorted(named)


def test_nothing_inside_needs_the_name_that_jobs_do_not_take_along() -> None:
    assert [path for path in MODULES if re.search(r"^\s*(from|import) batchscope\b", path.read_text(), re.M)] == []


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax of a module."""
    return ast.parse(path.read_text())


def test_a_file_says_what_lives_there_and_is_short() -> None:
    texts = {path: path.read_text() for path in MODULES}
    assert [path for path, text in texts.items() if text.count("\n") > 300] == []
    said = [path for path, text in texts.items() if path.name != "__init__.py" or text.strip()]
    first = {path: (ast.get_docstring(parsed(path)) or "").split("\n", 1)[0] for path in said}
    assert [path for path, line in first.items() if not line.endswith((".", ":", "?"))] == []


def imported(module: str, path: Path, known: set[str]) -> set[str]:
    """The modules of ours that a module imports, wherever in it and for whatever."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (whole & known) or {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return (names & known) - {module}


@pytest.mark.slow
def test_no_modules_import_each_other_in_a_circle() -> None:
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    graph = {module: imported(module, path, set(paths)) for module, path in paths.items()}
    # What is left over when, again and again, those go that import nothing that is left.
    while leaves := {module for module, needed in graph.items() if not needed & graph.keys()}:
        graph = {module: needed for module, needed in graph.items() if module not in leaves}
    assert graph == {}


# The front door's classes are those of the rooms behind it; what is in the box imports nothing of what asks it.
SAME = {"Study", "Summary", "Verdict", "RefusedError"}


def test_a_class_has_a_name_of_its_own() -> None:
    classes = [
        node.name
        for path in MODULES
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert {name for name, count in Counter(classes).items() if count > 1} == SAME


def test_every_module_of_the_cluster_is_in_a_room() -> None:
    assert {path.name for path in (ROOT / "cluster").glob("*.py")} == {"__init__.py"}


def test_a_function_can_be_seen_whole() -> None:
    lengths = {
        (path, node.name): (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(lengths) > 1000
    assert {where: lines for where, lines in lengths.items() if lines > 60} == {}


def test_the_lock_names_no_host_and_hashes_everything() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    entries = re.split(r"\n(?=\S)", lock.strip())
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)


def test_what_needs_a_ray_is_where_make_test_looks_for_it() -> None:
    marked = {
        path.relative_to(ROOT).parts[:2]
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark.ray" in path.read_text() and path != Path(__file__)
    }
    assert marked <= {("tests", "integration"), ("tests", "rehearsal")}
    makefile = (ROOT / "Makefile").read_text()
    assert "pytest -m ray tests/integration" in makefile
    assert "pytest tests/rehearsal" in makefile
