"""Models of many parts, written as run folders by one backend of Keras and read by another.

    KERAS_BACKEND=jax python tests/moving.py WRITTEN READ [all]

writes some, or one of every part, into WRITTEN, and compares what it reads from READ.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops

import bicoder
from bicoder import VAE, Decoder, Encoder
from bicoder.likelihoods import Likelihood
from bicoder.networks import Network
from bicoder.posteriors import Posterior
from bicoder.priors import Prior
from bicoder.runs import folder as runs
from bicoder.runs import weights

SHAPE = (8, 6, 1)
SOME = {
    "likelihood": ["bernoulli", "discretized_logistic"],
    "posterior": ["full_gaussian", "iaf"],
    "prior": ["real_nvp", "vamp"],
    "network": ["conv"],
}


def parts(every):
    """Pairs (family, name)."""
    families = {"likelihood": Likelihood, "posterior": Posterior, "prior": Prior, "network": Network}
    found = {
        name: [
            member
            for member, cls in family.members().items()
            if cls.__module__.startswith("bicoder.") and not getattr(cls, "needs_condition", False)
        ]
        for name, family in families.items()
    }
    return [(family, name) for family, names in (found if every else SOME).items() for name in names]


def made(family, name):
    """A model of a part, and examples that it takes."""
    chosen = {"likelihood": "gaussian", "posterior": "diagonal_gaussian", "network": "mlp", "prior": "standard_normal"}
    chosen |= {family: name}
    vae = VAE(
        Encoder(chosen["network"], 3, chosen["posterior"]),
        Decoder(chosen["network"], likelihood=chosen["likelihood"]),
        prior=chosen["prior"],
        seed=0,
    )
    x = np.round(np.random.default_rng(0).random((12, *SHAPE)) * 255).astype("float32") / 255
    if levels := vae.decoder.likelihood.levels:
        x = np.round(x * (levels - 1)) / np.float32(levels - 1)
    return vae, np.ones_like(x) if name == "categorical" else x


def outputs(vae, x):
    """Means of q(z|x) and p(x|z), and log densities at one z of each example."""
    q = vae.encode(x)
    z = q.mean
    p = vae.decode(z)
    found = {
        "code": z,
        "image": p.mean,
        "log_px": p.log_prob(ops.convert_to_tensor(x)),
        "log_qz": q.log_prob(z),
        "log_pz": vae.prior.log_prob(z),
    }
    return {name: ops.convert_to_numpy(tensor) for name, tensor in found.items()}


def write(folder, every=False):
    """A run of each part, trained for an epoch, and what it makes of its examples."""
    for family, name in parts(every):
        vae, x = made(family, name)
        vae.compile(keras.optimizers.Adam(1e-3))
        vae.fit(x, batch_size=12, epochs=1, verbose=0)
        run = Path(folder) / f"{family}-{name}"
        run.mkdir(parents=True)
        runs.save_config(run, vae, {}, {})
        weights.save(run, vae)
        np.savez(run / "outputs.npz", x=x, **outputs(vae, x))


def read(folder):
    """See that the runs in a folder are what they were; the largest relative difference."""
    worst = 0.0
    for run in sorted(Path(folder).iterdir()):
        then = dict(np.load(run / "outputs.npz"))
        now = outputs(bicoder.load(run), then.pop("x"))
        for name, value in then.items():
            np.testing.assert_allclose(now[name], value, rtol=1e-5, atol=1e-6, err_msg=f"{run.name} {name}")
            scale = np.maximum(np.abs(value), 0.1)
            worst = max(worst, float(np.max(np.abs(now[name] - value) / scale)))
    return worst


if __name__ == "__main__":
    written, there = sys.argv[1:3]
    write(written, every="all" in sys.argv)
    print(keras.backend.backend(), read(there))
