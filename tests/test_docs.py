"""What the pages say that a program can check: links, options, and parts with their arguments."""

import re
import runpy

import pytest
from conftest import ROOT
from test_component import FAMILIES, own_members

from bicoder.cli.command import commands
from bicoder.runs.options.kinds import Part, Switches

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
OF_EVERY_COMMAND = {"version", "help"}
WITH_LINES = runpy.run_path(str(ROOT / "docs" / "lines.py"))["with_lines"]


def prose(path):
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """What can follow a # in a link to a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def first_cells(path):
    """The first cell of every row of the tables of a page."""
    return re.findall(r"^\| (.*?) (?<!\\)\|", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(\s*([^)\s]+)\s*\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if path.suffix == ".py":  # a line of code, which `docs/lines.py` finds
            continue
        assert not anchor or anchor in anchors(path), target


def test_every_option_is_listed_and_no_other():
    found = {
        option
        for command in commands().values()
        for name, entry in command.options.table().items()
        if not entry.required
        for option in (entry.kind.switches if isinstance(entry.kind, Switches) else [name])
    }
    listed = {name for cell in first_cells(ROOT / "docs" / "commands.md") for name in re.findall(r"--(\w+)", cell)}
    assert listed == found | OF_EVERY_COMMAND


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_part_is_listed_with_its_defaults(family):
    tables = (ROOT / "docs" / "parts.md").read_text(encoding="utf-8").split("\n\n")
    [table] = [text for text in tables if text.startswith(f"| {family.__name__.lower()}")]
    listed = [
        Part(FAMILIES[family], family.__name__).read(cell) for cell in re.findall(r"^\| `(.*?)`", table, re.MULTILINE)
    ]
    assert sorted(listed, key=str) == sorted((family.get(name).spec() for name in own_members(family)), key=str)


@pytest.mark.fault(113)
@pytest.mark.parametrize("page", [page for page in PAGES if ".py#L" in page.read_text("utf-8")], ids=lambda p: p.name)
def test_links_to_lines_of_code_lead_to_the_names_they_show(page):
    assert WITH_LINES(page) == page.read_text(encoding="utf-8"), "run: python docs/lines.py"


CODE = """SIZES = A, B = 1, 2


class Outer:
    low: float = 0.0

    @property
    def name(self): ...


def name(): ...
"""


@pytest.mark.fault(113)
def test_lines_are_those_of_today_and_a_name_that_is_gone_is_named(tmp_path):
    (tmp_path / "code.py").write_text(CODE)
    names = {"B": 1, "Outer": 4, "Outer.low": 5, "Outer.name": 8, "name": 11}
    page = tmp_path / "page.md"
    page.write_text(" ".join(f"[`{name}`](code.py#L999)" for name in names) + " [code](code.py)")
    assert WITH_LINES(page) == " ".join(f"[`{n}`](code.py#L{i})" for n, i in names.items()) + " [code](code.py)"
    for gone in ("Outer.high", "Inner.low", "low", "Outer.name.x"):
        page.write_text(f"[`{gone}`](code.py#L1)")
        with pytest.raises(LookupError, match=rf"code\.py: expected {gone}, "):
            WITH_LINES(page)
    page.write_text("[`name`](other.py#L1)")
    with pytest.raises(LookupError, match=r"other\.py: expected name, "):
        WITH_LINES(page)
