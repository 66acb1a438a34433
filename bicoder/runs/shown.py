"""What a run shows of itself: its numbers, and the subject of its pictures."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.errors import ModelError, counted
from bicoder.files.regular_file import NotRegularError, read_regular
from bicoder.pictures.picture import About, Subject
from bicoder.runs.folder import EVALUATION
from bicoder.runs.options.command_line import command_line
from bicoder.runs.options.table import Options
from bicoder.waiting import told

if TYPE_CHECKING:
    from bicoder.data.loader import DataLoader
    from bicoder.runs.state import TrainingState
    from bicoder.vae import VAE

LARGEST = 2**22  # bytes of evaluation.json, which has some thousand


def title_of(arguments: Mapping[str, Any]) -> str:
    """What pictures call the data of these arguments: its name, and the view of it."""
    if not arguments.get("dset"):
        return ""
    name = Path(arguments["dset"]).resolve().name
    if arguments.get("views"):
        return f"{name}, views {', '.join(arguments['views'])}"
    return f"{name}, view {arguments.get('view', 'm0')}" if name == "mnist_color" else name


def about(config: Mapping[str, Any]) -> About:
    """What is said of a run of this config.json."""
    arguments = config["arguments"]
    settings = {name: value for name, value in arguments.items() if value is not None}
    data = {name: value for name, value in config["data"].items() if value not in (None, [])}
    return About(
        command_line(arguments),
        {
            "settings": {name: json.dumps(value) for name, value in settings.items()},
            "data": {name.replace("_", " "): json.dumps(value) for name, value in data.items()},
            "versions": {**config["versions"], "backend": config["backend"]},
        },
    )


def subject_of(options: Options, vae: "VAE", loader: "DataLoader", config: Mapping[str, Any], **more: Any) -> Subject:
    """What the pictures of a run show.

    Args:
        options: of the run.
        vae: its model.
        loader: of its test images, and of training images if they are read.
        config: its config.json.
        more: further fields of the `Subject`.
    """
    return Subject(
        vae,
        title_of(options.arguments()),
        loader.test_examples,
        loader.test_labels,
        loader.label_names,
        loader.image_shape,
        **{
            "seed": options.seed,
            "num_images": options.num_images,
            "latent_points": options.latent_points,
            "files": loader.test_files,
            "training": loader.training_images if loader.has_training_images else None,
            "about": about(config),
            **more,
        },
    )


def numbers_of(vae: "VAE", loader: "DataLoader", trained: bool = True) -> dict[str, Any]:
    """The numbers of the test images, from one sample of z for each, how many units are active, and advice.

    Args:
        vae: the model.
        loader: of the images.
        trained: whether the model has seen an epoch: there is no advice about one that has not.
    """
    from bicoder.evaluation.doctor import of_training
    from bicoder.evaluation.latent_space import active_units, posterior_means

    if not vae.compiled:  # Keras measures no others; a model that was loaded is none yet
        vae.compile()
    with told("measuring the test images"):
        numbers = vae.evaluate(loader.test_data, verbose=0, return_dict=True)
        units = active_units(posterior_means(vae, loader.test_examples))
    found = numbers | {"active_units": units, "latent_dim": vae.latent_dim}
    return found | {"doctor": of_training(vae, found) if trained else []}


def print_numbers(vae: "VAE", numbers: dict[str, Any]) -> None:
    """The short table at the end, and what is wrong with the model, if anything is."""
    from bicoder.engine.arrays.inputs import numbers_of

    views = vae.decoder.views
    per_dim = 1.0 / (numbers_of(vae.example_shape) * math.log(2.0))
    terms = {name: numbers[name] for name in ("distortion", "rate")}
    rows = {"test -ELBO": sum(terms.values()), **terms}
    per = "nats per example" if views else "nats per image"
    print(f"\n{'':<12}{per:>16}{'bits per dim':>16}")
    for name, value in rows.items():
        print(f"{name:<12}{value:>16.2f}{value * per_dim:>16.4f}")
    for view, likelihood in vae.decoder.likelihoods.items():
        if getattr(likelihood, "sigma", None) == "learned":
            print(f"learned sigma {f'of {view} ' if views else ''}{math.exp(likelihood.log_sigma()):.4f}")
    for sentence in numbers["doctor"]:
        print(sentence)
    sys.stdout.flush()


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """The numbers that `evaluate` wrote into a run folder; None if it has not.

    Raises:
        ModelError: it is something else.
    """
    path = folder / EVALUATION
    try:
        found = json.loads(read_regular(path, LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, NotRegularError) as error:
        raise ModelError(f"{path}: expected the numbers of evaluate: {error}; evaluate the run again") from error
    sound = isinstance(found, dict) and isinstance(found.get("doctor"), list)
    if not sound or not all(isinstance(sentence, str) for sentence in found["doctor"]):
        raise ModelError(f"{path}: expected the numbers of evaluate, received something else; evaluate the run again")
    return found


def duration_of(training: "TrainingState") -> str:
    """How long the training took, in words."""
    epochs, seconds = training.state["epoch"], training.seconds()
    if not epochs:
        return "0 epochs: everything is of the untrained model"
    return f"{counted(epochs, 'epoch')} in {seconds:.1f} s, {seconds / epochs:.2f} s each"
