"""The numbers of docs/ that depend on training, each over several seeds.

    python benchmarks/docs_numbers.py [--rows digits,mnist_bw,mnist_color] [--data_dir DIR] [--table]

Trains and evaluates by the commands, keeps each training in benchmarks/results/docs_numbers.json as soon as it is
there, and writes tables into docs/results.md and docs/likelihoods.md and pictures into docs/images. What is there with
the same settings is not trained again; `seconds` says how long each took.
"""

import argparse
import datetime
import json
import math
import os
import re
import time
from pathlib import Path

from pages import fill, machine
from trainings import BICODER, ROOT, caption, command, keep, kept, shrink, spread

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
EPOCHS = {"digits": 300, "mnist_bw": 20, "mnist_color": 20}
SAMPLES = 100  # of z for each test image
LIKELIHOODS = {
    "gaussian, sigma 0.75": ["--sigma", "0.75"],
    "gaussian, sigma learned": ["--sigma", "learned"],
    "optimal_gaussian": ["--likelihood", "optimal_gaussian"],
    "discretized_logistic": ["--likelihood", "discretized_logistic"],
}
TRAININGS = {"digits": {"gaussian, sigma learned": []}, "mnist_bw": LIKELIHOODS, "mnist_color": LIKELIHOODS}
# What is on docs/results.md beside the published numbers: the command, and which training it is.
COMMANDS = {
    "digits": {"": "gaussian, sigma learned"},
    "mnist_bw": {"": "gaussian, sigma 0.75", " --sigma learned": "gaussian, sigma learned"},
    "mnist_color": {"": "gaussian, sigma 0.75", " --sigma learned": "gaussian, sigma learned"},
}
SHOWN = ("mnist_bw", "gaussian, sigma learned", 0)  # whose pictures are in the README
KEPT = ("elbo", "distortion", "rate", "nll", "bits_per_dim", "active_units", "latent_dim", "mean_squared_error")


def folder_of(args, dset, name, seed):
    """The folder of a run."""
    return Path(args.work) / f"{dset}-{re.sub('[^a-z0-9]+', '-', name)}-{seed}"


def measure(args, dset, name, seed):
    """Train and evaluate once; the settings and the numbers."""
    started, folder = time.perf_counter(), folder_of(args, dset, name, seed)
    pictures = ["--generate_from_prior"]
    if (dset, name, seed) == SHOWN:
        pictures += ["--generate_from_posterior", "--visualize_latent"]
    data = ["--data_dir", args.data_dir] if args.data_dir else []
    settings = settings_of(args, dset, name, seed)
    said = command(
        [ROOT / "train_vae.py"], *settings["train"], *pictures, "--run_dir", folder, *data, "--overwrite", "--quiet"
    )
    found = json.loads(command(BICODER, "evaluate", folder, *settings["evaluate"], *data, "--json", "--overwrite"))
    sigma = re.search(r"learned sigma ([\d.]+)", said)
    numbers = {key: found[key] for key in KEPT} | ({"sigma": float(sigma[1])} if sigma else {})
    seconds = round(time.perf_counter() - started, 1)
    about = {"date": datetime.date.today().isoformat(), "seconds": seconds, "machine": machine()}
    return {"settings": settings, "numbers": numbers, **about}


def settings_of(args, dset, name, seed):
    """What decides the numbers of a training: the arguments of the two commands."""
    train = ["--dset", dset, "--epochs", str(args.epochs or EPOCHS[dset]), *TRAININGS[dset][name], "--seed", str(seed)]
    return {"train": train, "evaluate": ["--num_samples", str(SAMPLES)]}


def measured(args, results, dset, name):
    """The results of a training for every seed, None for those that are not there with these settings."""
    found = [(results.get(f"{dset}, {name}, seed {seed}"), seed) for seed in range(args.seeds)]
    return [r if r and r["settings"] == settings_of(args, dset, name, seed) else None for r, seed in found]


