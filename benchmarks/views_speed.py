"""Seconds of an epoch over five views, beside five VAEs of one view each with the same networks.

    python benchmarks/views_speed.py [--rows 2048] [--batch 64] [--rounds 5] [--write]

All models are in one process and train for an epoch each in turn, so that what else the machine does hits all alike.
The first epoch of each compiles, and does not count. `--write` puts the table into docs/views.md.
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

SEPARATE = "five separate VAEs"
ELBO = "product, `elbo`"
LIKELIHOOD = {"name": "laplace", "sigma": 1.06}


def models(latent_dim):
    """name -> the models that learn together: one of all views, or one for each."""
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
    """name -> a function that trains for one epoch."""
    import keras

    separate, together = models(latent_dim)
    for vae in (*separate, *together.values()):
        vae.compile(keras.optimizers.Adam(1e-3))

    def one_by_one():
        for vae, view in zip(separate, VIEWS, strict=True):
            vae.fit(images[view], batch_size=batch, verbose=0)

    all_views = {name: lambda vae=vae: vae.fit(images, batch_size=batch, verbose=0) for name, vae in together.items()}
    return {SEPARATE: one_by_one, **all_views}


def measure(args):
    """name -> seconds of its epochs, which were timed in turn."""
    rng = np.random.default_rng(0)
    images = {view: rng.random((args.rows, 28, 28, 3), "float32") for view in VIEWS}
    of_methods = epochs(images, args.batch, 32)
    seconds = {name: [] for name in of_methods}
    for _ in range(args.rounds + 1):
        for name, epoch in of_methods.items():
            started = time.perf_counter()
            epoch()
            seconds[name].append(time.perf_counter() - started)
            print(f"{name}: {seconds[name][-1]:.2f} s", flush=True)
    return {name: values[1:] for name, values in seconds.items()}


def table(seconds, args):
    """Lines of the table: medians, and the median of the ratios of a round with its extremes."""
    lines = ["| | seconds of an epoch | of five separate VAEs |", "|---|---|---|"]
    for name, values in seconds.items():
        ratios = [one / other for one, other in zip(values, seconds[SEPARATE], strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {name} | {statistics.median(values):.2f} | {'' if name == SEPARATE else ratio} |")
    about = machine()
    return [
        *lines,
        "",
        f"{args.rows:,} rows in batches of {args.batch}, {args.rounds} rounds in turn: medians, and the extremes of the "
        f"rounds. {about['cores']} cores of {about['processor']}, {datetime.date.today().isoformat()}; TensorFlow "
        f"{about['versions']['tensorflow']}, Keras {about['versions']['keras']}.",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=64)
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
