"""What the commands have in common that use the model of a run."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bicoder.engine.start import BACKENDS
from bicoder.errors import UsageError
from bicoder.runs.options.kinds import Choice, Flag, Text, Whole
from bicoder.runs.options.option import CommandOptions, option
from bicoder.runs.options.view_kinds import GivenViews


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(CommandOptions):
    """What the commands can be told that use the model of a run."""

    run: str = option(Text(), ..., "folder of a run")
    backend: str | None = option(Choice(*BACKENDS), None, "what Keras computes with", "$KERAS_BACKEND, else tensorflow")
    force: bool = option(Flag(), False, "load weights that are NaN or infinite too", "refuse")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions(RunOptions):
    """What those can be told that use the data of a run too."""

    dset: str | None = option(Text("PATH"), None, "where the data of the run are now", "where they were")
    labels: str | None = option(Text("FILE"), None, "where the file of its labels is now", "where it was")
    data_dir: str | None = option(
        Text("DIR"), None, "where downloaded files live", "$BICODER_DATA, else the user's cache"
    )
    mirror: str | None = option(
        Text("URL"), None, "fetch the files from URL/<file name>", "$BICODER_MIRROR, else their publisher"
    )
    anyway: bool = option(Flag(), False, "take test images too that are not those that the run had", "refuse")

    def whereabouts(self) -> dict[str, Any]:
        """Where the data of the run are, as `run_data.own_data` takes it."""
        return {name: getattr(self, name) for name in ("dset", "labels", "data_dir", "mirror", "anyway")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WritingOptions(RunOptions):
    """What those can be told that write files of their own."""

    overwrite: bool = option(Flag(), False, "replace files that are there already", "refuse")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImagesOptions(DataOptions, WritingOptions):
    """What those can be told that take images to the model."""

    images: str | None = option(
        Text(),
        None,
        "folder or array file, treated as the run treated its own; of several views, a folder with sub-folders, or a "
        ".npz file with arrays, of some of them",
        "the run's test images",
        positional=True,
    )
    given: dict[str, str | None] | None = option(
        GivenViews(),
        None,
        "of a run of several views: these alone, from images at a path each, or of the run's test examples",
        "all that there are",
    )

    def check_given(self, example: Any) -> None:
        """`UsageError` if views are given that the run does not have, or beside images.

        Args:
            example: shape of one, or of each view.
        """
        check_views("given", self.given, example)
        if self.given and self.images:
            raise UsageError(f"given: expected it without IMAGES, received {self.images!r} too; leave one of them out")

    def check_apart(self, output: Path, config: dict[str, Any]) -> None:
        """`UsageError` if the output would replace images that are read or the run's own, or be pictures among them."""
        pictures = output.is_dir() or not output.suffix
        for source in (self.images, *(self.given or {}).values(), self.dset or config["arguments"].get("dset")):
            if source and pictures and output.resolve().is_relative_to(Path(source).resolve()):
                raise UsageError(f"output: expected a folder outside of the images in {source}, received {output}")
            if source and output.resolve() == Path(source).resolve():
                raise UsageError(f"output: expected another file than that of the images, received {output}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingOptions(WritingOptions):
    """What those can be told that draw samples."""

    seed: int = option(Whole(0), 0, "of the samples")


def check_views(name: str, views: Iterable[str] | None, example: Any) -> None:
    """`UsageError` in the name of an option if it names views that a run does not have.

    Args:
        name: of the option.
        views: that it names, or None.
        example: shape of an example of the run, or of each of its views.
    """
    there = list(example) if isinstance(example, dict) else []
    if unknown := [view for view in views or () if view not in there]:
        known = f"views of the run, {', '.join(there)}" if there else "none, since the run has no views"
        raise UsageError(f"{name}: expected {known}, received {', '.join(unknown)}")


def refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    """`UsageError` if one of the files is there already, unless it may be replaced."""
    for path in paths:
        if path.is_dir() or (path.exists() and not overwrite):
            what = "is a folder" if path.is_dir() else "is there already; add --overwrite to replace it"
            raise UsageError(f"output: {path} {what}")


def check_folder_of(output: Path) -> None:
    """`UsageError` unless the folder is there that a file or a folder shall be written into."""
    if not output.parent.is_dir():
        raise UsageError(f"output: expected a file in a folder that exists, received {str(output)!r}")