def measure_all(args, dset):
    """Measure what is not there yet, and keep each result at once."""
    for seed in range(args.seeds):
        for name in TRAININGS[dset]:
            results = kept(args.results)
            if measured(args, results, dset, name)[seed] is None:
                result = measure(args, dset, name, seed)
                keep(args.results, f"{dset}, {name}, seed {seed}", result)
                print(f"{dset}, {name}, seed {seed}: {result['seconds']} s, {result['numbers']}", flush=True)


def commands_table(args, dset, results):
    """The table of docs/results.md."""
    lines = ["| after `python train_vae.py` | -ELBO | distortion | rate | NLL | sigma |", "|---|---|---|---|---|---|"]
    for options, name in COMMANDS[dset].items():
        found = measured(args, results, dset, name)
        cells = [spread(found, key, 2, -1.0 if key == "elbo" else 1.0) for key in ("elbo", "distortion", "rate", "nll")]
        cells.append(spread(found, "sigma", 4) or "0.75")
        lines.append(f"| `--dset {dset} --epochs {args.epochs or EPOCHS[dset]}{options}` | {' | '.join(cells)} |")
    return [*lines, "", caption(found)]


def likelihoods_table(args, dset, results):
    """The table of docs/likelihoods.md."""
    title = f"{dset}, {args.epochs or EPOCHS[dset]} epochs"
    lines = [
        f"| {title} | NLL, nats | bits per dim | bits per 8-bit value | active units | squared error |",
        "|---|---|---|---|---|---|",
    ]
    for name in LIKELIHOODS:
        found = measured(args, results, dset, name)
        # A density on [0, 1] gives a grey value, 1/255 wide, about 1/255 of its height.
        grey = 0.0 if name == "discretized_logistic" else math.log2(255)
        cells = [spread(found, "nll", 1), spread(found, "bits_per_dim", 3), spread(found, "bits_per_dim", 3, 1.0, grey)]
        cells.append(f"{spread(found, 'active_units', 1)} of {found[0]['numbers']['latent_dim']}")
        lines.append(f"| {name} | {' | '.join(cells)} | {spread(found, 'mean_squared_error', 4)} |")
    return [*lines, "", caption(found)]


def write(args, dset):
    """The tables of a data set, if all of its trainings are there."""
    results = kept(args.results)
    if any(None in measured(args, results, dset, name) for name in TRAININGS[dset]):
        print(f"{dset}: not all of its trainings are there; its tables stay as they are")
        return
    fill(args.docs / "results.md", f"commands, {dset}", commands_table(args, dset, results))
    if TRAININGS[dset] is LIKELIHOODS:
        fill(args.docs / "likelihoods.md", f"likelihoods, {dset}", likelihoods_table(args, dset, results))
        folders = [folder_of(args, dset, name, 0) for name in LIKELIHOODS]
        if all((folder / "model.safetensors").exists() for folder in folders):
            draw(folders, args.docs / "images" / f"likelihoods-{dset}.png")
    shown = folder_of(args, *SHOWN)
    for name in ("latent.png", "posterior.png"):
        if dset == SHOWN[0] and (shown / name).exists():
            shrink(shown / name, args.docs / "images" / name)


def draw(folders, path):
    """64 images from the prior of each run, side by side."""
    from bicoder import load
    from bicoder.pictures.drawing import plotting
    from bicoder.runs.config import read_config

    grids = [load(folder).generate(64, seed=0) for folder in folders]
    plotting.side_by_side(grids, path, list(LIKELIHOODS), read_config(folders[0])["data"]["image_shape"])
    shrink(path, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="digits,mnist_bw", type=lambda text: text.split(","))
    parser.add_argument("--data_dir", help="where the files of mnist_bw and mnist_color are")
    parser.add_argument(
        "--table", action="store_true", help="write the pages from what was measured, and train nothing"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="to try this out: with --results and --docs elsewhere")
    parser.add_argument("--work", default="runs/docs-numbers", help="folder of the runs")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "docs_numbers.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    args = parser.parse_args()
    if unknown := set(args.rows) - set(TRAININGS):
        parser.error(f"rows: expected some of {', '.join(TRAININGS)}, received {', '.join(sorted(unknown))}")
    for dset in args.rows:
        if not args.table:
            measure_all(args, dset)
        write(args, dset)


if __name__ == "__main__":
    main()
