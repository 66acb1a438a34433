"""What the commands have in common that use the model of a run."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from bicoder.errors import UsageError
from bicoder.runs.options.kinds import Flag, Text, Whole
from bicoder.runs.options.table import CommandOptions, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(CommandOptions):
    """What the commands can be told that use the model of a run."""

    run: str = option(Text(), ..., "folder of a run")
    seed: int = option(Whole(0), 0, "of the samples")
    overwrite: bool = option(Flag(), False, "replace files that are there already", "refuse")
    force: bool = option(Flag(), False, "load weights that are NaN or infinite too", "refuse")


def refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    """`UsageError` if one of the files is there already, unless it may be replaced."""
    for path in paths:
        if path.is_dir() or (path.exists() and not overwrite):
            what = "is a folder" if path.is_dir() else "is there already; add --overwrite to replace it"
            raise UsageError(f"output: {path} {what}")
