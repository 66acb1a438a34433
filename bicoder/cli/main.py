"""The command line: arguments in, a run folder out. TensorFlow is imported only when there is something to train."""

import argparse
import json
import math
import re
import sys

from bicoder import __version__
from bicoder.cli.commands import evaluate_run, generate_from_run
from bicoder.cli.environment import prepare, standard_streams
from bicoder.component import names_in_source
from bicoder.errors import MOST_DIMENSIONS, MOST_IN_A_GRID, MOST_SAMPLES, BicoderError, suggestion
from bicoder.runs.train import train

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
    """argparse, with an error of one line, and a hint where a name is nearly right."""

    def parse_known_args(self, args=None, namespace=None):
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:  # here, and not in parse_args: a command knows its own options
            options = [option for action in self._actions for option in action.option_strings]
            hint = suggestion(unknown[0].split("=")[0], options)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return namespace, unknown

    def error(self, message):
        if found := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            message += suggestion(found[1], re.findall(r"\w+", found[2]))
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def whole(least, most=2**31 - 1):
    """argparse type: a whole number from `least` to `most`."""

    def convert(text):
        digits = text.removeprefix("+")
        if not digits.isdecimal() or len(digits) > 20 or not least <= int(digits) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, received {text!r}")
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
    from bicoder.data.datasets import VIEWS

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
    group.add_argument(
        "--binarize",
        choices=("static", "dynamic"),
        help="draw pixels as 0 or 1 with their grey value as probability, once or anew each time (default: leave them)",
    )
    group.add_argument(
        "--stream",
        action="store_true",
        help="read the images from disk while training, for a folder, a .npy file or mnist_color that does not fit "
        "into memory; they are converted once, into --data_dir (default: all in memory)",
    )
    group.add_argument("--no_download", action="store_true", help="use only files that are there (default: fetch)")


def part(meaning, default, module, family, *more):
    """Keywords of an argument that takes a part: NAME or NAME:argument=value,argument=value, which becomes a config."""
    names = [*more, *names_in_source(module, family)]

    def convert(given):
        name, *rest = given.split(":", 1)
        if name not in names:
            hint = suggestion(name, names)
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(names)}, received {name!r}{hint}")
        config = {"name": name}
        # A comma inside brackets belongs to a list, hidden=[300,300].
        for item in re.split(r",(?![^\[]*\])", rest[0]) if rest else []:
            argument, equals, value = item.partition("=")
            if not equals or argument == "name":
                raise argparse.ArgumentTypeError(f"expected {name}:argument=value, received {given!r}")
            try:
                config[argument] = json.loads(value)
            except ValueError:
                config[argument] = value
        return config

    text = f"{meaning}: {', '.join(names)} (default: {default})"
    return {"type": convert, "default": {"name": default}, "metavar": "NAME", "help": text}


def add_model_arguments(group):
    group.description = "A part can be given arguments: --network mlp:hidden=[300,300] --objective iwae:num_samples=5"
    network = part("conv for images and mlp for vectors, or", "auto", "networks.py", "Network", "auto")
    group.add_argument("--network", **network)
    group.add_argument(
        "--latent_dim",
        type=whole(1, MOST_DIMENSIONS),
        metavar="N",
        help="dimensions of z (default: 20 for mlp, 50 for conv, 64 for residual)",
    )
    group.add_argument("--likelihood", **part("p(x|z) of a pixel", "gaussian", "likelihoods.py", "Likelihood"))
    group.add_argument(
        "--sigma",
        type=sigma,
        metavar="X|learned",
        help="standard deviation of p(x|z) for pixels in [0, 1]: a number, or learned with the weights "
        "(default: 0.75 for mnist_bw and mnist_color, as their task has it; learned for all others)",
    )
    group.add_argument("--posterior", **part("q(z|x)", "diagonal_gaussian", "posteriors.py", "Posterior"))
    group.add_argument("--prior", **part("p(z)", "standard_normal", "priors.py", "Prior"))
    group.add_argument("--objective", **part("what training makes larger", "elbo", "objectives.py", "Objective"))


