"""Options: what a command can be told, one typed entry each; parser, config.json and --resume follow from the table."""

import dataclasses
import functools
from typing import Any

from bicoder.data.views import VIEWS
from bicoder.engine.start import BACKENDS
from bicoder.errors import MOST_DIMENSIONS, MOST_IN_A_GRID
from bicoder.pictures.picture import flags
from bicoder.runs.options.host_options import HostOptions
from bicoder.runs.options.kinds import (
    AllOrSome,
    AnyCase,
    Choice,
    Flag,
    ImageSize,
    Learned,
    Number,
    Part,
    Switches,
    Text,
    Whole,
)
from bicoder.runs.options.option import option
from bicoder.runs.options.view_kinds import ChoiceOfViews, PartOfViews, Views, ViewWeights

DATA, MODEL, TRAINING, DRAWN = "data", "model", "training", "pictures (without any of these switches: all of them)"
# group -> what is said below its title
DESCRIPTIONS = {
    MODEL: "A part can be given arguments: --network mlp:hidden=[300,300] --objective iwae:num_samples=5; of several "
    "--views each can have its own: --likelihood m0=gaussian,m1=bernoulli",
}
ADAPTIVE = ("adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw")
OPTIMIZERS = (*ADAPTIVE, "ftrl", "lamb", "lion", "nadam", "rmsprop", "sgd")


