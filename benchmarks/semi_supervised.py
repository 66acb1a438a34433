"""MNIST of which few images show their class: the label is a view that all others lack.

    python benchmarks/semi_supervised.py --data_dir DIR [--labels 100,1000] [--seeds 3] [--epochs 20] [--table]

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

PUBLISHED = {100: "93.2", 1000: "94.9"}  # M2 (Kingma et al. 2014)
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


def measure(args, count, seed):
    """Train once; the numbers."""
    import keras

    from bicoder import VAE, DataLoader, Decoder, Encoder
    from bicoder.networks import MLP

    loader = DataLoader("mnist_bw", data_dir=args.data_dir, binarize="dynamic", download=False)
    labels = np.load(args.data_dir / "mnist_bw_y.npy", allow_pickle=False)
    rng = np.random.default_rng(seed)
    rows, hidden = training_rows(labels, count, args.share, rng)
    classes = np.ma.masked_array(np.eye(10, dtype="float32")[labels[rows]], hidden[:, None].repeat(10, axis=1))
    grey, unseen = loader.training_images[rows], rows[hidden][:2000]
    vae = VAE(
        Encoder(MLP((512, 512)), 32, fusion=args.fusion),
        Decoder(MLP((512, 512)), likelihood={"x": "bernoulli", "y": "categorical"}),
        view_weights={"x": 1.0, "y": args.weight},
        objective=args.objective,
        prior=args.prior,
        seed=seed,
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    started = time.perf_counter()
    for epoch in range(args.epochs):
        binary = (rng.random(grey.shape, "float32") < grey).astype("float32")
        vae.fit({"x": binary, "y": classes}, batch_size=256, epochs=1, verbose=0)
        if args.watch:
            found = accuracy(vae, loader.training_images[unseen], labels[unseen])
            print(
                f"{count}, {seed}: epoch {epoch + 1}: {found:.2f} %, {time.perf_counter() - started:.0f} s", flush=True
            )
    return {"accuracy": accuracy(vae, loader.test_images, loader.test_labels)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="where the files of mnist_bw are")
    parser.add_argument("--labels", default="100,1000", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--weight", type=float, default=50.0)
    parser.add_argument("--watch", action="store_true", help="print the accuracy on hidden training labels")
    parser.add_argument("--fusion", default="mixture_of_experts")
    parser.add_argument("--objective", default="elbo")
    parser.add_argument("--prior", default="standard_normal")
    args = parser.parse_args()
    import_keras()
    for count in args.labels:
        print(measure(args, count, 0))


if __name__ == "__main__":
    main()
