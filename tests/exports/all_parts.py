"""Every network, posterior, prior, likelihood, condition and fusion in every format: `make export-all`.

The largest difference from Python of each is printed, and that of all.
"""

import pytest

from bicoder import VAE, Decoder, Encoder
from bicoder.conditions import Condition
from bicoder.errors import UsageError
from bicoder.exports.function import SUFFIXES, WHATS
from bicoder.fusions import Fusion
from bicoder.likelihoods import Likelihood
from bicoder.networks import Network
from bicoder.posteriors import Posterior
from bicoder.priors import Prior

VIEWS = {"a": (None, 12), "b": (None, 6)}
CONDITIONS = {"labels": "labels:classes=3", "embedding": "embedding:classes=3", "vector": "vector:shape=[2]"}
# What a format has no operation for.
LACKING = {
    (form, fusion, what): "Cholesky"
    for form in ("onnx", "litert")
    for fusion in Fusion.members()
    for what in ("encoder", "reconstruct", "score")
}


def networks(name):
    vae = VAE(Encoder(name, 4), Decoder(name), seed=0)
    vae.build((None, 13, 10, 3))
    return vae


def posteriors(name):
    return vectors(posterior=name)


def priors(name):
    condition = "labels:classes=3" if Prior.members()[name].needs_condition else None
    return vectors(prior=name, condition=condition)


def likelihoods(name):
    return vectors(likelihood=name)


def conditions(name):
    return vectors(condition=CONDITIONS[name])


def fusions(name):
    return vectors(VIEWS, fusion=name)


def full_fusions(name):
    return vectors(VIEWS, fusion=name, posterior="full_gaussian")


def vectors(
    shape=(None, 20), posterior="diagonal_gaussian", fusion="product_of_experts", likelihood="gaussian", **more
):
    vae = VAE(Encoder("mlp", 4, posterior, fusion), Decoder("mlp", likelihood=likelihood), seed=0, **more)
    vae.build(shape)
    return vae


FAMILIES = {
    networks: Network,
    posteriors: Posterior,
    priors: Prior,
    likelihoods: Likelihood,
    conditions: Condition,
    fusions: Fusion,
    full_fusions: Fusion,
}
PARTS = [(make, name) for make, family in FAMILIES.items() for name in sorted(family.members())]


@pytest.fixture(scope="module")
def differences():
    """Format -> the largest difference of each of its files; they are printed at the end."""
    found = {form: [] for form in SUFFIXES}
    yield found
    for form, numbers in found.items():
        print(f"\n{form}: {len(numbers)} files, at most {max(numbers, default=0.0):.1e} from Python", end="")
    print()


@pytest.mark.parametrize("form", SUFFIXES)
@pytest.mark.parametrize(("make", "name"), PARTS, ids=[f"{make.__name__}-{name}" for make, name in PARTS])
def test_a_part_in_a_format(make, name, form, differences, tmp_path):
    vae = make(name)
    for what in WHATS:
        path = tmp_path / f"{what}{SUFFIXES[form]}"
        lacks = make is full_fusions and LACKING.get((form, name, what))
        if lacks:
            with pytest.raises(UsageError, match=rf"{form} cannot hold the \w+: .*{lacks}.*, which the posterior"):
                vae.export(path, what)
        else:
            differences[form].append(vae.export(path, what))
