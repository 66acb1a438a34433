"""`bicoder report`: the page about a run."""

import dataclasses
from pathlib import Path

from bicoder.cli.command import command
from bicoder.cli.run_options import DataOptions
from bicoder.cli.subject import own_loader, subject_of
from bicoder.errors import MOST_IN_A_GRID
from bicoder.pictures.picture import draw
from bicoder.runs.config import read_config
from bicoder.runs.folder import REPORT, read_history
from bicoder.runs.options.kinds import Whole
from bicoder.runs.options.option import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportOptions(DataOptions):
    """What `report` can be told."""

    seed: int | None = option(Whole(0), None, "of what is drawn", "that of the run")
    latent_points: int | None = option(Whole(1, MOST_IN_A_GRID), None, "test images in the map", "as the run had")


@command
def report(options: ReportOptions) -> None:
    """Write one page about a run, to be opened in a browser: report.html.

    It has what the run knows of itself; `bicoder evaluate` adds more to it. It takes the place of the one that is
    there.
    """
    loader, folder = own_loader(options), Path(options.run)
    subject = subject_of(options, loader, options.seed)
    from bicoder.runs.per_image import read_per_image
    from bicoder.runs.run_data import all_training_images
    from bicoder.runs.shown import numbers_of, read_evaluation

    subject = dataclasses.replace(
        subject,
        history=read_history(folder),
        latent_points=options.latent_points or subject.latent_points,
        numbers=read_evaluation(folder) or numbers_of(subject.vae, loader),
        per_image=read_per_image(folder, len(loader.test_files)),
        training=all_training_images(folder, read_config(folder), loader, **options.whereabouts()),
    )
    print("\n".join(map(str, draw(subject, folder, (REPORT,), alone=True))))
