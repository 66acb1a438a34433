"""compare.html: the table, two pictures and the commands of the runs, in one file; and the pictures as files."""

from pathlib import Path

from bicoder.comparison import table
from bicoder.comparison.compared import Comparison
from bicoder.comparison.rows import Row
from bicoder.comparison.settings import said
from bicoder.errors import UsageError, counted
from bicoder.files.whole_file import whole_file
from bicoder.pictures.document import document_of, source
from bicoder.pictures.drawing import comparison as drawing
from bicoder.pictures.report import markup
from bicoder.pictures.report.numbers import NUMBERS
from bicoder.runs.options.command_line import command_line

LONG = 40  # characters of a cell that stay in one line


def write(found: Comparison, page: Path, plane: Path, curves: Path) -> list[Path]:
    """The page and the pictures, those for which there are numbers, and where they are."""
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"output: {page.parent} cannot be made: {error.strerror or error}") from error
    written = []
    if points := points_of(found):
        written.append(drawing.rate_distortion(points, plane))
    if bounds := bounds_of(found):
        written.append(drawing.bounds(bounds, curves))
    with whole_file(page) as new:
        new.write_text(document(found, *(path if path in written else None for path in (plane, curves))), "utf-8")
    return [page, *written]


def document(found: Comparison, plane: Path | None, curves: Path | None) -> str:
    """The whole text of the page."""
    count = sum(len(row.runs) for row in found.rows)
    sections = {"Numbers": numbers(found)}
    if plane:
        caption = "On a line, -ELBO = rate + distortion is the same; below and left is better. Hollow: not evaluated."
        sections["Rate and distortion"] = markup.picture(plane, "rate and distortion of each run", caption)
    if curves:
        held_out = dict.fromkeys(run.held_out for row in found.rows for run in row.runs if run.history)
        caption = f"-ELBO of images that were not learnt from ({'; '.join(held_out)}) in each epoch."
        sections["Training"] = markup.picture(curves, "the bound of each run in each epoch", caption)
    sections["What the numbers mean"] = markup.table(
        {number.name: number.meaning for number in NUMBERS if number.key in ("nll", *table.NUMBERS)}
    )
    sections["The runs"] = "".join(commands(row) for row in found.rows)
    numbered = [(f"s{number}", title, content) for number, (title, content) in enumerate(sections.items())]
    style = source("page.css") + source("compare.css", "bicoder.comparison")
    return document_of(f"{counted(count, 'run')} compared", numbered, style)


def numbers(found: Comparison) -> str:
    """The table and what is said about it."""
    columns = table.columns_of(found)
    head = "".join(f'<th scope="col"{kind(column)}>{markup.text(column.title)}</th>' for column in columns)
    rows = ""
    for row in found.rows:
        best = ' class="best"' if found.ranks.get(row.name) == 1 else ""
        rows += f"<tr{best}>{''.join(cell(column, row) for column in columns)}</tr>"
    said = "".join(map(markup.note, (f"In {table.UNITS}.", *table.sentences(found))))
    return (
        f'<div class="scroll"><table class="runs"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"{said}"
    )


def cell(column: table.Column, row: Row) -> str:
    """A cell of the table; what is long goes over several lines."""
    text = table.shown(column, row)
    which = ' class="long"' if len(text) > LONG else kind(column)
    return f"<td{which}>{markup.text(text)}</td>"


def kind(column: table.Column) -> str:
    """The class of the cells of a column."""
    return ' class="number"' if column.form else ""


def commands(row: Row) -> str:
    """The commands that train the runs of a row again, to be unfolded."""
    found = ""
    for run in row.runs:
        command = command_line(run.config["arguments"]) if run.settings else "not known"
        name = f"{run.name} ({run.folder})" if run.folder != run.name else run.name
        found += f"<details><summary>{markup.text(name)}</summary>"
        found += f'<pre class="command">{markup.text(command)}</pre></details>'
    return found


def panel_of(found: Comparison, row: Row) -> str:
    """Which numbers share axes with those of a row: the same of what its likelihood measures."""
    given = "log p(x|y), " if any(run.conditional for run in row.runs) else ""
    other = "; the test images differ" if any("test images" in reason for reason in found.against) else ""
    return f"{given}{row.said('measures')}{other}"


def name_of(found: Comparison, row: Row) -> str:
    """What a row is called in a picture: its rank, and of a group its settings."""
    rank = f"{found.ranks[row.name]}. " if row.name in found.ranks else ""
    if not found.grouped or not row.settings:
        return f"{rank}{row.name}"
    settings = [f"{name} {said(name, row.settings.get(name))}" for name in found.differing]
    return f"{rank}{', '.join(settings) or row.name}, n = {len(row.counted)}"


def points_of(found: Comparison) -> dict[str, dict[str, drawing.Point]]:
    """What is measured -> name -> point, of the rows that have rate and distortion."""
    panels: dict[str, dict[str, drawing.Point]] = {}
    for row in found.rows:
        rate, distortion = row.number("rate"), row.number("distortion")
        if rate is not None and distortion is not None:
            panel = panels.setdefault(panel_of(found, row), {})
            panel[name_of(found, row)] = drawing.Point(rate, distortion, row.evaluated)
    return panels


def bounds_of(found: Comparison) -> dict[str, dict[str, list[list[float]]]]:
    """What is measured -> name -> the bound of each epoch of each run, as those not learnt from have it."""
    panels: dict[str, dict[str, list[list[float]]]] = {}
    for row in found.rows:
        curves = [[-value for value in run.history["val_elbo"]] for run in row.runs if "val_elbo" in run.history]
        if curves:
            panels.setdefault(panel_of(found, row), {})[name_of(found, row)] = curves
    return panels
