"""The rooms of the package: imports go one way, and each folder says in a sentence what it is for."""

import ast

import pytest
from conftest import ROOT

PACKAGE = ROOT / "bicoder"
# A room imports from rooms before its own; files and engine do not know each other.
ORDER = ("errors", "files", "engine", "mathematics", "data", "evaluation", "pictures", "runs", "cli")
STRANGERS = {("engine", "files"), ("engine", "data"), ("mathematics", "files")}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(name):
    """The room of a dotted name below the package; whatever has no folder is mathematics, but for errors."""
    first = name.split(".")[0]
    return first if first in ORDER else "mathematics"


def imported(path):
    """What a module imports from the package, as dotted names, at its top or in a function."""
    for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bicoder."):
            yield node.module.removeprefix("bicoder.")
        if isinstance(node, ast.Import):
            yield from (name.name.removeprefix("bicoder.") for name in node.names if name.name.startswith("bicoder."))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_one_way(path):
    own = room(".".join(path.with_suffix("").parts))
    for name in imported(path):
        assert ORDER.index(room(name)) <= ORDER.index(own), f"{path} imports bicoder.{name}"
        assert (own, room(name)) not in STRANGERS, f"{path} imports bicoder.{name}"


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES if path.name != path.as_posix()}), ids=str)
def test_a_folder_says_what_it_is_for(folder):
    said = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8")))
    assert said
    assert said.endswith(".")
    assert len([path for path in (PACKAGE / folder).glob("*.py") if path.name != "__init__.py"]) <= 12
