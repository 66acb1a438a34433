"""The command line: arguments in, a run folder out. TensorFlow is imported only when there is something to train."""

import argparse
import math
import os
import sys
import tempfile
import time
from pathlib import Path

from bicoder import __version__
from bicoder.component import names_in_source
from bicoder.errors import BicoderError, suggestion

EXAMPLES = """\
examples:
  python train_vae.py
      scikit-learn's 8x8 digits, no network needed: trains, draws all pictures
  python train_vae.py --dset mnist_bw --epochs 20 --visualize_latent --sigma learned
      MNIST, fetched on first use; the latent space as one picture
  python train_vae.py --dset path/to/images --image_size 64 --generate_from_prior
      a folder of PNG or JPEG files of your own; new images from the prior
"""

PICTURES = ("visualize_latent", "generate_from_prior", "generate_from_posterior")


class Parser(argparse.ArgumentParser):
    """argparse, with an error of one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def whole(least):
    """argparse type: a whole number from `least`."""

    def convert(text):
        if not text.lstrip("+").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least}, received {text!r}")
        return int(text)

    return convert


def positive(text):
    """argparse type: a positive, finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, received {text!r}")
    return value


def sigma(text):
    """argparse type: a positive number or "learned"."""
    if text == "learned":
        return text
    try:
        return positive(text)
    except argparse.ArgumentTypeError:
        hint = suggestion(text, ["learned"])
        raise argparse.ArgumentTypeError(f"expected a positive number or learned, received {text!r}{hint}") from None


