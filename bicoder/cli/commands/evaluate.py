"""`bicoder evaluate`: numbers about the model of a run."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from bicoder.cli.command import command
from bicoder.cli.run_options import DataOptions, SamplingOptions, refuse_existing
from bicoder.engine.start import import_keras
from bicoder.errors import MOST_SAMPLES
from bicoder.files.whole_file import whole_file
from bicoder.pictures.picture import draw, pictures
from bicoder.runs.config import read_config
from bicoder.runs.folder import EVALUATION, PER_IMAGE, REPORT, REPORT_PAGE, read_history
from bicoder.runs.options.kinds import Flag, Whole
from bicoder.runs.options.option import option
from bicoder.runs.options.table import Options


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions(DataOptions, SamplingOptions):
    """What `evaluate` can be told."""

    num_samples: int = option(Whole(1, MOST_SAMPLES, "K"), 1000, "for each image")
    json: bool = option(Flag(), False, "print JSON", "a table")


@command
def evaluate(options: EvaluateOptions) -> None:
    """Print numbers that can be cited about the model of a run, on its test images.

    They are written into evaluation.json too, those of each image into per_image.csv, and kl.png shows the rate of each
    dimension of z.
    """
    from bicoder.runs.run_data import own_data, own_training_data

    folder = Path(options.run)
    config = read_config(folder)
    drawn = [folder / picture.file for picture in pictures() if picture.command == "evaluate"]
    refuse_existing((folder / EVALUATION, folder / PER_IMAGE, *drawn), options.overwrite)
    loader = own_data(folder, config, **options.whereabouts())
    import_keras(backend=options.backend)
    from bicoder.evaluation import measure
    from bicoder.runs.load import load
    from bicoder.runs.per_image import columns_of, write_per_image
    from bicoder.runs.shown import subject_of

    vae = load(folder, options.force)
    training = own_training_data(folder, config, loader, **options.whereabouts())
    found = measure.measured(vae, loader, options.num_samples, options.seed, progress=True, training=training)
    numbers = found.numbers
    text = json.dumps(without_nan(numbers), indent=2, allow_nan=False)
    print(text if options.json else measure.table(numbers), flush=True)  # before anything can go wrong with the files
    columns = columns_of(found)
    write_per_image(folder / PER_IMAGE, loader, columns)
    then = Options(**Options.values(config["arguments"]))
    subject = subject_of(then, vae, loader, config, numbers=numbers, per_image=columns)
    written = [folder / EVALUATION, folder / PER_IMAGE, *draw(subject, folder, command="evaluate")]
    if (folder / REPORT_PAGE).exists():
        subject = dataclasses.replace(subject, history=read_history(folder))
        written += draw(subject, folder, (REPORT,), alone=True)
    with whole_file(folder / EVALUATION) as new:  # the last one: a run that has it has all of it
        new.write_text(text + "\n", encoding="utf-8")
    if not options.json:
        print("\n" + "\n".join(map(str, written)))


def without_nan(value: Any) -> Any:
    """What JSON has no word for, NaN and infinity, as None, in numbers of any depth."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
