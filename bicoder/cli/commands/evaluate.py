"""`bicoder evaluate`: numbers about the model of a run."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.cli.command import command
from bicoder.cli.run_options import RunOptions, refuse_existing
from bicoder.data.pixels import Scaling
from bicoder.engine.start import import_keras
from bicoder.errors import MOST_SAMPLES, ModelError
from bicoder.files.whole_file import whole_file
from bicoder.pictures.picture import Subject, draw, pictures
from bicoder.runs.config import read_config
from bicoder.runs.folder import CONFIG, EVALUATION
from bicoder.runs.options.kinds import Flag, Text, Whole
from bicoder.runs.options.table import Options, option
from bicoder.runs.train import changes, fingerprint, load_data

if TYPE_CHECKING:
    from bicoder.data.loader import DataLoader


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions(RunOptions):
    """What `evaluate` can be told."""

    num_samples: int = option(Whole(1, MOST_SAMPLES, "K"), 1000, "for each image")
    json: bool = option(Flag(), False, "print JSON", "a table")
    data_dir: str | None = option(Text("DIR"), None, "where downloaded files live", "as the run had it")
    anyway: bool = option(Flag(), False, "measure though the test images are not those that the run had", "refuse")


@command
def evaluate(options: EvaluateOptions) -> None:
    """Print numbers that can be cited about the model of a run, on its test images.

    They are written into evaluation.json too, and kl.png shows the rate of each dimension of z.
    """
    folder = Path(options.run)
    config = read_config(folder)
    of_run = options_of_data(folder, config["arguments"])
    drawn = [folder / picture.file for picture in pictures() if picture.command == "evaluate"]
    refuse_existing((folder / EVALUATION, *drawn), options.overwrite)
    of_run = dataclasses.replace(of_run, data_dir=options.data_dir or of_run.data_dir)
    loader = test_images_of(folder, config["data"], of_run, options.anyway)
    import_keras()
    from bicoder.evaluation import measure
    from bicoder.runs.load import load

    vae = load(folder, options.force)
    numbers = measure.evaluate(vae, loader, options.num_samples, options.seed, progress=True)
    text = json.dumps(numbers, indent=2)
    print(text if options.json else measure.table(numbers), flush=True)  # before anything can go wrong with the files
    with whole_file(folder / EVALUATION) as new:
        new.write_text(text + "\n", encoding="utf-8")
    written = [folder / EVALUATION, *draw(Subject(vae, numbers=numbers), folder, command="evaluate")]
    if not options.json:
        print("\n" + "\n".join(map(str, written)))


def test_images_of(folder: Path, data: dict[str, Any], of_run: Options, anyway: bool) -> "DataLoader":
    """The `DataLoader` of a run's test images, and a line if they are not those that it had.

    Args:
        folder: of the run.
        data: what its config says of its data.
        of_run: its options, which say where its data are.
        anyway: go on with others.
    Raises:
        ModelError: they are others, and `anyway` is false.
    """
    scaling = data.get("scaling")
    loader = load_data(of_run, None if scaling is None else Scaling(*scaling), folder)
    images = loader.test_images
    now = {"test_images": len(images), "test_sha256": fingerprint(images)}
    if "test_sha256" not in data and loader.has_training_images:  # of an older run, which knows all of them together
        parts = (loader.training_images, loader.validation_images, images)
        now = {"test_images": len(images), "sha256": fingerprint(*(part for part in parts if part is not None))}
    if not (changed := changes(data, {name: value for name, value in now.items() if name in data})):
        return loader
    line = f"{folder} had other data: {', '.join(changed)}"
    if not anyway:
        raise ModelError(f"evaluate: {line}; give it the images that it had, or add --anyway to measure these")
    print(f"{line}; measured all the same, though the model may have learnt from some", file=sys.stderr)
    return loader


def options_of_data(folder: Path, arguments: dict[str, Any]) -> Options:
    """Those options of a run that say what data it had; the others have their defaults.

    Raises:
        ModelError: the run does not say.
    """
    if "dset" not in arguments:
        raise ModelError(
            f"{folder / CONFIG}: arguments: expected 'dset', which says what data the run had, received none; "
            "the program writes it; in Python, bicoder.evaluate(bicoder.load(folder), images) needs none"
        )
    table = Options.table()
    return Options(**{name: v for name, v in Options.values(arguments).items() if table[name].data})
