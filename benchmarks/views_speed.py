"""Seconds of an epoch over five views, beside five VAEs of one view each with the same networks.

    python benchmarks/views_speed.py [--rows 2048] [--batch 64] [--rounds 5] [--write]

All models are in one process, and every epoch of one model has an epoch of the five just before it, so that what else
the machine does hits both alike. The first epoch of each compiles, and does not count. `--write` puts the table into docs/views.md.
"""

import argparse
import datetime
import statistics
import time

import numpy as np
from pages import fill, machine
from trainings import ROOT
from views_numbers import METHODS, VIEWS

from bicoder.engine.start import import_keras

ELBO = "product, `elbo`"
LIKELIHOOD = {"name": "laplace", "sigma": 1.06}


def models(latent_dim):
    """Five models of one view each, and name -> a model of all views."""
    from bicoder import VAE, Decoder, Encoder

    def model(fusion, objective):
        return VAE(
            Encoder("conv", latent_dim, fusion=fusion),
            Decoder("conv", likelihood=LIKELIHOOD),
            objective=objective,
            seed=0,
        )

    together = {ELBO: model("product_of_experts", "elbo")}
    for name, (_, fusion, _, objective) in METHODS.items():
        together[name] = model(fusion, objective)
    separate = [VAE(Encoder("conv", latent_dim), Decoder("conv", likelihood=LIKELIHOOD), seed=0) for _ in VIEWS]
    return separate, together


def epochs(images, batch, latent_dim):
    """A function that trains the separate models for an epoch, and name -> one that trains a model of all views."""
    import keras

    separate, together = models(latent_dim)
    for vae in (*separate, *together.values()):
        vae.compile(keras.optimizers.Adam(1e-3))

    def one_by_one():
        for vae, view in zip(separate, VIEWS, strict=True):
            vae.fit(images[view], batch_size=batch, verbose=0)

    return one_by_one, {
        name: lambda vae=vae: vae.fit(images, batch_size=batch, verbose=0) for name, vae in together.items()
    }


def seconds_of(epoch):
    """How long an epoch takes."""
    started = time.perf_counter()
    epoch()
    return time.perf_counter() - started


def measure(args):
    """name -> pairs (seconds of an epoch, seconds of the separate ones just before it)."""
    rng = np.random.default_rng(0)
    images = {view: rng.random((args.rows, 28, 28, 3), "float32") for view in VIEWS}
    separate, together = epochs(images, args.batch, 64)
    pairs = {name: [] for name in together}
    for epoch in (separate, *together.values()):  # compiles
        epoch()
    for _ in range(args.rounds):
        for name, epoch in together.items():
            before = seconds_of(separate)
            pairs[name].append((seconds_of(epoch), before))
            print(f"{name}: {pairs[name][-1][0]:.2f} s, separate {before:.2f} s", flush=True)
    return pairs


def table(pairs, args):
    """Lines of the table: medians of seconds, and of the ratios of the pairs, with their extremes."""
    separate = statistics.median([other for values in pairs.values() for _, other in values])
    lines = ["| | seconds of an epoch | of five separate VAEs |", "|---|---|---|"]
    lines.append(f"| five separate VAEs | {separate:.2f} | |")
    for name, values in pairs.items():
        ratios = [one / other for one, other in values]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {name} | {statistics.median([one for one, _ in values]):.2f} | {ratio} |")
    about = machine()
    return [
        *lines,
        "",
        f"{args.rows:,} rows in batches of {args.batch}, {args.rounds} pairs each: medians, and the extremes. "
        f"{about['cores']} cores of {about['processor']}, {datetime.date.today().isoformat()}; TensorFlow "
        f"{about['versions']['tensorflow']}, Keras {about['versions']['keras']}.",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into docs/views.md")
    args = parser.parse_args()
    import_keras(args.batch)
    lines = table(measure(args), args)
    print("\n".join(lines))
    if args.write:
        fill(ROOT / "docs" / "views.md", "speed of views", lines)


if __name__ == "__main__":
    main()
