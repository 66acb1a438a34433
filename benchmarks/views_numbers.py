"""Five methods for several views of the same examples, on a random part of `mnist_color`, each over several seeds.

    python benchmarks/views_numbers.py --data_dir DIR [--seeds 3] [--evaluate] [--table]

Trains and evaluates by the commands on 10,000 training and 2,000 test rows, drawn by chance, and writes tables and
pictures into docs/views.md. What is there with the same settings is not done again, and a training that was stopped
goes on, so it can be stopped at any time. DIR has the files of `mnist_color`; for coherence and accuracy the training
labels, `mnist_color_y.npy`, too.
"""

import itertools
import math
import os
import statistics

from colour_part import part_of
from pages import fill
from trainings import caption, kept, measure, parser_of, shrink, spread

from bicoder.data.views import VIEWS

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
METHODS = {
    "MVAE": ["--fusion", "product_of_experts:prior_expert=true", "--objective", "mvae:beta=2.5"],
    "MVTCAE": ["--fusion", "product_of_experts", "--objective", "mvtcae:beta=2.5"],
    "product": ["--fusion", "product_of_experts", "--objective", "beta_elbo:beta=2.5"],
    "MoPoE": ["--fusion", "mixture_of_products", "--objective", "component_elbo:beta=2.5"],
    "mixture": ["--fusion", "mixture_of_experts", "--objective", "component_elbo:beta=2.5"],
}
# The scale of the papers' Laplace is b = 0.75; sigma is the standard deviation, sqrt(2) b.
MODEL = ["--likelihood", "laplace", "--sigma", f"{0.75 * math.sqrt(2):.6f}", "--latent_dim", "64", "--batch_size", "32"]
PICTURES = ["--generate_from_posterior", "--generate_from_prior"]
SHOWN = 0  # the seed whose pictures are in docs/
# Hwang et al. 2021 and Sutter et al. 2021: five views, 60,000 examples, 300 epochs, z of 512 dimensions.
PUBLISHED = {
    "given": {
        "MVAE": (0.29, 0.42, 0.48, 0.52),
        "mixture": (0.71, 0.71, 0.71, 0.71),
        "MoPoE": (0.63, 0.75, 0.79, 0.81),
        "MVTCAE": (0.59, 0.77, 0.83, 0.86),
    },
    "linear": {
        "MVAE": (0.70, 0.84, 0.91, 0.93, 0.95),
        "mixture": (0.82, 0.82, 0.82, 0.82, 0.82),
        "MoPoE": (0.82, 0.90, 0.93, 0.94, 0.95),
        "MVTCAE": (0.94, 0.99, 1.0, 1.0, 1.0),
    },
    "joint": {"MVTCAE": (0.01,), "MoPoE": (0.08,)},
}


def settings_of(args, name, seed):
    """What decides the numbers: the arguments of the two commands, and which rows there are."""
    train = ["--dset", "mnist_color", "--views", ",".join(VIEWS), *METHODS[name], *MODEL]
    return {
        "train": [*train, "--seed", str(seed)],
        "epochs": args.epochs,
        "rows": {"train": args.train, "test": args.test, "seed": 0},
        "evaluate": ["--num_samples", str(args.samples)],
    }


def folder_of(args, name, seed):
    """The folder of a run."""
    return args.work / f"{name.lower()}-{seed}"


def complete(args):
    """method -> its results, of those that are measured, one for each seed that all of these have."""
    results = kept(args.results)

    def of(name, seed):
        result = results.get(f"{name}, seed {seed}", {})
        return result if "numbers" in result and result["settings"] == settings_of(args, name, seed) else None

    measured = [name for name in METHODS if any(of(name, seed) for seed in range(args.seeds))]
    seeds = [seed for seed in range(args.seeds) if all(of(name, seed) for name in measured)]
    return {name: [of(name, seed) for seed in seeds] for name in measured if seeds}


def accuracies(result, kind):
    """size of a set -> accuracy, of one result: coherence "given", "linear" accuracy, and "joint" coherence."""
    known = (result["numbers"].get("coherence") or {}).get(kind, {})
    sizes = {"1": known} if kind == "joint" else known
    return {size: one["accuracy"] for size, one in sizes.items() if one}


