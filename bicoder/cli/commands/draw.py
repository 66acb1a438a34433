"""`bicoder draw`: the pictures of a run, anew."""

import dataclasses
from pathlib import Path

from bicoder.cli.command import command
from bicoder.cli.run_options import DataOptions
from bicoder.cli.subject import own_loader, subject_of
from bicoder.errors import MOST_IN_A_GRID
from bicoder.pictures.picture import draw as draw_pictures
from bicoder.pictures.picture import flags
from bicoder.runs.folder import REPORT, read_history
from bicoder.runs.options.kinds import Switches, Whole
from bicoder.runs.options.option import option
from bicoder.runs.options.table import DRAWN


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawOptions(DataOptions):
    """What `draw` can be told."""

    seed: int | None = option(Whole(0), None, "of what is drawn", "that of the run")
    pictures: tuple[str, ...] | None = option(Switches(flags), None, "", group=DRAWN)
    num_images: int | None = option(
        Whole(1, MOST_IN_A_GRID), None, "images in a grid", "as the run had it", group=DRAWN
    )
    latent_points: int | None = option(Whole(1), None, "test images in latent.png", "as the run had", group=DRAWN)


@command
def draw(options: DrawOptions) -> None:
    """Draw the pictures of a run anew, without training: those that are named, or all of them.

    They take the place of those that are there.
    """
    loader = own_loader(options)
    folder = Path(options.run)
    subject = subject_of(options, loader, options.seed)
    named = options.pictures
    chosen = tuple(flags()) if named is None else named
    subject = dataclasses.replace(
        subject,
        history=read_history(folder) if named is None or REPORT in named else {},
        num_images=options.num_images or subject.num_images,
        latent_points=options.latent_points or subject.latent_points,
    )
    print("\n".join(map(str, draw_pictures(subject, folder, chosen, alone=named is not None))))
