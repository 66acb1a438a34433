"""What `train_vae` does with its options. TensorFlow is imported when the data has been read and found good."""

import importlib.util
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.engine.arrays.fingerprint import fingerprint
from bicoder.engine.arrays.masked import arrays_in, shape_of_example
from bicoder.engine.arrays.view_names import is_of_views
from bicoder.engine.start import TITLES, check_devices, chosen_backend, divide, gpus, import_keras
from bicoder.errors import ModelError, UsageError, counted
from bicoder.pictures.picture import Subject, draw, flags
from bicoder.runs import checkpoints, weights
from bicoder.runs import folder as runs
from bicoder.runs.config import read_config
from bicoder.runs.folder import REPORT
from bicoder.runs.hosts import together
from bicoder.runs.hosts.alike import check_alike
from bicoder.runs.options.earlier import dataset_of, placed, places_left, repeated, resumed
from bicoder.runs.options.table import Options, Settled
from bicoder.runs.options.view_kinds import check_several

if TYPE_CHECKING:
    from bicoder.data.loader import DataLoader
    from bicoder.runs.callbacks.beside import Beside
    from bicoder.runs.callbacks.film import Film
    from bicoder.runs.state import TrainingState
    from bicoder.vae import VAE

VALIDATION = 0.1  # of the training images, if something is chosen by them


def train(options: Options) -> None:
    """Data, model, training, pictures, numbers: from top to bottom."""
    started, options = time.perf_counter(), settled(options)
    goes_on = options.resume is not None
    if not goes_on and together.writes():
        runs.check_free(options.dset, options.run_dir, options.overwrite)
    loader = load_data(options, run=options.resume)
    if not options.quiet:
        print(f"{options.dset}: {counts(loader)}; starting {TITLES[chosen_backend(options.backend)]}", flush=True)
    start_backend(options, loader)
    from bicoder.runs.shown import duration_of, numbers_of, print_numbers, subject_of

    check_alike(options, data := describe(options, loader))
    options, vae = new_model(options, loader)
    folder = Path(options.resume) if options.resume else runs.make_folder(options.dset, options.run_dir)
    runs.check_no_links(folder)
    if not together.writes():
        fit(options, vae, loader, folder, None, None)
        return together.leave()
    with checkpoints.only_one(folder):
        if not goes_on:
            runs.check_free(options.dset, folder, options.overwrite)  # nobody else has made a run of it meanwhile
            runs.save_config(folder, vae, options.arguments(), data, loader.split_names())
        else:
            go_on(options, vae, loader, folder)
        log, film = besides(options, subject_of(options, vae, loader, read_config(folder)), folder)
        training = fit(options, vae, loader, folder, log, film)
        weights.save(folder, vae)
        vae = together.alone(folder, vae)
        numbers = numbers_of(vae, loader, trained=training.state["epoch"] > 0)
        print_numbers(vae, numbers)  # before the pictures, which are done by others' code
        known = {"history": training.history(), "numbers": numbers}
        subject = subject_of(options, vae, loader, read_config(folder), **known)
        written = [] if options.no_pictures else draw(subject, folder, options.pictures)
        written += film.drawn() if film else []
    print(f"{duration_of(training)}; {time.perf_counter() - started:.1f} s in all\n")
    files = [folder / name for name in runs.LISTED] + written
    print("\n".join(str(path) for path in files if path.exists()))


def start_backend(options: Options, loader: "DataLoader") -> None:
    """Import Keras, and let it divide batches among the devices of this host, or of all hosts."""
    import_keras(options.batch_size if has_convolutions(options, loader) else None, options.device, options.backend)
    together.share()
    if (devices := divide(options.devices, options.batch_size)) > 1 and not options.quiet:
        print(f"{options.dset}: {devices} devices, each with {options.batch_size // devices} images of a batch")


