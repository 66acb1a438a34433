"""`bicoder compare`: several runs beside each other."""

import dataclasses
import sys
from pathlib import Path

from bicoder.cli.command import command
from bicoder.cli.run_options import refuse_existing
from bicoder.errors import UsageError
from bicoder.runs.options.kinds import Flag, Several, Text
from bicoder.runs.options.option import CommandOptions, option

PAGE, PLANE, CURVES = "compare.html", "rate_distortion.png", "curves.png"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareOptions(CommandOptions):
    """What `compare` can be told."""

    runs: tuple[str, ...] = option(Several(Text("RUN")), ..., "folders of runs")
    group: bool = option(Flag(), False, "a row for runs that differ in nothing but the seed", "a row for each run")
    csv: bool = option(Flag(), False, "print CSV", "Markdown")
    json: bool = option(Flag(), False, "print JSON", "Markdown")
    latex: bool = option(Flag(), False, "print LaTeX", "Markdown")
    output: str | None = option(
        Text("DIR"), None, f"folder for {PAGE}, {PLANE} and {CURVES}", "print the table alone", repeated=False
    )
    overwrite: bool = option(Flag(), False, "replace files that are there already", "refuse")


@command
def compare(options: CompareOptions) -> None:
    """Print a table of runs, the best first if their numbers can be compared.

    Its first columns are the options in which the runs differ. With --output it is a page too, with pictures.
    """
    forms = [name for name in ("csv", "json", "latex") if getattr(options, name)]
    if len(forms) > 1:
        raise UsageError(f"{forms[0]}: expected it without --{forms[1]}, received both; leave one out")
    paths = [Path(options.output) / name for name in (PAGE, PLANE, CURVES)] if options.output else []
    refuse_existing(paths, options.overwrite)
    from bicoder.comparison import table
    from bicoder.comparison.compared import compare as compared

    found = compared(options.runs, options.group)
    forms_of = {"csv": table.as_csv, "json": table.as_json, "latex": table.latex}
    print(forms_of.get("".join(forms), table.markdown)(found), flush=True)
    if options.csv:
        print("\n".join(table.sentences(found)), file=sys.stderr)
    if paths:
        from bicoder.comparison.page import write

        # Beside the table, unless a program reads it.
        print("\n".join(["", *map(str, write(found, *paths))]), file=sys.stderr if forms else sys.stdout)
