"""The columns of a comparison, and its table as Markdown, CSV, JSON and LaTeX."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from bicoder.comparison.compared import Comparison, has_sigmas
from bicoder.comparison.rows import Number, Row
from bicoder.comparison.settings import said
from bicoder.errors import decodable, printable
from bicoder.files.markdown import escaped_markdown

UNITS = "nats per image, but for bits per dim"
# key -> title, digits
NUMBERS = {
    "nll": ("NLL", ".2f"),
    "difference": ("NLL above the best", ".3f"),
    "negative_elbo": ("-ELBO", ".2f"),
    "distortion": ("distortion", ".2f"),
    "rate": ("rate", ".2f"),
    "bits_per_dim": ("bits per dim", ".4f"),
    "active_units": ("active units", ".4g"),
}
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for a formula
LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}


class Column(NamedTuple):
    """A column: its title, and what it says of a row, a text, a number or nothing."""

    title: str
    of: Callable[[Row], str | int | Number | None]
    form: str = ""


def columns_of(found: Comparison) -> list[Column]:
    """The columns, those first in which the runs differ."""
    columns = [Column(name, setting(name)) for name in found.differing]
    columns.append(Column("n", lambda row: len(row.counted)) if found.grouped else Column("run", lambda row: row.name))
    if found.grouped and not found.differing:
        columns.append(Column("runs", lambda row: row.name))
    if found.ranks:
        columns.append(Column("rank", lambda row: found.ranks.get(row.name)))
    if has_sigmas(found.rows):
        columns.append(Column("sigma", lambda row: row.sigma))
    if found.against:
        columns.append(Column("likelihood measures", lambda row: row.said("measures")))
    for key, (title, form) in NUMBERS.items():
        if key != "difference" or found.differences:
            columns.append(Column(title, number(found, key), form))
        if key == "nll" and len({row.samples for row in found.rows if row.samples}) > 1:
            columns.append(Column("K", lambda row: ", ".join(map(str, row.samples))))
    if any(row.said("source") != "test" for row in found.rows):
        columns.append(Column("images", lambda row: row.said("source")))
    return columns


def setting(name: str) -> Callable[[Row], str]:
    """What a column says of a setting."""
    return lambda row: said(name, row.settings.get(name))


def number(found: Comparison, key: str) -> Callable[[Row], Number | None]:
    """What a column says of a number."""

    def of(row: Row) -> Number | None:
        if key == "difference":
            return Number(0.0) if found.ranks.get(row.name) == 1 else found.differences.get(row.name)
        if key != "negative_elbo":
            return row.number(key)
        elbo = row.number("elbo")
        return None if elbo is None else Number(-elbo.value, elbo.error)

    return of


def shown(column: Column, row: Row) -> str:
    """A cell in one line of text."""
    value = column.of(row)
    if value is None or value == "":
        return "-"
    if not isinstance(value, Number):
        return printable(decodable(str(value)))
    form = ".2g" if column.form.endswith("g") else column.form  # of a count, its spread alone is a fraction
    error = "" if value.error is None else f" ± {value.error:{form}}"
    return f"{value.value:{column.form}}{error}"


def sentences(found: Comparison) -> list[str]:
    """What is said below the table."""
    against = [f"Not ranked, since {reason}." for reason in found.against]
    none = "No run has been evaluated, so there are no ranks."
    first = against or ([] if found.ranks else [none])
    return [printable(decodable(line)) for line in (*first, *(f"{note.removesuffix('.')}." for note in found.notes))]


def markdown(found: Comparison) -> str:
    """A table of Markdown, and what is said below."""
    columns = columns_of(found)
    rows = [[shown(column, row) for column in columns] for row in found.rows]
    head = [column.title for column in columns]
    lines = [f"| {' | '.join(escaped_markdown(cell) for cell in cells)} |" for cells in (head, *rows)]
    lines.insert(1, "|" + "|".join("--:" if column.form else "---" for column in columns) + "|")
    return "\n".join([*lines, "", f"In {UNITS}.", *sentences(found)])


def as_csv(found: Comparison) -> str:
    """A table of CSV, in which numbers have all their digits and errors a column of their own."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = columns_of(found)
    with_error = [any(error_of(column, row) is not None for row in found.rows) for column in columns]
    pairs = zip(columns, with_error, strict=True)
    head = [[column.title, *([f"{column.title} error"] if error else [])] for column, error in pairs]
    writer.writerow([cell for cells in head for cell in cells])
    for row in found.rows:
        cells: list[Any] = []
        for column, error in zip(columns, with_error, strict=True):
            value = column.of(row)
            cells.append(value.value if isinstance(value, Number) else defused(value))
            cells += [error_of(column, row)] if error else []
        writer.writerow(cells)
    return file.getvalue().removesuffix("\n")


def error_of(column: Column, row: Row) -> float | None:
    """The error of a cell, if it has one."""
    value = column.of(row)
    return value.error if isinstance(value, Number) else None


def defused(value: Any) -> Any:
    """A cell of text that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    text = printable(decodable(value))
    return f"'{text}" if text.startswith(DANGEROUS) and text != "-" else text


def as_json(found: Comparison) -> str:
    """The comparison for programs."""
    columns = [column for column in columns_of(found) if column.form]
    rows = [
        {
            "runs": [decodable(run.folder) for run in row.runs],
            "settings": {name: row.settings.get(name) for name in found.differing},
            "rank": found.ranks.get(row.name),
            "images": row.said("source"),
            "measures": row.said("measures"),
            "sigma": row.sigma or None,
            "num_samples": list(row.samples),
            "n": len(row.counted),
            "numbers": {c.title: v._asdict() if isinstance(v := c.of(row), Number) else None for c in columns},
        }
        for row in found.rows
    ]
    return json.dumps(
        {"ranked": bool(found.ranks), "against": found.against, "notes": found.notes, "rows": rows},
        indent=2,
        allow_nan=False,
    )


def latex(found: Comparison) -> str:
    """A tabular of LaTeX; what is said below it are comments."""
    columns = columns_of(found)
    head = " & ".join(escaped_latex(column.title) for column in columns)
    lines = [" & ".join(escaped_latex(shown(column, row)) for column in columns) + r" \\" for row in found.rows]
    places = "".join("r" if column.form else "l" for column in columns)
    comments = [f"% {line}" for line in (f"In {UNITS}.", *sentences(found))]
    begin, end = rf"\begin{{tabular}}{{{places}}}", r"\end{tabular}"
    return "\n".join([*comments, begin, r"\hline", head + r" \\", r"\hline", *lines, r"\hline", end])


def escaped_latex(text: str) -> str:
    """A text that LaTeX sets as it is."""
    return "".join(LATEX.get(letter, letter) for letter in text)