def image_size(text):
    """argparse type: 64 or 64x48 (height x width)."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 1 <= int(side) <= 4096 for side in sides):
        raise argparse.ArgumentTypeError(f"expected 64 or 64x48 (height x width, up to 4096), received {text!r}")
    return int(sides[0]), int(sides[-1])


def build_parser(prog="train_vae"):
    """The arguments of `train_vae`; the choices come from the families."""
    parser = Parser(
        prog=prog,
        description="Train a variational autoencoder on images, and show what it learnt.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error (default: one line)")
    add_data_arguments(parser.add_argument_group("data"))
    add_model_arguments(parser.add_argument_group("model"))
    add_training_arguments(parser.add_argument_group("training"))
    add_picture_arguments(parser.add_argument_group("pictures (without any of the first three: all of them)"))
    return parser


def add_data_arguments(group):
    from bicoder.datasets import VIEWS

    group.add_argument(
        "--dset",
        default="digits",
        metavar="NAME|PATH",
        help="digits (in scikit-learn, no network), mnist_bw, mnist_color, or a path: a folder of PNG or JPEG images "
        "(sub-folders are labels), a .npy or .npz array (N,H,W), (N,H,W,C) or (N,D), or IDX files (default: digits)",
    )
    group.add_argument("--view", default="m0", choices=VIEWS, help="which version of mnist_color (default: m0)")
    group.add_argument(
        "--image_size",
        type=image_size,
        metavar="N|HxW",
        help="scale the images of a folder, after a centred crop (default: their own size, or 64 where they differ)",
    )
    group.add_argument(
        "--data_dir", metavar="DIR", help="where downloaded files live (default: $BICODER_DATA, else the user's cache)"
    )
    group.add_argument(
        "--mirror",
        metavar="URL",
        help="fetch the files from URL/<file name> (default: $BICODER_MIRROR, else their publisher)",
    )
    group.add_argument("--no_download", action="store_true", help="use only files that are there (default: fetch)")


def add_model_arguments(group):
    networks, likelihoods = names_in_source("networks.py", "Network"), names_in_source("likelihoods.py", "Likelihood")
    group.add_argument(
        "--network",
        default="auto",
        choices=["auto", *networks],
        help="auto: conv for images, mlp for vectors (default: auto)",
    )
    group.add_argument(
        "--latent_dim", type=whole(1), metavar="N", help="dimensions of z (default: 20 for mlp, 50 for conv)"
    )
    group.add_argument(
        "--likelihood", default="gaussian", choices=list(likelihoods), help="p(x|z) of a pixel (default: gaussian)"
    )
    group.add_argument(
        "--sigma",
        type=sigma,
        metavar="X|learned",
        help="standard deviation of p(x|z) for pixels in [0, 1]: a number, or learned with the weights "
        "(default: 0.75 for mnist_bw and mnist_color, as their task has it; learned for all others)",
    )


def add_training_arguments(group):
    group.add_argument("--epochs", type=whole(0), metavar="N", help="passes over the data (default: 20; digits: 200)")
    group.add_argument("--batch_size", type=whole(1), default=128, metavar="N", help="images a step (default: 128)")
    group.add_argument("--learning_rate", type=positive, default=1e-3, metavar="X", help="of Adam (default: 0.001)")
    group.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of everything random (default: 0)")
    group.add_argument(
        "--run_dir", metavar="DIR", help="folder for everything that is written (default: runs/<dset>-<time>)"
    )
    group.add_argument("--overwrite", action="store_true", help="allow a --run_dir that holds a run (default: refuse)")


def add_picture_arguments(group):
    group.add_argument("--visualize_latent", action="store_true", help="latent.png: t-SNE of the posterior means")
    group.add_argument("--generate_from_prior", action="store_true", help="prior.png: images from z ~ p(z)")
    group.add_argument(
        "--generate_from_posterior",
        action="store_true",
        help="posterior.png: test images x beside images from z ~ q(z|x)",
    )
    group.add_argument(
        "--num_images", type=whole(1), default=100, metavar="N", help="images in a grid (default: 100, as 10x10)"
    )
    group.add_argument(
        "--latent_points", type=whole(1), default=5000, metavar="N", help="test images in latent.png (default: 5000)"
    )


def main(argv=None, prog="train_vae"):
    """The program; returns its exit code: 0, 2 usage, 3 data, 4 network, 5 model, 6 numeric, 130 interrupt."""
    args = build_parser(prog).parse_args(argv)
    try:
        run(args)
    except BicoderError as error:
        if args.debug:
            raise
        print(f"{prog}: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\n{prog}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # standard output was closed, as by `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if args.debug:
            raise
        print(f"{prog}: error: {type(error).__name__}: {error}; --debug shows where", file=sys.stderr)
        return 1
    return 0


def run(args):
    """Data, model, training, pictures, numbers: from top to bottom."""
    started = time.perf_counter()
    if not any(getattr(args, flag) for flag in PICTURES):
        for flag in PICTURES:
            setattr(args, flag, True)
    loader = load_data(args)
    complete(args, loader.dataset)
    keras = import_keras()
    from bicoder import runs
    from bicoder.evaluation import evaluate_bound
    from bicoder.interruption import Interruption

    vae = build_model(args, loader)
    folder = runs.new_folder(args.dset, args.run_dir, args.overwrite)
    runs.save_config(folder, vae, vars(args), describe(loader))
    steps = math.ceil(len(loader.training_images) / args.batch_size)
    vae.compile(keras.optimizers.Adam(args.learning_rate), steps_per_execution=max(1, min(64, steps // 8)))
    training = time.perf_counter()
    history = vae.fit(
        loader.training_data,
        epochs=args.epochs,
        shuffle=False,  # the loader shuffles
        validation_data=loader.test_data,
        callbacks=[keras.callbacks.CSVLogger(folder / runs.METRICS), Interruption()],
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    training = time.perf_counter() - training
    runs.save_weights(folder, vae)
    written = draw(args, vae, loader, history, folder)
    numbers = evaluate_bound(vae, loader.test_images)
    report(args, vae, numbers, training, time.perf_counter() - started)
    files = [folder / name for name in (runs.CONFIG, runs.METRICS, runs.WEIGHTS)] + written
    print("\n".join(str(path) for path in files if path.exists()))


def import_keras():
    """Keras, without what TensorFlow says about itself while it starts; that is shown where the import fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryFile() as said:
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            import keras
            import tensorflow as tf

            tf.config.list_logical_devices()
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    return keras


def load_data(args):
    """The `DataLoader` of the arguments; vectors become images again where the network is made for images."""
    from bicoder.data_loader import DataLoader

    return DataLoader(
        args.dset,
        batch_size=args.batch_size,
        view=args.view,
        data_dir=args.data_dir,
        seed=args.seed,
        mirror=args.mirror,
        image_size=args.image_size,
        flatten=None if args.network in ("auto", "mlp") else False,
        download=not args.no_download,
    )


