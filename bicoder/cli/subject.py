"""What the pictures of a run show, for the commands that draw some anew."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from bicoder.cli.run_options import DataOptions
from bicoder.engine.start import import_keras
from bicoder.pictures.picture import Subject
from bicoder.runs.config import read_config
from bicoder.runs.options.table import Options

if TYPE_CHECKING:
    from bicoder.data.loader import DataLoader


def own_loader(options: DataOptions) -> "DataLoader":
    """The test images of a run, which are looked at before Keras is imported."""
    from bicoder.runs.run_data import own_data

    return own_data(Path(options.run), read_config(Path(options.run)), **options.whereabouts())


def subject_of(options: DataOptions, loader: "DataLoader", seed: int | None) -> Subject:
    """The model of a run and its test images, drawn as the training drew them.

    Args:
        options: of the command.
        loader: of the test images.
        seed: of what is drawn; None for that of the run.
    """
    folder = Path(options.run)
    config = read_config(folder)
    import_keras(backend=options.backend)
    from bicoder.runs.load import load
    from bicoder.runs.shown import subject_of as of_run

    then = Options(**Options.values(config["arguments"]))
    subject = of_run(then, load(folder, options.force), loader, config)
    return subject if seed is None else dataclasses.replace(subject, seed=seed)
