"""`bicoder export`: a part of a run's model as a file that other programs run."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from bicoder.cli.command import command
from bicoder.cli.run_options import WritingOptions, check_folder_of, check_views, refuse_existing
from bicoder.engine.start import import_keras
from bicoder.errors import UsageError
from bicoder.exports.function import SUFFIXES, WHATS
from bicoder.runs.config import read_config
from bicoder.runs.options.kinds import Choice, Text
from bicoder.runs.options.option import option
from bicoder.runs.options.view_kinds import SomeViews

HUB = "hub"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions(WritingOptions):
    """What `export` can be told."""

    format: str = option(Choice(*SUFFIXES, HUB), "onnx", "of the file; hub: the whole model, as a folder with a card")
    what: str = option(
        Choice(*WHATS), "reconstruct", "images to codes, codes to images, images to images, or images to how likely"
    )
    given: tuple[str, ...] | None = option(
        SomeViews(), None, "of a run of several views: those that the file is told", "all of them"
    )
    output: str | None = option(
        Text("FILE"), None, "where to write it; of hub a new folder", "RUN/WHAT, ending as the format does"
    )


@command
def export(options: ExportOptions) -> None:
    """Write a part of a run's model as a file that other programs run, once its own runtime computes what Python does.

    With --format hub, write the whole model as a folder in the layout of model hubs.

    encoder: the parameters of q(z|x). decoder: the mean of p(x|z). reconstruct: that at the mean of q(z|x). score:
    log q(z|x) - log p(z) - log p(x|z) at that one point.
    """
    if options.format == HUB:
        return export_for_hubs(options)
    folder, ending = Path(options.run), SUFFIXES[options.format]
    output = Path(options.output or folder / f"{options.what}{ending}")
    if output.suffix != ending:
        raise UsageError(f"output: expected a file that ends with {ending}, received {str(output)!r}")
    config = read_config(folder)
    check_views("given", options.given, config["input_shape"])
    check_folder_of(output)
    refuse_existing([output], options.overwrite)
    import_keras(backend=options.backend)
    from bicoder.runs.load import load

    vae = load(folder, options.force)
    difference = vae.export(output, options.what, options.format, given=options.given, about=about(config))
    print(f"run and compared with Python: at most {difference:.1e} apart", file=sys.stderr)
    print(output)


def export_for_hubs(options: ExportOptions) -> None:
    """Write the model as a folder in the layout of model hubs."""
    for name in ("what", "given", "overwrite"):
        if name in options.typed:
            raise UsageError(f"{name}: expected it without --format hub, which is the whole model in a new folder")
    if options.output is None:
        raise UsageError("output: expected a new folder, --output DIR, with --format hub, received none")
    from bicoder.runs.hub import layout

    folder, output = Path(options.run), Path(options.output).absolute()
    config = read_config(folder)
    check_folder_of(output)
    layout.check_empty(output)
    import_keras(backend=options.backend)
    from bicoder.runs.load import load

    layout.write(folder, config, load(folder, options.force), output)
    print(options.output)


def about(config: dict[str, Any]) -> dict[str, Any]:
    """What the metadata say of a run: how its images became x, its classes, and which versions trained it."""
    from bicoder.runs.run_data import class_names

    shapes = config["input_shape"]
    views = {view: preprocessing(config, view) for view in (shapes if isinstance(shapes, dict) else [""])}
    told = config["model"].get("condition") is not None
    return {
        "preprocessing": views.get("", views),
        "classes": class_names(config) if told else None,
        "trained_with": config["versions"],
    }


def preprocessing(config: dict[str, Any], view: str) -> dict[str, Any]:
    """How the images of a run, or of one of its views, became x: in the order of the keys."""
    from bicoder.runs.run_data import treatment

    how = treatment(config, view)
    return {
        "size": how.image_size,  # (height, width) that images are scaled to
        "divide_by": None if how.scaling is None else how.scaling.divisor,
        "clip_to_0_1": None if how.scaling is None else how.scaling.clip,
        "binarize": how.binarize,
        "image_shape": how.image_shape,
        "reshape_to": how.shape,
    }