def new_model(options: Settled, loader: "DataLoader") -> "tuple[Settled, VAE]":
    """The model before its first step, and the options with the sigma that was chosen for its data."""
    from bicoder.runs.build import build_model, start_from, with_sigma

    given, options = options.sigma, with_sigma(options, loader)
    if not options.quiet and options.sigma not in (None, given):
        print(f"{options.dset}: sigma of p(x|z) is {options.sigma} by default; --sigma sets it")
    vae = build_model(options, loader)
    if not options.quiet and chosen_backend() == "jax" and has_convolutions(options, loader) and not gpus("jax"):
        print(f"{options.dset}: JAX' convolutions are slow on a CPU; --backend tensorflow takes a fraction of the time")
    if options.init is not None and not (options.resume and checkpoints.numbers(Path(options.resume))):
        start_from(vae, options.init)
    return options, vae


def settled(options: Options) -> Settled:
    """The options of a run that goes on or is repeated, with what the data set and the other options decide.

    Raises:
        UsageError: they cannot be had together.
    """
    from bicoder.files.cache import named_folder

    if options.quiet and options.verbose:
        raise UsageError("quiet: expected it without --verbose, received both; leave one out")
    if options.anyway and options.resume is None:
        raise UsageError("anyway: expected it with --resume, received it without; leave it out")
    check_pictures(options)
    check_several(options)
    if options.optimizer == "ftrl" and options.learning_rate_warmup:
        raise UsageError(
            "learning_rate_warmup: expected none with ftrl, which divides by the learning rate, and that begins at 0; "
            "leave one of them out"
        )
    if options.resume is not None:
        options = resumed(options)
    elif options.config is not None:
        options = repeated(options, lambda line: print(line, file=sys.stderr))
    check_log(options)
    check_devices(options.devices, chosen_backend(options.backend))
    epochs, validation, named = options.epochs, options.validation, named_folder(options.data_dir)
    dataset = dataset_of(options.dset, options.resume)
    if options.resume is None and not validation and (options.weights == "best" or options.patience is not None):
        if "validation" in options.typed:
            raise UsageError(
                "validation: expected a share of the training images by which --weights best and --patience choose, "
                "received 0; leave it out for 0.1"
            )
        validation = VALIDATION
    found = {
        # Where the data are is said so that it is true from everywhere: a run folder is complete by itself.
        "dset": placed(options.dset),
        "labels": options.labels and str(Path(options.labels).absolute()),
        "data_dir": named and str(named.absolute()),
        "epochs": dataset.epochs if epochs is None else epochs,
        "validation": validation or 0.0,
        "split_seed": options.seed if options.split_seed is None else options.split_seed,
        "pictures": pictures_of(options),
    }
    return Settled(**vars(options) | found)


def pictures_of(options: Options) -> tuple[str, ...]:
    """The switches of the pictures that are drawn: those that are named, or all."""
    named = flags() if options.pictures is None else options.pictures
    return tuple(name for name in named if not (name == REPORT and options.no_report))


def check_pictures(options: Options) -> None:
    """`UsageError` if pictures are asked for and refused."""
    asked = options.pictures or () if "pictures" in options.typed else ()
    if options.no_pictures and asked:
        names = " and ".join(f"--{name}" for name in asked)
        raise UsageError(f"no_pictures: expected it without {names}, received both; leave one out")
    if options.no_report and REPORT in asked:
        raise UsageError(f"no_report: expected it without --{REPORT}, received both; leave one out")


def load_data(options: Options, only_test: Any = None, run: Path | str | None = None) -> "DataLoader":
    """The `DataLoader` of the options; vectors become images again if the network is made for images.

    Args:
        options: of the run.
        only_test: how the pixels of test images alone are scaled, as config.json says it; None for all images.
        run: folder of the run, if it is there: its images are for what they were for then, and treated as they were.
            If it names a place of files that nobody asked for, nothing is fetched.
    """
    from bicoder.data.loader import DataLoader

    config = read_config(run) if run else {"data": {}, "arguments": {}}
    data, left = config["data"], places_left(config["arguments"], options.data_dir, options.mirror)
    if left:
        print(f"{run}: {left}; without it nothing is fetched", file=sys.stderr)
    alone = only_test is not None and not options.stream and not options.views
    shape = data.get("image_shape") if alone else None  # else that of all images
    return DataLoader(
        options.dset,
        batch_size=options.batch_size,
        view=options.view,
        data_dir=options.data_dir,
        seed=options.seed,
        mirror=options.mirror,
        image_size=tuple(shape[:2]) if shape else options.image_size,
        channels=shape[2] if shape and shape[2] in (1, 3) else None,
        views=options.views,
        labels=options.labels,
        skip_damaged=options.skip_damaged,
        split=runs.split_file(run) if run else None,
        scaling=data.get("scaling"),
        flatten=None if options.network.get("name") in ("auto", "mlp") else False,
        binarize=options.binarize,
        download=not options.no_download and not left,
        stream=options.stream,
        validation=options.validation or 0.0,
        split_seed=options.split_seed,
        only_test=only_test,
        with_labels=options.condition is not None,
    )


