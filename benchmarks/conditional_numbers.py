"""What a label is worth: log p(x) of MNIST beside log p(x|y), each over several seeds.

    python benchmarks/conditional_numbers.py --data_dir DIR [--seeds 3] [--epochs 200] [--table]

Trains and evaluates by the commands: MNIST binarised anew in each epoch, the network 784-512-512-64 of Wu & Goodman 2018,
1,000 importance samples of each of the 10,000 test images. Results are kept in benchmarks/results/conditional.json at
once, what is there with the same settings is not done again, a training that was stopped goes on, and a table goes into
docs/conditions.md. DIR has the files of `mnist_bw`, and the labels of its training images, mnist_bw_y.npy.
"""

import argparse
import datetime
import json
import re
from pathlib import Path

from pages import fill, machine
from trainings import BICODER, ROOT, caption, command, keep, kept, spread

MODELS = {"log p(x)": [], "log p(x\\|y)": ["--condition", "labels"]}
PUBLISHED = {"log p(x)": "-86.31", "log p(x\\|y)": "-83.45"}
OPTIONS = [
    "--dset",
    "mnist_bw",
    "--binarize",
    "dynamic",
    "--likelihood",
    "bernoulli",
    "--network",
    "mlp:hidden=[512,512]",
]
OPTIONS += ["--latent_dim", "64", "--learning_rate_schedule", "cosine", "--no_pictures"]


def settings_of(args, name, seed):
    """What decides the numbers."""
    train = [*OPTIONS, *MODELS[name], "--epochs", str(args.epochs), "--seed", str(seed)]
    return {"train": train, "evaluate": ["--num_samples", str(args.samples)]}


def measure(args, name, seed):
    """Train and evaluate a model, unless that was done."""
    key, wanted = f"{name}, seed {seed}", settings_of(args, name, seed)
    if kept(args.results).get(key, {}).get("settings") == wanted:
        return
    folder, data = (
        args.work / f"{'given' if MODELS[name] else 'plain'}-{seed}-{args.epochs}",
        ["--data_dir", args.data_dir],
    )
    if any((folder / "checkpoints").glob("*")):
        said = command(BICODER, "train", "--resume", folder, *data)
    else:
        said = command(BICODER, "train", *wanted["train"], "--run_dir", folder, "--overwrite", *data)
    command(BICODER, "evaluate", folder, *wanted["evaluate"], "--json", "--overwrite", *data)
    numbers = json.loads((folder / "evaluation.json").read_text())
    numbers.pop("kl_per_dimension", None)
    seconds = re.search(r"([\d.]+) s each", said)
    about = {"date": datetime.date.today().isoformat(), "machine": machine()}
    result = {"settings": wanted, "numbers": numbers, "seconds_of_epoch": seconds and float(seconds[1]), **about}
    keep(args.results, key, result)
    print(f"{key}: {-numbers['nll']:.2f}", flush=True)


def table(args):
    """The table of the page, of the seeds that both models have."""
    results = kept(args.results)
    wanted = {name: [results.get(f"{name}, seed {seed}") for seed in range(args.seeds)] for name in MODELS}
    seeds = [s for s in range(args.seeds) if all(found[s] for found in wanted.values())]
    if not seeds:
        return
    found = {name: [of[s] for s in seeds] for name, of in wanted.items()}
    lines = ["| | nats per image | -ELBO | published |", "|---|---|---|---|"]
    for name, some in found.items():
        lines.append(
            f"| {name} | {spread(some, 'nll', 2, -1.0)} | {spread(some, 'elbo', 2, -1.0)} | {PUBLISHED[name]} |"
        )
    epochs = found["log p(x)"][0]["settings"]["train"]
    lines += ["", f"{epochs[epochs.index('--epochs') + 1]} epochs. {caption(found['log p(x)'])}"]
    fill(ROOT / "docs" / "conditions.md", "what a label is worth", lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="where the files of mnist_bw are")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1000, help="importance samples")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "conditional", help="folder of the runs")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "conditional.json")
    parser.add_argument("--table", action="store_true", help="write the table of what is there, and train nothing")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for seed in range(0 if args.table else args.seeds):
        for name in MODELS:
            measure(args, name, seed)
            table(args)
    table(args)


if __name__ == "__main__":
    main()
