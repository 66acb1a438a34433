"""log p(x|y) of binary MNIST beside log p(x) of a model that is told no class, each over several seeds.

    python benchmarks/conditional_numbers.py --data_dir DIR [--seeds 3] [--epochs 150] [--table]

Trains and evaluates by the commands, and writes a table into docs/conditions.md. What is there with the same settings is
not done again, and a training that was stopped goes on. DIR has the files of `mnist_bw`, and mnist_bw_y.npy.
"""

import os

from pages import fill
from trainings import caption, kept, measure, parser_of, spread

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
MODELS = {
    "told nothing": [],
    "told the class": ["--condition", "labels"],
    "told the class, which p(z) is told too": ["--condition", "labels", "--prior", "conditional_gaussian"],
}
PAPER = {"told nothing": "86.31", "told the class": "83.45"}  # Wu & Goodman 2018
MODEL = [
    "--binarize",
    "dynamic",
    "--likelihood",
    "bernoulli",
    "--network",
    "mlp:hidden=[512,512]",
    "--latent_dim",
    "64",
]
OPTIMIZER = ["--learning_rate_schedule", "cosine"]


def settings_of(args, name, seed):
    """What decides the numbers: the arguments of the two commands."""
    return {
        "train": ["--dset", "mnist_bw", *MODEL, *OPTIMIZER, *MODELS[name], "--seed", str(seed)],
        "epochs": args.epochs,
        "evaluate": ["--num_samples", str(args.samples)],
    }


def table(args):
    """Lines of the table, of the seeds that a model has, and how they were measured; empty if there are none."""
    results = kept(args.results)

    def of(name, seed):
        result = results.get(f"{name}, seed {seed}", {})
        return result if "numbers" in result and result["settings"] == settings_of(args, name, seed) else None

    every = {name: [of(name, seed) for seed in range(args.seeds) if of(name, seed)] for name in MODELS}
    known = {name: found for name, found in every.items() if found}
    if not known:
        return []
    lines = ["| model | NLL | -ELBO | rate | NLL, published |", "|---|---|---|---|---|"]
    for name, found in known.items():
        cells = [spread(found, "nll", 2), spread(found, "elbo", 2, -1.0), spread(found, "rate", 2), PAPER.get(name, "")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, "", f"{args.epochs} epochs, {args.samples:,} importance samples. {caption(found)}"]


def main():
    parser = parser_of(__doc__, "mnist_bw", "conditional_numbers", epochs=150, samples=1000)
    args = parser.parse_args()
    if not args.table:
        if args.data_dir is None:
            parser.error("data_dir: expected the folder of the files of mnist_bw, received none")
        for seed in range(args.seeds):
            for number, name in enumerate(MODELS):
                folder = args.work / f"{number}-{seed}"
                measure(args, f"{name}, seed {seed}", settings_of(args, name, seed), folder, args.data_dir)
    lines = table(args)
    print("\n".join(lines) or "no model is evaluated; the page stays as it is")
    if lines:
        fill(args.docs / "conditions.md", "what a label is worth", lines)


if __name__ == "__main__":
    main()
