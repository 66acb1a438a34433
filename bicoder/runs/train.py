"""What `train_vae` does with its arguments. TensorFlow is imported when the data has been read and found good."""

import argparse
import contextlib
import gc
import hashlib
import math
import os
import sys
import tempfile
import time
from pathlib import Path

from bicoder.engine.arrays.portions import portions
from bicoder.errors import ModelError, UsageError, counted
from bicoder.pictures.picture import Subject, draw, flags
from bicoder.runs import checkpoints, weights
from bicoder.runs import folder as runs
from bicoder.runs.config import read_config

# Arguments that say nothing about a run, and those that may be others when it goes on.
NOT_KEPT = ("given", "resume")
MAY_CHANGE = {"resume", "debug", "checkpoint_epochs"}
MAY_CHANGE |= {"data_dir", "mirror", "no_download", "stream"}
MAY_CHANGE |= {"visualize_latent", "generate_from_prior", "generate_from_posterior", "num_images", "latent_points"}


def train(args):
    """Data, model, training, pictures, numbers: from top to bottom."""
    started = time.perf_counter()
    if args.resume is not None:
        folder = Path(args.resume)
        args = as_it_was(args, folder)
    else:
        folder = runs.new_folder(args.dset, args.run_dir, args.overwrite)
    loader = load_data(args)
    counts = f"{len(loader.training_images):,} training and {counted(len(loader.test_images), 'test image')}"
    print(f"{args.dset}: {counts} of shape {loader.training_images.shape[1:]}; starting TensorFlow", flush=True)
    import_keras(args.batch_size if has_convolutions(args, loader) else None)
    args.epochs = loader.dataset.epochs if args.epochs is None else args.epochs
    vae = build_model(args, loader)
    runs.make_folder(folder)
    with checkpoints.only_one(folder):
        data = describe(loader)
        if args.resume is None:
            runs.new_folder(args.dset, folder, args.overwrite)  # nobody else has made a run of it meanwhile
            runs.save_config(folder, vae, {k: v for k, v in vars(args).items() if k not in NOT_KEPT}, data)
        else:
            check_data(folder, data)
        training = fit(args, vae, loader, folder)
        weights.save(folder, vae)
        chosen = [flag for flag in flags() if getattr(args, flag)]
        written = draw(subject_of(args, vae, loader, training.history()), folder, chosen)
        numbers = vae.evaluate(loader.test_data, verbose=0, return_dict=True)
    report(args, vae, numbers, training.seconds(), time.perf_counter() - started)
    files = [folder / name for name in (runs.CONFIG, runs.METRICS, weights.NAME, checkpoints.FOLDER)] + written
    print("\n".join(str(path) for path in files if path.exists()))


def fit(args, vae, loader, folder):
    """Train the model, from the last checkpoint where the run has one; returns the `TrainingState`."""
    import keras

    from bicoder.engine.batches import source_of
    from bicoder.runs.finite_loss import FiniteLoss
    from bicoder.runs.interruption import Interruption
    from bicoder.runs.progress import Progress
    from bicoder.runs.state import TrainingState

    vae.compile(keras.optimizers.Adam(args.learning_rate))
    data, source = loader.training_data, source_of(loader.training_data)
    training = TrainingState(folder, runs.METRICS, source.count, args.weights == "best", args.checkpoint_epochs)
    if args.resume is not None:
        print(f"{folder}: {training.resume(vae, args.epochs)}", flush=True)
    epoch, batch = training.state["epoch"], training.state["batch"]
    source.epoch.assign(epoch)
    source.skip.assign(batch)
    progress = Progress(training, args.epochs)
    keywords = {
        "validation_data": loader.test_data,
        "callbacks": [training, FiniteLoss(training), progress, Interruption(training)],
        "verbose": progress.verbose,
    }
    try:
        if batch:  # what is left of an epoch that was interrupted
            vae.fit(data, initial_epoch=epoch, epochs=epoch + 1, **keywords)
        vae.fit(data, initial_epoch=training.state["epoch"], epochs=training.last_epoch(args.epochs), **keywords)
    except BrokenPipeError:  # nobody reads what it prints: it ends, but what it learnt is not lost
        training.save()
        raise
    finally:
        progress.close()
    if training.unsaved:
        training.save()
    training.use_best()
    return training


def as_it_was(args, folder):
    """The arguments of the run in `folder`, with those of `args` that may be others than they were.

    Raises:
        UsageError: an argument was given that would make it another training; all of them are listed.
    """
    arguments = read_config(folder)["arguments"]
    given = {name: value for name, value in vars(args).items() if name in args.given}
    changed = [
        name for name in arguments if name in given and name not in MAY_CHANGE and given[name] != arguments[name]
    ]
    if changed:
        listed = ", ".join(f"{name} {arguments[name]!r} is now {given[name]!r}" for name in changed)
        raise UsageError(f"resume: {folder} was started with other arguments: {listed}; leave them out, or train anew")
    pictures = {name: value for name, value in given.items() if name in MAY_CHANGE}
    return argparse.Namespace(**vars(args) | arguments | pictures)


def check_data(folder, data):
    """`ModelError` where the data of a run are not those that it was started with."""
    then = read_config(folder)["data"]
    changed = [f"{name} {then.get(name)!r} is now {value!r}" for name, value in data.items() if then.get(name) != value]
    if changed:
        raise ModelError(f"resume: {folder} was started with other data: {', '.join(changed)}; train anew")


def has_convolutions(args, loader):
    """Whether the network of the arguments has some; "auto" is an MLP for vectors only."""
    return args.network["name"] != "mlp" and len(loader.training_images.shape) > 2


