"""`bicoder traverse`: what each dimension of the code of a run does."""

import dataclasses
from pathlib import Path

from bicoder.cli.command import command
from bicoder.cli.run_options import DataOptions
from bicoder.cli.subject import own_loader, subject_of
from bicoder.runs.options.kinds import Whole
from bicoder.runs.options.option import option

MOST_IMAGES = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class TraverseOptions(DataOptions):
    """What `traverse` can be told."""

    seed: int | None = option(Whole(0), None, "of the choice of test images", "that of the run")
    num_images: int = option(Whole(1, MOST_IMAGES), 3, "test images whose codes are changed")


@command
def traverse(options: TraverseOptions) -> None:
    """Draw what each dimension of z changes in some test images: traversals.png.

    Of a code of two dimensions, plane.png has the images all over it. Both take the place of those that are there.
    """
    loader = own_loader(options)
    subject = subject_of(options, loader, options.seed)
    from bicoder.pictures.gallery import plane
    from bicoder.pictures.traversals import each_dimension

    folder = Path(options.run)
    written = [each_dimension(subject, folder / "traversals.png", options.num_images)]
    written += [path for path in [plane(subject, folder / "plane.png")] if path]
    print("\n".join(map(str, written)))