def add_training_arguments(group):
    group.add_argument("--epochs", type=whole(0), metavar="N", help="passes over the data (default: 20; digits: 300)")
    group.add_argument("--batch_size", type=whole(1), default=128, metavar="N", help="images a step (default: 128)")
    group.add_argument("--learning_rate", type=positive, default=1e-3, metavar="X", help="of Adam (default: 0.001)")
    group.add_argument(
        "--weights",
        default="last",
        choices=("last", "best"),
        help="which epoch's weights are kept: the last, or that of the best bound on held-out images, which flatters "
        "their numbers (default: last)",
    )
    group.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of everything random (default: 0)")
    group.add_argument(
        "--run_dir", metavar="DIR", help="folder for everything that is written (default: runs/<dset>-<time>)"
    )
    group.add_argument("--resume", metavar="RUN", help="go on with the run in this folder (default: a new one)")
    group.add_argument(
        "--checkpoint_epochs",
        type=whole(1),
        metavar="N",
        help="epochs between two checkpoints (default: as often as takes 2 %% of the time)",
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
        "--num_images",
        type=whole(1, MOST_IN_A_GRID),
        default=100,
        metavar="N",
        help="images in a grid (default: 100, as 10x10)",
    )
    group.add_argument(
        "--latent_points", type=whole(1), default=5000, metavar="N", help="test images in latent.png (default: 5000)"
    )


def main(argv=None, prog="train_vae"):
    """`train_vae`; returns its exit code.

    0; 2 usage, 3 data, 4 network, 5 model, 6 numeric; 130 and 143 for signals, 141 where nobody reads the output.
    """
    with standard_streams():
        parser = build_parser(prog)
        args = parser.parse_args(argv)
        # Which arguments were given: those that a parser without defaults finds.
        unset = argparse.Namespace(**dict.fromkeys(vars(args), None))
        args.given = [name for name, value in vars(parser.parse_args(argv, unset)).items() if value is not None]
        if not any(getattr(args, flag) for flag in PICTURES):
            vars(args).update(dict.fromkeys(PICTURES, True))
        return guarded(train, args, prog)


def bicoder(argv=None):
    """`bicoder train|evaluate|generate`; returns its exit code, see `main`."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["train"]:
        return main(argv[1:], prog="bicoder train")
    with standard_streams():
        args = build_bicoder_parser().parse_args(argv)
        return guarded(args.command, args, "bicoder")


def build_bicoder_parser():
    """The arguments of `bicoder`, but for those of `bicoder train`."""
    parser = Parser(prog="bicoder", description="Train, evaluate and use variational autoencoders.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("train", help="the same as train_vae; `bicoder train --help` lists its options", add_help=False)
    judge = commands.add_parser(
        "evaluate", help="numbers that can be cited about the model of a run folder", allow_abbrev=False
    )
    judge.set_defaults(command=evaluate_run)
    judge.add_argument(
        "--num_samples",
        type=whole(1, MOST_SAMPLES),
        default=1000,
        metavar="K",
        help="for each image (default: 1000)",
    )
    judge.add_argument("--json", action="store_true", help="print JSON (default: a table)")
    judge.add_argument("--data_dir", metavar="DIR", help="where downloaded files live (default: as the run had it)")
    draw = commands.add_parser("generate", help="new images from the model of a run folder", allow_abbrev=False)
    draw.set_defaults(command=generate_from_run)
    draw.add_argument("--num_images", type=whole(1), default=100, metavar="N", help="how many (default: 100)")
    draw.add_argument(
        "--output", metavar="FILE", help="a .png for a grid, a .npy for an array (default: RUN/generated.png)"
    )
    for command in (judge, draw):
        command.add_argument("run", metavar="RUN", help="folder of a run")
        command.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of the samples (default: 0)")
        command.add_argument(
            "--overwrite", action="store_true", help="replace files that are there already (default: refuse)"
        )
        command.add_argument(
            "--force", action="store_true", help="load weights that are NaN or infinite too (default: refuse)"
        )
        command.add_argument("--debug", action="store_true", help="show the traceback of an error (default: one line)")
    return parser


def guarded(command, args, prog):
    """Run `command(args)`; an error becomes one line and an exit code."""
    try:
        prepare()
        command(args)
    except BicoderError as error:
        if args.debug:
            raise
        print(f"{prog}: error: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\n{prog}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # for `standard_streams`
        raise
    except Exception as error:
        if args.debug:
            raise
        print(f"{prog}: error: {type(error).__name__}: {one_line(error)}; --debug shows where", file=sys.stderr)
        return 1
    return 0


def one_line(error):
    """The message of an error, which may name a file that has a line break in its name."""
    return " ".join(str(error).splitlines())
