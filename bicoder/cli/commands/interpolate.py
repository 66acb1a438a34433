"""`bicoder interpolate`: images on the way from one test image of a run to another."""

import dataclasses
from pathlib import Path

from bicoder.cli.command import command
from bicoder.cli.run_options import DataOptions
from bicoder.cli.subject import own_loader, subject_of
from bicoder.errors import DataError, UsageError
from bicoder.runs.options.kinds import Flag, Whole
from bicoder.runs.options.option import option

MOST_PAIRS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterpolateOptions(DataOptions):
    """What `interpolate` can be told."""

    seed: int | None = option(Whole(0), None, "of the choice of test images", "that of the run")
    num_pairs: int = option(Whole(1, MOST_PAIRS), 4, "pairs of test images")
    labels_shown: bool = option(Flag(), False, "say which labels the two images of a pair have", "number the pairs")


@command
def interpolate(options: InterpolateOptions) -> None:
    """Draw images on the straight and on the spherical way from one test image to another: interpolation.png.

    It takes the place of the one that is there. Of a run with a condition, the two images of a pair are of one class.
    """
    loader = own_loader(options)
    if options.labels_shown and loader.test_labels is None:
        raise UsageError(f"labels_shown: expected test images with labels, but those of {options.run} have none")
    subject = subject_of(options, loader, options.seed)
    from bicoder.pictures.interpolation import between_pairs

    path = Path(options.run) / "interpolation.png"
    if between_pairs(subject, path, options.num_pairs, options.labels_shown) is None:
        kind = "" if subject.vae.condition is None else " of one class"
        raise DataError(f"{options.run}: expected two test images{kind} for a pair, received none")
    print(path)
