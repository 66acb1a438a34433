"""MNIST of which few images show their class: the label is a view that all others lack.

    python benchmarks/semi_supervised.py --data_dir DIR [--labels 100,1000] [--seeds 3] [--epochs 10] [--table]

p(y | z ~ q(z|x)) of the 10,000 test images: its largest class is compared with theirs. DIR has the files of `mnist_bw`,
and the labels of its training images, mnist_bw_y.npy, of which the model sees as many as `--labels` says, equally many
of each class. Results are kept in benchmarks/results/semi_supervised.json, and a table goes into docs/views.md.
"""

import argparse
import datetime
import time
from pathlib import Path

import numpy as np
from pages import fill, machine
from trainings import ROOT, caption, keep, kept, spread

from bicoder.engine.start import import_keras

PUBLISHED = {100: ("93.2", "77.1"), 1000: ("94.9", "88.6")}  # M2, and a classifier alone (Pyro's tutorial)
SAMPLES = 100  # of z for each test image


def shown_rows(labels, count, rng):
    """Rows that show their label, equally many of each class."""
    return np.concatenate([rng.permutation(np.flatnonzero(labels == c))[: count // 10] for c in range(10)])


def training_rows(labels, count, share, rng):
    """The rows of an epoch, and which hide their label; those that show it come so often that they are a share of all."""
    shown = shown_rows(labels, count, rng)
    others = rng.permutation(np.delete(np.arange(len(labels)), shown))
    again = np.tile(shown, max(1, round(share / (1 - share) * len(others) / count)))
    rows = np.concatenate([others, again])
    return rows, np.arange(len(rows)) < len(others)


def accuracy(vae, images, labels):
    """How often the largest class of p(y|x), the mean of p(y|z) over z ~ q(z|x), is the right one, in percent."""
    right = 0
    for start in range(0, len(images), 500):
        z = vae.encode({"x": images[start : start + 500]}).sample(start, SAMPLES)
        found = np.asarray(vae.decoder.views["y"](z).mean).mean(axis=0)  # x is not needed
        right += (found.argmax(axis=1) == labels[start : start + 500]).sum()
    return 100.0 * float(right) / len(images)


def settings_of(args, count, seed):
    """What decides the numbers."""
    return {name: getattr(args, name) for name in ("epochs", "share", "weight")} | {"labels": count, "seed": seed}


def train(args, count, seed):
    """The accuracy of a model, in percent."""
    import keras

    from bicoder import VAE, DataLoader, Decoder, Encoder
    from bicoder.networks import MLP

    loader = DataLoader("mnist_bw", data_dir=args.data_dir, download=False)
    labels = np.load(args.data_dir / "mnist_bw_y.npy", allow_pickle=False)
    rng = np.random.default_rng(seed)
    rows, hidden = training_rows(labels, count, args.share, rng)
    classes = np.ma.masked_array(np.eye(10, dtype="float32")[labels[rows]], hidden[:, None].repeat(10, axis=1))
    grey, unseen = loader.training_images[rows], rows[hidden][:2000]
    vae = VAE(
        Encoder(MLP((512, 512)), 32, fusion="mixture_of_experts"),
        Decoder(MLP((512, 512)), likelihood={"x": "bernoulli", "y": "categorical"}),
        view_weights={"x": 1.0, "y": args.weight},
        seed=seed,
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    for epoch in range(args.epochs):
        vae.fit({"x": drawn(grey, rng), "y": classes}, batch_size=256, epochs=1, verbose=0)
        if args.watch:  # labels of training images that the model has not seen
            found = accuracy(vae, drawn(loader.training_images[unseen], rng), labels[unseen])
            print(f"{count} labels, seed {seed}, epoch {epoch + 1}: {found:.2f} %", flush=True)
    return accuracy(vae, drawn(loader.test_images, np.random.default_rng(0)), loader.test_labels)


def drawn(grey, rng):
    """Pixels that are 0 or 1, with their grey value as probability."""
    return (rng.random(grey.shape, "float32") < grey).astype("float32")


def measure(args, count, seed):
    """Train unless it was done with these settings, and keep the result at once."""
    key, wanted = f"{count} labels, seed {seed}", settings_of(args, count, seed)
    if kept(args.results).get(key, {}).get("settings") == wanted:
        return
    started = time.perf_counter()
    numbers = {"accuracy": train(args, count, seed)}
    seconds = round(time.perf_counter() - started, 1)
    about = {"date": datetime.date.today().isoformat(), "seconds": seconds, "machine": machine()}
    keep(args.results, key, {"settings": wanted, "numbers": numbers, **about})
    print(f"{key}: {numbers['accuracy']:.2f} %, {seconds} s", flush=True)


def table(args):
    """Lines of the table, and how they were measured; empty if not all is there."""
    results = kept(args.results)
    lines = ["| labels | accuracy, % | M2 | classifier alone |", "|---|---|---|---|"]
    for count in args.labels:
        found = [results.get(f"{count} labels, seed {seed}") for seed in range(args.seeds)]
        if any(one is None or one["settings"] != settings_of(args, count, one["settings"]["seed"]) for one in found):
            return []
        lines.append(
            f"| {count:,} of 60,000 | {spread(found, 'accuracy', 2)} | {' | '.join(PUBLISHED.get(count, ('', '')))} |"
        )
    return [*lines, "", f"{args.epochs} epochs. {caption(found)}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="where the files of mnist_bw are")
    parser.add_argument("--labels", default="100,1000", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.1, help="of the examples of an epoch that show their label")
    parser.add_argument("--weight", type=float, default=10.0, help="of log p(y|z) in the objective")
    parser.add_argument("--watch", action="store_true", help="print the accuracy on hidden training labels")
    parser.add_argument("--table", action="store_true", help="write the page from what was measured, and train nothing")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "semi_supervised.json")
    args = parser.parse_args()
    if not args.table:
        import_keras()
        for seed in range(args.seeds):
            for count in args.labels:
                measure(args, count, seed)
    lines = table(args)
    print("\n".join(lines) or "not all of its trainings are there; the page stays as it is")
    if lines:
        fill(ROOT / "docs" / "views.md", "few labels", lines)


if __name__ == "__main__":
    main()