of_data = functools.partial(option, group=DATA, data=True)
of_model = functools.partial(option, group=MODEL)
of_training = functools.partial(option, group=TRAINING)
of_pictures = functools.partial(option, group=DRAWN, resume=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(HostOptions):
    """What `train` can be told."""

    dset: str = of_data(
        Text("NAME|PATH"),
        "digits",
        "digits (in scikit-learn, no network), mnist_bw, mnist_color, or a path: a folder of images (sub-folders are "
        "labels, or a split if they are called train and test), a .npy or .npz array (N,H,W), (N,H,W,C) or (N,D), or "
        "IDX files, or a folder that pack wrote",
    )
    view: str = of_data(Choice(*VIEWS), "m0", "which version of mnist_color")
    views: tuple[str, ...] | None = of_data(
        Views(),
        None,
        "several views of each example, learnt together: m0,m1,m2,m3,m4 of mnist_color, or sub-folders in which files "
        "of equal names belong together, or arrays of a .npz file",
        "one view",
    )
    image_size: tuple[int, int] | None = of_data(
        ImageSize(),
        None,
        "scale the images of a folder, after a centred crop",
        "their own size, or 64 where they differ",
    )
    labels: str | None = of_data(
        Text("FILE"),
        None,
        "labels of the training images, in their order: a .npy array of whole numbers, or a CSV with one a line; or a "
        "CSV with a header, then a file name and a label a line",
        "what the data have, such as sub-folders",
    )
    skip_damaged: bool = of_data(Flag(), False, "go on without images that are damaged", "list them and end")
    data_dir: str | None = of_data(
        Text("DIR"),
        None,
        "where downloaded files live",
        "$BICODER_DATA, else the user's cache",
        resume=True,
        repeated=False,
    )
    mirror: str | None = of_data(
        Text("URL"),
        None,
        "fetch the files from URL/<file name>",
        "$BICODER_MIRROR, else their publisher",
        resume=True,
        repeated=False,
    )
    binarize: str | dict[str, str] | None = of_data(
        ChoiceOfViews("static", "dynamic"),
        None,
        "draw pixels as 0 or 1 with their grey value as probability, once or anew each time; of several --views, those "
        "of all, or of some: m0=static",
        "leave them",
    )
    stream: bool = of_data(
        Flag(),
        False,
        "read the images from disk while training, for a folder, a .npy file or mnist_color that does not fit into "
        "memory; they are converted once, into --data_dir",
        "all in memory",
        resume=True,
    )
    no_download: bool = of_data(Flag(), False, "use only files that are there", "fetch", resume=True)
    validation: float | None = of_data(
        Number("a number from 0 to below 1", 0.0, 1.0),
        None,
        "share of the training images that are not learnt from: by them the best epoch is chosen",
        "0.1 with --patience or --weights best, else 0",
    )
    split_seed: int | None = of_data(
        Whole(0), None, "of the choice of validation images, and of test images where a data set has none", "--seed"
    )
    network: dict[str, Any] = of_model(
        PartOfViews("networks.py", "Network", "auto"),
        {"name": "auto"},
        "conv for images and mlp for vectors, or",
        data=True,
    )
    latent_dim: int | None = of_model(
        Whole(1, MOST_DIMENSIONS), None, "dimensions of z", "20 for mlp, 50 for conv, 64 for residual"
    )
    likelihood: dict[str, Any] = of_model(
        PartOfViews("likelihoods.py", "Likelihood"), {"name": "gaussian"}, "p(x|z) of a pixel"
    )
    sigma: float | str | None = of_model(
        Learned(),
        None,
        "standard deviation of p(x|z) for pixels in [0, 1]: a number, or learned with the weights",
        "0.75 for mnist_bw and mnist_color, as their task has it; learned for all others",
    )
    posterior: dict[str, Any] = of_model(Part("posteriors.py", "Posterior"), {"name": "diagonal_gaussian"}, "q(z|x)")
    fusion: dict[str, Any] = of_model(
        Part("fusions.py", "Fusion"), {"name": "product_of_experts"}, "q(z|x) of several --views, of those of each"
    )
    prior: dict[str, Any] = of_model(Part("priors.py", "Prior"), {"name": "standard_normal"}, "p(z)")
    objective: dict[str, Any] = of_model(
        Part(("objectives.py", "view_objectives.py"), "Objective"), {"name": "elbo"}, "what training makes larger"
    )
    condition: dict[str, Any] | None = of_model(
        Part("conditions.py", "Condition", without=("vector",)),
        None,
        "what the model is told of each image beside its pixels, log p(x|y): its label, as labels or embedding",
        "nothing",
        data=True,
    )
    view_weights: dict[str, float] | str | None = of_model(
        ViewWeights(),
        None,
        "how much each of several --views counts in the objective; size divides by the numbers that a view has",
        "1 each",
    )
    input_noise: float = of_training(
        Number("a number from 0", 0.0), 0.0, "standard deviation of noise on what the encoder sees, in training alone"
    )
    epochs: int | None = of_training(Whole(0), None, "passes over the data", "20; digits: 300", more=True)
    batch_size: int = of_training(Whole(1), 128, "images a step", data=True)
    optimizer: str = of_training(AnyCase(*OPTIMIZERS), "adam", "of Keras")
    learning_rate: float = of_training(Number(), 1e-3, "of the optimizer")
    learning_rate_schedule: str = of_training(
        Choice("constant", "cosine"), "constant", "whether the learning rate stays, or falls to 0"
    )
    learning_rate_warmup: float = of_training(
        Number("a number from 0 to 2147483647", 0.0, 2.0**31), 0.0, "epochs in which the learning rate rises from 0"
    )
    weight_decay: float | None = of_training(
        Number("a number from 0", 0.0),
        None,
        "how much of each weight is taken away in a step, times the learning rate; with adam this is AdamW",
        "the optimizer's own, mostly 0",
    )
    clip_norm: float | None = of_training(Number(), None, "longest gradient, of all weights together", "any length")
    precision: str = of_training(
        Choice("float32", "mixed_bfloat16"), "float32", "of the networks; densities are float32"
    )
    backend: str | None = of_training(
        Choice(*BACKENDS),
        None,
        "what Keras computes with",
        "$KERAS_BACKEND, else that of the run that goes on, else tensorflow",
        resume=True,
        kept=False,
        repeated=False,
    )
    device: str | None = of_training(Choice("cpu", "gpu"), None, "what computes", "a GPU if there is one", resume=True)
    devices: int | str | None = of_training(
        AllOrSome(),
        None,
        "devices among which each batch is divided, on the backend jax",
        "all GPUs if there are several, else one",
        resume=True,
        kept=False,
        repeated=False,
    )
    weights: str = of_training(
        Choice("last", "best"),
        "last",
        "which epoch's weights are kept: the last, or that of the best bound on validation images",
    )
    patience: int | None = of_training(
        Whole(1), None, "end after N epochs without a better bound on validation images", "all --epochs"
    )
    seed: int = of_training(Whole(0), 0, "of everything random", data=True)
    init: str | None = of_training(Text("RUN"), None, "start from the weights of the run in this folder", "new ones")
    run_dir: str | None = of_training(
        Text("DIR"), None, "folder for everything that is written", "runs/<dset>-<time>", repeated=False
    )
    resume: str | None = of_training(
        Text("RUN"),
        None,
        "go on with the run in this folder; with more --epochs, to so many in all",
        "a new one",
        resume=True,
        kept=False,
        repeated=False,
    )
    config: str | None = of_training(
        Text("FILE"),
        None,
        "a config.json, whose arguments are the defaults of a new run",
        "those that are listed here",
        kept=False,
        repeated=False,
    )
    anyway: bool = of_training(
        Flag(),
        False,
        "go on with --resume though the data are not those that the run had",
        "refuse",
        resume=True,
        kept=False,
        repeated=False,
    )
    checkpoint_epochs: int | None = of_training(
        Whole(1), None, "epochs between two checkpoints", "as often as takes 2 % of the time", resume=True
    )
    log: str | None = of_training(
        Choice("tensorboard"),
        None,
        "write numbers and images of the training for TensorBoard, into RUN/tensorboard",
        "none",
        resume=True,
    )
    log_image_epochs: int | None = of_training(
        Whole(1), None, "epochs between two sets of images in --log", "a tenth of --epochs", resume=True
    )
    overwrite: bool = of_training(Flag(), False, "allow a --run_dir that holds a run", "refuse", repeated=False)
    quiet: bool = of_training(
        Flag(), False, "print the numbers at the end alone", "progress too", resume=True, kept=False
    )
    verbose: bool = of_training(Flag(), False, "print a line for every epoch", "fewer", resume=True, kept=False)
    pictures: tuple[str, ...] | None = of_pictures(Switches(flags), None, "")
    no_pictures: bool = of_pictures(Flag(), False, "draw none; bicoder draw RUN draws them later", "draw", kept=False)
    no_report: bool = of_pictures(
        Flag(), False, "leave report.html out, and draw the other pictures", "write it too", kept=False
    )
    film: bool = of_pictures(
        Flag(), False, "training.gif: the same images and noise at 30 moments of the training", "no film"
    )
    num_images: int = of_pictures(Whole(1, MOST_IN_A_GRID), 100, "images in a grid", "100, as 10x10")
    latent_points: int = of_pictures(Whole(1), 5000, "test images in latent.png")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settled(Options):
    """Options that leave nothing open but what the data decide: what config.json says of a run."""

    epochs: int
    validation: float
    split_seed: int
    pictures: tuple[str, ...]
