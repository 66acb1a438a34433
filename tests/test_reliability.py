"""The table of faults: every number has a row, and every row has tests that carry its number."""

import ast
import re

from conftest import ROOT

# Numbers that are not here stand for nothing.
NUMBERS = {
    *range(1, 43),
    *range(44, 260),
    *range(260, 269),
    *range(274, 277),
    *range(280, 289),
    *(290, 291),
    *range(300, 307),
    310,
}
LINK = re.compile(r"\[(\w+)\]\(\.\./(tests/[\w/]+\.py)\)")


def rows():
    """number -> the tests of each row of docs/reliability.md, as (file, name)."""
    found = {}
    for line in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines():
        cells = line.split(" | ")
        if re.match(r"\| \d+ \|", line):
            number = int(line.split("|")[1])
            assert number not in found, f"two rows for {number}"
            assert len(cells) == 4, f"row {number} has {len(cells)} cells"
            found[number] = {(file, name) for name, file in LINK.findall(cells[3])}
    return found


def marks():
    """(file, name) -> the numbers that each test carries."""
    found = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                numbers = {
                    number.value
                    for call in ast.walk(ast.Module(node.decorator_list, []))
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault"
                    for number in call.args
                }
                if numbers:
                    found[path.relative_to(ROOT).as_posix(), node.name] = numbers
    return found


def test_no_number_is_missing():
    assert set(rows()) == NUMBERS


def test_every_row_has_tests_that_carry_its_number():
    carried = marks()
    for number, tests in rows().items():
        assert tests, f"row {number} names no test"
        for test in tests:
            assert number in carried.get(test, ()), f"{test} does not carry the number {number}"


def test_every_mark_is_of_a_fault_there_is():
    assert set().union(*marks().values()) == NUMBERS