def import_keras(batch=None):
    """Keras, without what TensorFlow says about itself while it starts; that is shown where the import fails.

    Args:
        batch: how many images are in a batch that convolutions will learn from, where some will: see `one_thread_each`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryFile() as said, kept_for_good(), not_found("sklearn"):
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            import keras
            import tensorflow as tf

            if batch:
                from bicoder.engine.slices import one_thread_each

                one_thread_each(batch)
            tf.config.list_logical_devices()
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    return keras


@contextlib.contextmanager
def kept_for_good():
    """What is imported inside stays: the garbage collector does not look for what is none in it.

    It would again and again, while TensorFlow is imported and once more at the end, for a second each.
    """
    if "keras" in sys.modules:  # somebody else's program, whose garbage may be in memory
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def not_found(package):
    """Inside, nobody can import a package: Keras would, half a second long, for wrappers that are not used here."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # how Python notes that there is none
    try:
        yield
    finally:
        del sys.modules[package]


def load_data(args):
    """The `DataLoader` of the arguments; vectors become images again where the network is made for images."""
    from bicoder.data.loader import DataLoader

    return DataLoader(
        args.dset,
        batch_size=args.batch_size,
        view=args.view,
        data_dir=args.data_dir,
        seed=args.seed,
        mirror=args.mirror,
        image_size=args.image_size,
        flatten=None if args.network["name"] in ("auto", "mlp") else False,
        binarize=args.binarize,
        download=not args.no_download,
        stream=args.stream,
    )


def with_defaults(family, config, **known):
    """A part of `family` from its config, to which what is known is added where the part takes it and has no value."""
    member = family.members().get(config["name"])
    takes = member.arguments() if member else []
    return family.get({k: v for k, v in known.items() if k in takes and v is not None} | config)


def make_likelihood(args, loader):
    """The `Likelihood` of the arguments; the images are checked against it."""
    from bicoder.likelihoods import Likelihood

    takes = Likelihood.members()[args.likelihood["name"]].arguments()
    if args.sigma is not None and "sigma" not in takes:
        raise UsageError(
            f"sigma: the {args.likelihood['name']} likelihood has none, received {args.sigma}; leave it out"
        )
    if args.sigma is not None and "sigma" in args.likelihood:
        raise UsageError(
            f"sigma: expected it once, received {args.sigma} and {args.likelihood['sigma']}; leave one out"
        )
    if args.sigma is None and "sigma" in takes:
        args.sigma = args.likelihood.get("sigma", loader.dataset.sigma)
    likelihood = with_defaults(Likelihood, args.likelihood, sigma=args.sigma)
    if args.binarize != "dynamic":
        likelihood.check(loader.training_images, f"{args.dset}: training images")
    likelihood.check(loader.test_images, f"{args.dset}: test images")
    return likelihood


def build_model(args, loader):
    """The `VAE` of the arguments, built for the loader's images."""
    from bicoder.coders import Decoder, Encoder
    from bicoder.objectives import Objective
    from bicoder.vae import VAE

    network = "auto" if args.network["name"] == "auto" else args.network
    encoder = Encoder(network, latent_dim=args.latent_dim, posterior=args.posterior)
    decoder = Decoder(network, likelihood=make_likelihood(args, loader))
    # A schedule, where there is one, takes the first half of the training.
    count = len(loader.training_images)
    steps = max(1, args.epochs * math.ceil(count / args.batch_size) // 2)
    objective = with_defaults(Objective, args.objective, data_size=count, steps=steps)
    vae = VAE(encoder, decoder, prior=args.prior, objective=objective, seed=args.seed)
    vae.build((None, *loader.training_images.shape[1:]))
    return vae


def describe(loader):
    """What config.json says about the data."""
    return {
        "training_images": len(loader.training_images),
        "test_images": len(loader.test_images),
        "shape": list(loader.training_images.shape[1:]),
        "image_shape": None if loader.image_shape is None else list(loader.image_shape),
        "label_names": list(loader.label_names),
        "sha256": fingerprint(loader.training_images, loader.test_images),
    }


def fingerprint(*arrays):
    """SHA-256 of the numbers of some arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        for part in portions(array):
            digest.update(memoryview(part).cast("B"))
    return digest.hexdigest()


def subject_of(args, vae, loader, history):
    """What the pictures show."""
    return Subject(
        vae,
        Path(args.dset).resolve().name,
        loader.test_images,
        loader.test_labels,
        loader.label_names,
        loader.image_shape,
        history,
        seed=args.seed,
        num_images=args.num_images,
        latent_points=args.latent_points,
    )


def report(args, vae, numbers, training, total):
    """The short table at the end."""
    per_dim = 1.0 / (math.prod(vae.input_spec.shape[1:]) * math.log(2.0))
    rows = {
        "test -ELBO": numbers["distortion"] + numbers["rate"],
        "distortion": numbers["distortion"],
        "rate": numbers["rate"],
    }
    print(f"\n{'':<12}{'nats per image':>16}{'bits per dim':>16}")
    for name, value in rows.items():
        print(f"{name:<12}{value:>16.2f}{value * per_dim:>16.4f}")
    if args.sigma == "learned" and hasattr(vae.decoder.likelihood, "log_sigma"):
        print(f"learned sigma {math.exp(vae.decoder.likelihood.log_sigma()):.4f}")
    done = "0 epochs: everything is of the untrained model"
    if args.epochs:
        done = f"{counted(args.epochs, 'epoch')} in {training:.1f} s, {training / args.epochs:.2f} s each"
    print(f"{done}; {total:.1f} s in all\n")