def complete(args, dataset):
    """Fill in what the user left to the data set."""
    args.epochs = dataset.epochs if args.epochs is None else args.epochs
    if args.sigma is None and args.likelihood in ("gaussian", "laplace"):
        args.sigma = dataset.sigma


def build_model(args, loader):
    """The `VAE` of the arguments, built for the loader's images, whose values are checked against its likelihood."""
    from bicoder.coders import Decoder, Encoder
    from bicoder.likelihoods import Likelihood
    from bicoder.vae import VAE

    likelihood = Likelihood.get(args.likelihood, **({} if args.sigma is None else {"sigma": args.sigma}))
    likelihood.check(loader.training_images, f"{args.dset}: training images")
    likelihood.check(loader.test_images, f"{args.dset}: test images")
    encoder = Encoder(args.network, latent_dim=args.latent_dim)
    vae = VAE(encoder, Decoder(args.network, likelihood=likelihood), seed=args.seed)
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
    }


def draw(args, vae, loader, history, folder):
    """Write the pictures that were asked for; returns their paths."""
    import numpy as np

    from bicoder import plotting

    name, rng = Path(args.dset).name, np.random.default_rng(args.seed)
    written = []
    if history.get("loss"):
        written.append(plotting.curves(history, folder / "curve.png", f"{name}: the bound, in nats per image"))
    if args.visualize_latent:
        written.append(draw_latent(args, vae, loader, folder / "latent.png", rng))
    if args.generate_from_prior:
        images = vae.generate(args.num_images, seed=args.seed)
        title = f"{name}: {args.num_images:,} images from the prior, mean of p(x|z) for z ~ p(z)"
        written.append(plotting.image_grid(images, folder / "prior.png", title, loader.image_shape))
    if args.generate_from_posterior:
        chosen = rng.permutation(len(loader.test_images))[: args.num_images]
        originals = loader.test_images[chosen]
        images = vae.decode(vae.encode(originals).sample(args.seed)).mean
        titles = (f"{name}: {len(chosen):,} test images x", "their reconstructions: mean of p(x|z) for z ~ q(z|x)")
        written.append(plotting.side_by_side(originals, images, folder / "posterior.png", titles, loader.image_shape))
    return written


def draw_latent(args, vae, loader, path, rng):
    """latent.png: the posterior means of test images in the plane."""
    from bicoder import plotting
    from bicoder.evaluation import nearest_neighbour_accuracy, posterior_means, tsne

    chosen = rng.permutation(len(loader.test_images))[: args.latent_points]
    codes = posterior_means(vae, loader.test_images[chosen])
    labels = None if loader.test_labels is None else loader.test_labels[chosen]
    accuracy = None if labels is None else nearest_neighbour_accuracy(codes, labels)
    title = f"{Path(args.dset).name}: t-SNE of the posterior means of {len(chosen):,} test images"
    if accuracy is not None:
        title += f"\n10-NN accuracy in the {codes.shape[1]}-dimensional latent space {accuracy:.3f}"
    return plotting.scatter(tsne(codes, args.seed), path, title, labels, loader.label_names)


def report(args, vae, numbers, training, total):
    """The short table at the end."""
    per_dim = numbers["bits_per_dim"] / (numbers["distortion"] + numbers["rate"])
    rows = {
        "test -ELBO": numbers["distortion"] + numbers["rate"],
        "distortion": numbers["distortion"],
        "rate": numbers["rate"],
    }
    print(f"\n{'':<12}{'nats per image':>16}{'bits per dim':>16}")
    for name, value in rows.items():
        print(f"{name:<12}{value:>16.2f}{value * per_dim:>16.4f}")
    if args.sigma == "learned":
        print(f"learned sigma {math.exp(vae.decoder.likelihood.log_sigma()):.4f}")
    each = f", {training / args.epochs:.2f} s each" if args.epochs else ""
    print(f"{args.epochs} epochs in {training:.1f} s{each}; {total:.1f} s in all\n")
