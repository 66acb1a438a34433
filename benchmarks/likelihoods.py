"""Which likelihood for which pixels: the contract's two data sets over four likelihoods, and their prior grids.

    python benchmarks/likelihoods.py DSET [--epochs N] [--data_dir DIR] [--work DIR]

Trains and evaluates each, prints a table in Markdown and writes docs/images/likelihoods-<dset>.png.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parent.parent
LIKELIHOODS = {
    "gaussian, sigma 0.75": ["--likelihood", "gaussian", "--sigma", "0.75"],
    "gaussian, sigma learned": ["--likelihood", "gaussian", "--sigma", "learned"],
    "optimal_gaussian": ["--likelihood", "optimal_gaussian"],
    "discretized_logistic": ["--likelihood", "discretized_logistic"],
}


def measure(name, args):
    """Train and evaluate one likelihood; returns its run folder and numbers."""
    from bicoder.cli import main as cli

    folder = Path(args.work) / f"{args.dset}-{name.replace(', ', '-').replace(' ', '-')}"
    places = ["--run_dir", str(folder), "--overwrite", *(["--data_dir", args.data_dir] if args.data_dir else [])]
    train = ["--dset", args.dset, "--epochs", str(args.epochs), *LIKELIHOODS[name], "--generate_from_prior", *places]
    if cli.main(train) or cli.bicoder(["evaluate", str(folder), "--num_samples", str(args.samples)]):
        sys.exit(f"{name} failed")
    return folder, json.loads((folder / "evaluation.json").read_text())


def shrink(path):
    """256 colours are enough for a page, and a third of the size."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256)
    small.save(path, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dset", choices=("mnist_bw", "mnist_color"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--data_dir")
    parser.add_argument("--work", default="runs/likelihoods")
    args = parser.parse_args()
    runs_of = {name: measure(name, args) for name in LIKELIHOODS}

    from bicoder import load
    from bicoder.pictures import plotting
    from bicoder.runs.config import read_config

    lines = [
        f"| {args.dset}, {args.epochs} epochs | NLL, nats | bits per dim | bits per 8-bit value | active units "
        "| squared error |"
    ]
    lines.append("|---|---|---|---|---|---|")
    grids = []
    for name, (folder, numbers) in runs_of.items():
        # A density on [0, 1] gives a grey value, 1/255 wide, about 1/255 of its height.
        grey = 0.0 if name == "discretized_logistic" else math.log2(255)
        lines.append(
            f"| {name} | {numbers['nll']:.1f} | {numbers['bits_per_dim']:.3f} | {numbers['bits_per_dim'] + grey:.3f} | "
            f"{numbers['active_units']} of {numbers['latent_dim']} | {numbers['mean_squared_error']:.4f} |"
        )
        grids.append(load(folder).generate(64, seed=0))
    shape = read_config(folder)["data"]["image_shape"]
    picture = ROOT / "docs" / "images" / f"likelihoods-{args.dset}.png"
    plotting.side_by_side(grids, picture, list(LIKELIHOODS), shape)
    shrink(picture)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