def bounds_table(found):
    """-ELBO and joint NLL of each method."""
    lines = ["| method | -ELBO | distortion | rate | joint NLL |", "|---|---|---|---|---|"]
    for name, results in found.items():
        cells = [
            spread(results, key, 1, -1.0 if key == "elbo" else 1.0) for key in ("elbo", "distortion", "rate", "nll")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def accuracies_table(found, kind, title):
    """Accuracies of each method for sets of each size, beside the published ones; empty if they were not measured."""
    sizes = sorted(accuracies(next(iter(found.values()))[0], kind))
    if not sizes:
        return []
    heads = ["z ~ p(z)"] if kind == "joint" else [f"{size} view{'s' * (size != '1')}" for size in sizes]
    lines = ["", f"| {title} | {' | '.join(heads)} |", "|---" * (len(sizes) + 1) + "|"]
    for name, results in found.items():
        cells = []
        for place, size in enumerate(sizes):
            values = [accuracies(result, kind)[size] for result in results]
            deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            theirs = PUBLISHED[kind].get(name)
            cells.append(f"{statistics.mean(values):.3f}{deviation}" + (f" ({theirs[place]:.2f})" if theirs else ""))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def other_order(found, kind):
    """Lines about pairs of methods whose order is not the published one, by more than two standard deviations."""
    lines = []
    for one, other in itertools.permutations([name for name in found if name in PUBLISHED[kind]], 2):
        for place, size in enumerate(sorted(accuracies(found[one][0], kind))):
            ours = [[accuracies(result, kind)[size] for result in found[name]] for name in (one, other)]
            deviation = max(statistics.stdev(values) if len(values) > 1 else 0.0 for values in ours)
            difference = statistics.mean(ours[0]) - statistics.mean(ours[1])
            theirs = PUBLISHED[kind][one][place] - PUBLISHED[kind][other][place]
            if theirs > 0.0 and difference < -2.0 * deviation:
                lines.append(f"{kind}, {size}: {one} - {other} is {difference:+.3f} here, published {theirs:+.2f}")
    return lines


def write(args):
    """The tables of the page, once all methods have a seed, and the pictures of the runs that are there."""
    found = complete(args)
    if not found:
        print("no method is evaluated, or no seed is one that all have; the page stays as it is")
        return
    titles = {"given": "coherence, given", "joint": "joint coherence", "linear": "linear accuracy of the code of"}
    tables = [line for kind, title in titles.items() for line in accuracies_table(found, kind, title)]
    missing = [name for name in METHODS if name not in found]
    left = f" Not measured yet: {', '.join(missing)}." if missing else ""
    about = f"{args.epochs} epochs.{left} {caption(next(iter(found.values())))}"
    fill(args.docs / "views.md", "five methods", [*bounds_table(found), *tables, "", about])
    print(
        "\n".join([line for kind in titles for line in other_order(found, kind)] or ["the order is the published one"])
    )
    for name in METHODS:
        picture = folder_of(args, name, SHOWN) / "posterior.png"
        if picture.exists():
            shrink(picture, args.docs / "images" / f"views-{name.lower()}.png")


def main():
    parser = parser_of(__doc__, "mnist_color", "views_numbers", epochs=20, samples=100)
    parser.add_argument("--train", type=int, default=10_000, help="training rows")
    parser.add_argument("--test", type=int, default=2_000, help="test rows")
    parser.add_argument("--methods", default=",".join(METHODS), help="some of them, in the order in which to train")
    args = parser.parse_args()
    if not args.table:
        if args.data_dir is None:
            parser.error("data_dir: expected the folder of the files of mnist_color, received none")
        part_of(args.data_dir, args.work / "data", args.train, args.test)
        for seed in range(args.seeds):
            for name in args.methods.split(","):
                key, folder = f"{name}, seed {seed}", folder_of(args, name, seed)
                measure(args, key, settings_of(args, name, seed), folder, args.work / "data", PICTURES)
    write(args)


if __name__ == "__main__":
    main()
