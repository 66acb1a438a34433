"""The rooms of the package: imports go one way and in no circle, and what is in a room is small."""

import ast
import graphlib

import pytest
from conftest import ROOT

# A room imports from rooms before its own; files and engine do not know each other. What has no folder is mathematics,
# but for errors, and for waiting, which imports nothing.
ORDER = (
    *("errors", "files", "engine", "exports", "mathematics", "data", "evaluation", "pictures", "runs", "comparison"),
    "sklearn",
    "sweeps",
    "cli",
)
STRANGERS = {("engine", "files"), ("engine", "data"), ("mathematics", "files")}
MOST = {"files in a folder": 12, "lines in a file": 370, "lines in a function": 40}
SOURCE = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "bicoder").rglob("*.py"))}
NAMES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCE}
MODULES = {name: ast.parse(SOURCE[path]) for name, path in NAMES.items() if name != "bicoder"}
FOLDERS = [name for name in MODULES if NAMES[name].name == "__init__.py"]


def room(name):
    """The room of a module."""
    second = name.split(".")[1].replace("waiting", "errors").replace("__main__", "cli")
    return second if second in ORDER else "mathematics"


def imported(nodes):
    """The modules of the package that these statements import."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            deeper = {f"{node.module}.{item.name}" for item in node.names} & set(MODULES)
            yield from deeper or {node.module} & set(MODULES)
        elif isinstance(node, ast.Import):
            yield from {item.name for item in node.names} & set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name):
    for other in imported(ast.walk(MODULES[name])):
        assert ORDER.index(room(other)) <= ORDER.index(room(name)), f"{name} imports {other}"
        assert (room(name), room(other)) not in STRANGERS, f"{name} imports {other}"


def test_imports_go_in_no_circle():
    imports = {name: set(imported(tree.body)) for name, tree in MODULES.items()}
    assert set(graphlib.TopologicalSorter(imports).static_order()) == set(MODULES)  # a circle is a CycleError


@pytest.mark.parametrize("name", MODULES)
def test_files_and_functions_are_short(name):
    """A function without its docstring."""
    assert len(SOURCE[NAMES[name]].splitlines()) <= MOST["lines in a file"]
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.FunctionDef):
            body = node.body[ast.get_docstring(node) is not None :] or node.body
            assert node.end_lineno - body[0].lineno < MOST["lines in a function"], node.name


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_says_what_it_is_for(name):
    said = ast.get_docstring(MODULES[name])
    assert said
    assert said.endswith(".")
    assert len(list(NAMES[name].parent.glob("*.py"))) - 1 <= MOST["files in a folder"]
