"""What the code says of itself is true: dotted names in its prose exist, and what it defines serves the product."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = sorted(path for package in ("trainer", "cluster") for path in (ROOT / package).rglob("*.py"))
EVERYTHING = [*PRODUCT, *sorted((ROOT / "tests").rglob("*.py"))]
# Found by their name alone: commands by `cluster.cli`, processes by whoever starts them, the front door by its users.
BY_NAME = re.compile(r"cluster/(cli/\w+|api/\w+|fleet/node/(watch|provider|ready|wheels)|summary/sandboxed)\.py")

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def prose_of(path: Path) -> Iterator[str]:
    """The docstrings and comments of a file."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | Definition) and (said := ast.get_docstring(node, clean=False)):
            yield said
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def exists(dotted: str) -> bool:
    """Whether a dotted name is a package, a module, or something that is defined or imported there."""
    place, parts = ROOT, dotted.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    if parts and (place / f"{parts[0]}.py").exists():
        place /= f"{parts.pop(0)}.py"
    else:
        place /= "__init__.py"
    body = ast.parse(place.read_text()).body if place.exists() else []
    while parts:
        name = parts.pop(0)
        found = [node for node in body if name in names_bound_by(node)]
        if not found:
            return False
        body = getattr(found[-1], "body", [])
    return place.exists()


def names_bound_by(node: ast.stmt) -> set[str]:
    """The names that a statement binds where it stands."""
    if isinstance(node, Definition):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name)}


@pytest.mark.slow
@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_dotted_name_in_prose_exists(path: Path) -> None:
    named = {name for text in prose_of(path) for name in re.findall(r"(?<![\w/.])(?:trainer|cluster)(?:\.\w+)+", text)}
    assert sorted(name for name in named if not exists(name)) == []


def public_definitions(path: Path) -> Iterator[str]:
    """Public functions and classes of a file, and their methods; what overrides a foreign base is called from there."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node.name
        if isinstance(node, ast.ClassDef) and not node.bases:
            yield from (part.name for part in node.body if isinstance(part, Definition) and part.name[0] != "_")


def names_used_by(path: Path) -> Iterator[str]:
    """The names that a file reads, imports, or holds in a string that looks like one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[\w.:]+", node.value):
            yield from re.split(r"[.:]", node.value)


@pytest.mark.slow
def test_no_public_definition_is_used_by_tests_alone() -> None:
    used = {name for path in PRODUCT for name in names_used_by(path)}
    unused = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in PRODUCT
        if not BY_NAME.fullmatch(str(path.relative_to(ROOT)))
        for name in public_definitions(path)
        if name not in used
    }
    assert unused == set()


@pytest.mark.slow
def test_no_module_is_imported_by_tests_alone() -> None:
    imported = set()
    for path in PRODUCT:
        package = ".".join(path.relative_to(ROOT).parts[:-1])
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = f"{package}.{node.module}" if node.level else node.module or ""
                imported |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    modules = {str(path.relative_to(ROOT)): path for path in PRODUCT if path.name != "__init__.py"}
    unused = [name for name in modules if name.removesuffix(".py").replace("/", ".") not in imported]
    assert [name for name in unused if not BY_NAME.fullmatch(name)] == []