def counts(loader: "DataLoader") -> str:
    """How many images there are of each kind, in words."""
    held_out = "" if loader.validation_files is None else f", {len(loader.validation_files):,} validation"
    test = counted(len(loader.test_files), "test example" if loader.views else "test image")
    shape: Any = shape_of_example(loader.training_images)
    if loader.views:
        shape = shape[loader.views[0]] if len({*shape.values()}) == 1 else tuple(shape.values())
        test += f" of the views {', '.join(loader.views)}"
    return f"{len(loader.training_files):,} training{held_out} and {test} of shape {shape}"


def has_convolutions(options: Options, loader: "DataLoader") -> bool:
    """Whether the network of the options has some; "auto" is an MLP for vectors only."""
    networks = options.network.values() if is_of_views(options.network) else [options.network]
    images = any(len(array.shape) > 2 for array in arrays_in(loader.training_images))
    return images and any(network["name"] != "mlp" for network in networks)


def describe(options: Settled, loader: "DataLoader") -> dict[str, Any]:
    """What config.json says about the data."""
    shape = as_lists(shape_of_example(loader.training_images))
    labels = [some for some in (loader.training_labels, loader.validation_labels) if some is not None]
    return {
        "training_images": len(loader.training_files),
        "validation_images": 0 if loader.validation_files is None else len(loader.validation_files),
        "test_images": len(loader.test_files),
        "shape": shape,
        "image_shape": as_lists(loader.image_shape),
        "label_names": list(loader.label_names),
        "sha256": fingerprint(loader.training_images, loader.validation_images, loader.test_images),
        "test_sha256": fingerprint(loader.test_images),
        "labels_sha256": fingerprint(*labels) if labels else None,
        "scaling": as_lists(loader.scaling),
        "split": {"seed": options.split_seed, "validation": options.validation, "files": None},
        "views": shape if loader.views else None,
    }


