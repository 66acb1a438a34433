"""Whether the way `VAE.fit` runs changes what comes out: five seeds each, with it and with Keras' own loop.

    python benchmarks/same_bound.py [--epochs N] [--seeds N] [--data_dir DIR]

Trains the contract's MLP on mnist_bw at sigma 0.75 and prints -ELBO on the test images in nats, which are kept in
benchmarks/results/same_bound.json for docs/performance.md.
"""

import argparse
import datetime
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from bicoder import VAE, DataLoader

RESULTS = Path(__file__).resolve().parent / "results" / "same_bound.json"


class OneByOne(VAE):
    """The same model in Keras' own loop: one step after the other, without XLA."""

    def fit(self, *args, **kwargs):
        return keras.Model.fit(self, *args, **kwargs)


def bound(cls, seed, epochs, data_dir):
    """-ELBO of the test images after training."""
    loader = DataLoader("mnist_bw", data_dir=data_dir, seed=seed)
    vae = cls(seed=seed)
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(loader.training_data, epochs=epochs, verbose=0)
    numbers = vae.evaluate(loader.test_images, verbose=0, return_dict=True)
    return -numbers["elbo"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data_dir")
    args = parser.parse_args()
    bounds = {}
    for cls in (VAE, OneByOne):
        found = [bound(cls, seed, args.epochs, args.data_dir) for seed in range(args.seeds)]
        bounds[cls.__name__] = found
        listed = " ".join(f"{value:.2f}" for value in found)
        print(f"{cls.__name__:9} {np.mean(found):.2f} +- {np.std(found, ddof=1):.2f}: {listed}", flush=True)
    result = {"epochs": args.epochs, "date": datetime.date.today().isoformat(), "bounds": bounds}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
