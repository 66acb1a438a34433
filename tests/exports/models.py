"""Small models to export, what Python computes with them, and what a file must compute."""

import numpy as np
from keras import ops

from bicoder import VAE, Decoder, Encoder
from bicoder.networks import MLP

SMALL = MLP((16,))


def vector_model(shape=(12,), **options):
    """A model of vectors, with weights that are no longer those of the start."""
    parts = {name: options.pop(name) for name in ("posterior", "fusion", "likelihood") if name in options}
    likelihood = parts.pop("likelihood", "gaussian")
    vae = VAE(Encoder(SMALL, 3, **parts), Decoder(SMALL, likelihood=likelihood), seed=0, **options)
    vae.build({view: (None, *one) for view, one in shape.items()} if isinstance(shape, dict) else (None, *shape))
    rng = np.random.default_rng(1)
    for variable in vae.trainable_variables:
        variable.assign_add(0.1 * rng.normal(size=variable.shape))
    return vae


def close(received, expected):
    np.testing.assert_allclose(received, ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-5)


def score(vae, x, y=None):
    """The log weight of the mean of q(z|x), with a minus, by the densities of Python."""
    q = vae.encode(x, y)
    z, prior = q.mean, vae.prior_given(None if y is None else vae.known_condition(y, len(q.mean)))
    return q.log_prob(z) - prior.log_prob(z) - vae.decode(z, y).log_prob(x)


# One of each family, with the parameters of q(z|x) beside its mean; `make export-all` takes all of them.
ONE_OF_EACH = {
    "vamp": ({"prior": "vamp", "likelihood": "discretized_logistic"}, {"log_sigma": lambda q: q.log_scale}),
    "full_gaussian": ({"posterior": "full_gaussian", "prior": "real_nvp"}, {"scale_tril": lambda q: q.scale_tril}),
    "iaf": (
        {"posterior": "iaf:steps=2", "likelihood": "continuous_bernoulli", "prior": "mixture_of_gaussians"},
        {},
    ),
}


def check_parts(ending, run, options, parameters, folder):
    """That a model's parts compute in a format what they do in Python, for any number of examples.

    Args:
        ending: of the format's files.
        run: function (path, **inputs) -> output -> numbers, by a runtime that knows nothing of this package.
        options: of the model.
        parameters: of q(z|x), beside its mean.
        folder: to write into.
    """
    vae, rng = vector_model(**options), np.random.default_rng(0)
    x, z = rng.random((5, 12), "float32"), rng.normal(size=(2, 3)).astype("float32")
    files = {what: folder / f"{what}{ending}" for what in ("encoder", "decoder", "reconstruct", "score")}
    for what, path in files.items():
        assert vae.export(path, what) <= 1e-4
    codes, q = run(files["encoder"], x=x), vae.encode(x)
    assert sorted(codes) == sorted(["mean", *parameters])
    for name, parameter in {"mean": lambda q: q.mean, **parameters}.items():
        close(codes[name], parameter(q))
    close(run(files["decoder"], z=z)["mean"], vae.decode(z).mean)
    close(run(files["reconstruct"], x=x[:1])["mean"], vae.reconstruct(x[:1]))
    found = run(files["score"], x=x)
    close(found["score_at_mean"], score(vae, x))
    close(found["distortion_at_mean"] + found["rate_at_mean"], found["score_at_mean"])