def as_lists(found: Any) -> Any:
    """Shapes or scalings as JSON has them: a tuple as a list, that of each view of a dict, None as None."""
    if isinstance(found, dict):
        return {view: as_lists(one) for view, one in found.items()}
    return None if found is None else list(found)


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of the data of a run is another now: "name then is now value"; what is said once alone is not compared."""
    new = ("scaling", "test_sha256", "labels_sha256")  # an older run has none
    known = {name: value for name, value in now.items() if name not in new or None not in (value, then.get(name))}
    return [f"{name} {then.get(name)!r} is now {value!r}" for name, value in known.items() if then.get(name) != value]


def go_on(options: Settled, vae: "VAE", loader: "DataLoader", folder: Path) -> None:
    """Write down that a run has more epochs than it was started with, or other data, and say what follows from that.

    Raises:
        ModelError: the data of the run are not those that it was started with, and it shall not go on anyway.
    """
    from bicoder.runs.build import that_follow_epochs

    then, data = read_config(folder), describe(options, loader)
    if changed := changes(then["data"], data):
        if not options.anyway or data["shape"] != then["data"].get("shape"):
            hint = "" if data["shape"] != then["data"].get("shape") else ", or add --anyway to go on with these"
            raise ModelError(f"resume: {folder} was started with other data: {', '.join(changed)}; train anew{hint}")
        print(f"{folder}: goes on with other data than it was started with: {', '.join(changed)}", file=sys.stderr)
        runs.write_split(folder, loader.split_names())
    more = then["arguments"].get("epochs") not in (None, options.epochs)
    if more and (found := that_follow_epochs(options, vae.objective)):
        what = f"{' and '.join(found)}: the schedule depends on the number of epochs"
        here = f"from here on it is that of {options.epochs} epochs, which a run would have had from its start"
        print(f"{folder}: {what}; {here}", file=sys.stderr)
    new = [name for name in ("film", "log") if getattr(options, name) and not then["arguments"].get(name)]
    if more or changed or new:  # which goes on from now on
        runs.write_config(folder, vae, options.arguments(), data)


def taken_up(options: Settled, vae: "VAE", source: Any, folder: Path) -> "TrainingState":
    """The state of a training: that of the last checkpoint if a run goes on, to which model and batches are brought.

    Args:
        options: of the run.
        vae: compiled.
        source: the `Batches` of the training images.
        folder: of the run.
    """
    from bicoder.runs.state import TrainingState

    best, every, patience = options.weights == "best", options.checkpoint_epochs, options.patience
    training = TrainingState(folder, runs.METRICS, source.count, best, every, patience, together.writes())
    if options.resume is not None:
        said = training.resume(vae, options.epochs)
        if not options.quiet:
            print(f"{folder}: {said}", flush=True)
    if training.epoch_is_over():  # of fewer images than there were
        training.state["batch"] = max(0, source.count - 1)
    source.epoch.assign(training.state["epoch"])
    source.skip.assign(training.state["batch"])
    return training


def fit(
    options: Settled, vae: "VAE", loader: "DataLoader", folder: Path, log: "Beside | None", film: "Film | None"
) -> "TrainingState":
    """Train the model, from the last checkpoint if the run has one; returns the `TrainingState`."""
    from bicoder.runs.build import make_optimizer
    from bicoder.runs.callbacks.finite_loss import FiniteLoss
    from bicoder.runs.callbacks.interruption import Interruption
    from bicoder.runs.callbacks.progress import Progress

    data, source = loader.training_data, loader.batches
    vae.compile(make_optimizer(options, source.count))
    training = taken_up(options, vae, source, folder)
    epoch, batch = training.state["epoch"], training.state["batch"]
    if epoch < training.last_epoch(options.epochs):
        runs.forget_numbers(folder)
    mode = "quiet" if options.quiet else "verbose" if options.verbose else "auto"
    validation = loader.validation_data
    progress = Progress(training, options.epochs, mode, "held out" if validation is None else "validation")
    first, then = ([one.of(training)] if one else [] for one in (log, film))
    keywords = {
        # Without validation images the columns val_ are of test images, and nothing is chosen by them.
        "validation_data": loader.test_data if validation is None else validation,
        "callbacks": [*first, training, *then, FiniteLoss(training), progress, Interruption(training)],
        "verbose": progress.verbose,
    }
    try:
        progress.wait()
        if batch:  # what is left of an epoch that was interrupted
            vae.fit(data, initial_epoch=epoch, epochs=epoch + 1, **keywords)
        vae.fit(data, initial_epoch=training.state["epoch"], epochs=training.last_epoch(options.epochs), **keywords)
    except OSError:  # nobody reads what it prints, or the disk takes no more: it ends, but what it learnt is not lost
        training.save()
        raise
    finally:
        progress.close()
    if training.unsaved:
        training.save()
    training.use_best()
    return training


def besides(options: Settled, subject: Subject, folder: Path) -> "tuple[Beside | None, Film | None]":
    """The log and the film of a training that begins, if they are wanted; what they import need not be there sooner."""
    log, film = None, None
    if options.log:
        from bicoder.runs.callbacks.tensorboard import TensorBoard

        log = TensorBoard(subject, folder, options.epochs, options.log_image_epochs)
    if options.film:
        from bicoder.runs.callbacks.film import Film

        film = Film(subject, options.epochs)
    return log, film


def check_log(options: Options) -> None:
    """`UsageError` if there is no log for what is asked for."""
    if options.log_image_epochs and not options.log:
        raise UsageError("log_image_epochs: expected it with --log tensorboard, received it without; add that")
    if options.log and importlib.util.find_spec("tensorboard") is None:
        raise UsageError("log: tensorboard needs the package tensorboard; run: pip install tensorboard")
