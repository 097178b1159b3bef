"""The parts of Ray that it promises to nobody, and that we use, are there in the one version that we ask for."""

import ast
import importlib
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]


def private_names() -> list[tuple[str, str]]:
    """The module and the name of whatever the product imports from Ray's private modules."""
    found = set()
    for file in (ROOT / "cluster").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ray."):
                parts = (node.module or "").split(".")
                if any(part.startswith("_") for part in parts) or "generated" in parts:
                    found |= {(node.module or "", alias.name) for alias in node.names}
    return sorted(found)


@pytest.mark.parametrize(("module", "name"), private_names())
def test_what_we_import_of_rays_private_parts_is_there(module: str, name: str) -> None:
    imported = importlib.import_module(module)
    assert hasattr(imported, name) or importlib.import_module(f"{module}.{name}")


def test_we_ask_for_the_version_that_this_was_tried_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [ray] = [needed for text in project["dependencies"] if (needed := Requirement(text)).name == "ray"]
    major, minor, _ = metadata.version("ray").split(".")
    assert ray.specifier.contains(f"{major}.{minor}.99")
    assert not ray.specifier.contains(f"{major}.{int(minor) + 1}.0")
    assert not ray.specifier.contains(f"{major}.{int(minor) - 1}.99")
