"""The page: its sections, the script with its data, and the policy that lets nothing else run, load or leave."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bicoder.errors import first_line
from bicoder.files.whole_file import whole_file
from bicoder.pictures.document import document_of, source
from bicoder.pictures.picture import Subject
from bicoder.pictures.report import kept, markup
from bicoder.pictures.report.data_block import data_block
from bicoder.pictures.report.facts import Facts
from bicoder.pictures.report.sections import SECTIONS, Section

SCRIPTS = ("decoder.js", "data.js", "colours.js", "map.js", "plane.js", "explorer.js", "page.js")
T = TypeVar("T")


def write(subject: Subject, path: Path) -> Path:
    """The report of a run as one file, and beside it what took long to find out."""
    facts = Facts(subject, kept.read(path))
    content = page(facts, path)
    with whole_file(path) as new:
        new.write_text(content, encoding="utf-8")
    if (found := attempted(facts.to_keep, "what to keep for the next report", path)) is not None:
        kept.write(path, found)
    return path


def page(facts: Facts, path: Path) -> str:
    """The whole text of the page at this path."""
    moving = attempted(lambda: data_block(facts), "what moves", path)
    shown = [one for one in SECTIONS if moving is not None or not one.moves]
    written = [(one.name, one.title, section(one, facts, path)) for one in shown]
    sections = [one for one in written if one[-1]]
    if moving is None:
        below = markup.note("The map, the explorer and the rest that moves could not be made of this model's numbers.")
        return document(facts, sections, below, "")
    below = "".join(map(markup.note, moving.said)) + moving.sheets
    return document(facts, sections, below, markup.block(moving.data))


def section(one: Section, facts: Facts, path: Path) -> str:
    """The markup of a section; what fails costs no other one, and the page says so in its place."""
    found = attempted(lambda: one.write(facts), one.title, path)
    return markup.note("Not drawn: see what was printed when this page was written.") if found is None else found


def attempted(make: Callable[[], T], what: str, path: Path) -> T | None:
    """What a function gives, or None and a line on standard error."""
    try:
        return make()
    except Exception as error:  # of a model whose numbers are not finite, and of libraries, anything
        print(f"{path}: {what}: not drawn: {type(error).__name__}: {first_line(error)}", file=sys.stderr)
        return None


def document(facts: Facts, sections: list[tuple[str, str, str]], below: str, data: str) -> str:
    """The page around its sections.

    Args:
        facts: of the run.
        sections, below: as `document_of` has them.
        data: JSON for the script; empty if nothing moves.
    """
    script = joined_scripts() if data else ""
    end = "<noscript><p>The map and the explorer need JavaScript; all else is here.</p></noscript>"
    end += f'<script type="application/json" id="data">{data}</script><script>{script}</script>' if data else ""
    return document_of(facts.subject.name or "a run", sections, source("page.css"), below, end, script)


def joined_scripts() -> str:
    """The script of the page: one file after the other, in a function of their own."""
    return "(() => {\n" + '"use strict";\n' + "\n".join(map(source, SCRIPTS)) + "\n})();\n"
