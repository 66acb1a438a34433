"""Published numbers on MNIST, reproduced: one row of docs/results.md for every call.

    python benchmarks/quality.py ROW [--epochs N] [--seed N] [--data_dir DIR] [--samples K] [--evaluate]
    python benchmarks/quality.py --table

Each row trains a model, evaluates it on the 10,000 test images and writes benchmarks/results/<row>-<seed>.json; --table
writes their table into docs/results.md.
"""

import argparse
import datetime
import json
import math
import os
import time
from pathlib import Path

from pages import fill

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

DEFAULTS = {"batch_size": 128, "learning_rate": 1e-3, "last_rate": 1e-5, "binarize": "dynamic"}
# row -> title, the published value, the goal (both NLL in nats), and what differs from a one-layer VAE of 2 x 200 tanh
# units and 50 latent dimensions on dynamically binarised images.
ROWS = {
    "vae": {"title": "VAE, k = 1", "paper": "86.76", "goal": 87.0, "epochs": 2000, "warmup": 0.1}
    | {"learning_rate": 1.5e-3},
    "iwae5": {"title": "IWAE, k = 5", "paper": "85.54", "goal": 85.8, "samples": 5, "epochs": 2000}
    | {"learning_rate": 1.5e-3},
    # An epoch of it takes as long as ten of k = 5, whose weights it begins with.
    "iwae50": {"title": "IWAE, k = 50, after k = 5", "paper": "84.78", "goal": None, "samples": 50, "epochs": 100}
    | {"learning_rate": 3e-4, "after": "iwae5"},
    "static": {"title": "VAE, 784-400-40 ReLU, static", "paper": "89.78", "goal": 90.3, "epochs": 500, "warmup": 0.2}
    | {"last_rate": 1e-4, "binarize": "static", "hidden": (400,), "activation": "relu", "latent_dim": 40},
    "plain300": {"title": "VAE, 2 x 300, z = 40", "paper": "84.45 (gated)", "goal": None, "epochs": 120, "warmup": 0.2}
    | {"hidden": (300, 300), "latent_dim": 40},
    "vamp300": {"title": "VampPrior K = 500, 2 x 300, z = 40", "paper": "82.43 (gated)", "goal": None, "epochs": 120}
    | {"hidden": (300, 300), "latent_dim": 40, "prior": "vamp", "warmup": 0.2},
}


def build(row, loader, seed, steps):
    """The model of a row."""
    from bicoder import VAE, Decoder, Encoder
    from bicoder.networks import MLP
    from bicoder.objectives import IWAE, BetaELBO
    from bicoder.priors import StandardNormal, VampPrior

    network = MLP(row.get("hidden", (200, 200)), row.get("activation", "tanh"))
    prior = VampPrior(500) if row.get("prior") == "vamp" else StandardNormal()
    objective = BetaELBO(schedule="linear", steps=int(row.get("warmup", 0.0) * steps) or 1)
    if "samples" in row:
        objective = IWAE(row["samples"])
    encoder, decoder = Encoder(network, row.get("latent_dim", 50)), Decoder(network, likelihood="bernoulli")
    vae = VAE(encoder, decoder, prior=prior, objective=objective, seed=seed)
    vae.build((None, 784))
    if row.get("prior") == "vamp":
        prior.start_from(loader.training_images)
    return vae


def run(name, args):
    """Train one row (or take the weights of its last training), evaluate it, and write its result."""
    from bicoder import DataLoader, evaluate

    row = DEFAULTS | ROWS[name]
    epochs = args.epochs or row["epochs"]
    loader = DataLoader("mnist_bw", row["batch_size"], data_dir=args.data_dir, seed=args.seed, binarize=row["binarize"])
    steps = epochs * math.ceil(len(loader.training_images) / row["batch_size"])
    vae = build(row, loader, args.seed, steps)
    RESULTS.mkdir(exist_ok=True)
    weights, path = RESULTS / f"{name}-{args.seed}.weights.h5", RESULTS / f"{name}-{args.seed}.json"
    if args.evaluate:
        vae.load_weights(weights)
        result = json.loads(path.read_text())
    else:
        result = {"row": name, "seed": args.seed, "epochs": epochs, "steps": steps}
        result |= {key: row[key] for key in ("batch_size", "learning_rate", "last_rate")}
        if "after" in row:
            vae.load_weights(RESULTS / f"{row['after']}-{args.seed}.weights.h5")
        result["training_seconds"] = round(train(vae, loader, row, name, epochs, steps))
        result |= {"cores": len(os.sched_getaffinity(0)), "date": datetime.date.today().isoformat()}
        vae.save_weights(weights)
        path.write_text(json.dumps(result))
    started = time.perf_counter()
    numbers = evaluate(vae, loader, num_samples=args.samples)
    result["evaluation_seconds"] = round(time.perf_counter() - started)
    result |= {k: v for k, v in numbers.items() if k != "kl_per_dimension"}
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


def train(vae, loader, row, name, epochs, steps):
    """Fit the model of a row; returns the seconds taken."""
    import keras

    # From the first learning rate to the last by a cosine, where Burda et al. have eight stages.
    rate = keras.optimizers.schedules.CosineDecay(
        row["learning_rate"], steps, alpha=row["last_rate"] / row["learning_rate"]
    )
    vae.compile(keras.optimizers.Adam(rate))
    started = time.perf_counter()
    for epoch in range(0, epochs, 10):
        logs = vae.fit(loader.training_data, initial_epoch=epoch, epochs=min(epoch + 10, epochs), verbose=0).history
        elapsed = time.perf_counter() - started
        print(f"{name} epoch {epoch + 10} loss {logs['loss'][-1]:.3f} {elapsed:.0f} s", flush=True)
    return time.perf_counter() - started


def write_table():
    """The table of docs/results.md, from all results."""
    from bicoder.errors import counted

    lines = [
        "| row | model | epochs | batch | seed | paper | goal | NLL | standard error | -ELBO | active | minutes | date |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in ROWS.items():
        for path in sorted(RESULTS.glob(f"{name}-*.json")):
            r = json.loads(path.read_text())
            missed = row["goal"] is not None and r["nll"] > row["goal"]
            goal = "" if row["goal"] is None else f"{row['goal']:.1f}" + (", not reached" if missed else "")
            units = f"{r['active_units']} of {r['latent_dim']}"
            lines.append(
                f"| {name} | {row['title']} | {r['epochs']} | {r['batch_size']} | {r['seed']} | {row['paper']} | {goal} | "
                f"**{r['nll']:.2f}** ({r['num_samples']} IS) | {r['nll_standard_error']:.2f} | {-r['elbo']:.2f} | {units} | "
                f"{r['training_seconds'] / 60:.0f} on {counted(r['cores'], 'core')} | {r['date']} |"
            )
    fill(ROOT / "docs" / "results.md", "published", lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", nargs="?", choices=ROWS)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data_dir")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--evaluate", action="store_true", help="evaluate the last training of the row again")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.row:
        run(args.row, args)
    if args.table:
        write_table()


if __name__ == "__main__":
    main()
