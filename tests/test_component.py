"""Names, configs and the subclass tree."""

import subprocess
import sys

import pytest

from bicoder import VAE, DataLoader, Encoder
from bicoder.coders import BiCoder
from bicoder.component import names_in_source, part_name, snake_case
from bicoder.conditions import Condition
from bicoder.data.datasets import Dataset
from bicoder.errors import UsageError
from bicoder.fusions import Fused, Fusion
from bicoder.likelihoods import GaussianLikelihood, Likelihood
from bicoder.networks import MLP, Network
from bicoder.objectives import Objective
from bicoder.posteriors import Posterior
from bicoder.priors import Prior

FAMILIES = {
    Likelihood: "likelihoods.py",
    Posterior: "posteriors.py",
    Prior: "priors.py",
    Objective: ("objectives.py", "view_objectives.py"),
    Fusion: "fusions.py",
    Condition: "conditions.py",
    Network: "networks.py",
}


def own_members(family):
    """The members that the package itself defines: tests may have added some."""
    return {name: cls for name, cls in family.members().items() if cls.__module__.startswith("bicoder.")}


def of_one_tensor(family):
    """The names of the members that data of one tensor have a use for.

    Those of several views are in test_views.py, those of conditional models in test_conditions.py.
    """
    return [name for name, cls in own_members(family).items() if not needs_views(cls) and not needs_condition(cls)]


def needs_condition(cls):
    return issubclass(cls, Condition) or getattr(cls, "needs_condition", False)


def needs_views(cls):
    return issubclass(cls, Fusion) or any(issubclass(posterior, Fused) for posterior in getattr(cls, "needs", ()))


@pytest.mark.parametrize(
    ("class_name", "name"),
    [("MnistBW", "mnist_bw"), ("BetaELBO", "beta_elbo"), ("MLP", "mlp"), ("StandardNormal", "standard_normal")],
)
def test_snake_case(class_name, name):
    assert snake_case(class_name) == name


def test_part_name_leaves_the_family_out():
    assert part_name("GaussianLikelihood", "Likelihood") == "gaussian"
    assert part_name("Likelihood", "Likelihood") == "likelihood"


@pytest.mark.parametrize("family", FAMILIES)
def test_source_and_tree_name_the_same_members(family):
    """--help reads the source; the program walks the tree."""
    described = names_in_source(FAMILIES[family], family.__name__)
    assert set(described) == set(own_members(family))
    assert all(described.values()), "every member has a docstring"


@pytest.mark.parametrize("family", [*FAMILIES, Dataset, BiCoder])
def test_class_names_are_unique(family):
    def walk(cls):
        return [cls, *(c for child in cls.__subclasses__() for c in walk(child))]

    names = [c.__name__ for c in walk(family) if c.__module__.startswith("bicoder.")]
    assert len(names) == len(set(names))


def test_get_takes_a_name_a_config_or_an_instance():
    instance = GaussianLikelihood(0.5)
    assert Likelihood.get(instance) is instance
    assert Likelihood.get(None) is None
    assert Likelihood.get("gaussian", sigma=0.5).sigma == 0.5
    assert Likelihood.get({"name": "gaussian", "sigma": 0.5}).get_config() == instance.get_config()
    assert MLP((3, 2)).spec() == {"name": "mlp", "hidden": [3, 2], "activation": "relu"}


@pytest.mark.parametrize(
    ("spec", "arguments", "message"),
    [
        ("gausian", {}, "did you mean 'gaussian'"),
        (3, {}, "expected one of"),
        ("gaussian", {"sgma": 1}, "takes sigma; received \\['sgma'\\]"),
        ({"name": "gaussian", "x": 1}, {}, "received \\['x'\\]"),
        ({"sigma": 1}, {}, "expected one of"),
    ],
)
@pytest.mark.fault(80)
def test_get_says_what_it_expected(spec, arguments, message):
    with pytest.raises(UsageError, match=message):
        Likelihood.get(spec, **arguments)


@pytest.mark.fault(81)
def test_import_does_not_wait_for_tensorflow():
    code = "import bicoder, bicoder.cli.main, sys; assert 'VAE' in dir(bicoder); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"tensorflow", "keras", "matplotlib"}.intersection(done.stdout.split())


def test_unknown_public_name():
    import bicoder

    with pytest.raises(AttributeError, match="no attribute 'VEA'"):
        _ = bicoder.VEA


@pytest.mark.fault(113)
def test_what_is_shown_of_an_object_tells_its_parts_and_shapes():
    data = DataLoader("digits", validation=0.1)
    assert repr(data).startswith("DataLoader('digits', 1,294 training, 144 validation, 359 test images of shape (64,)")
    vae = VAE(Encoder("mlp", latent_dim=3), prior="mixture_of_gaussians", objective={"name": "beta_elbo", "beta": 2.0})
    assert repr(vae).startswith("VAE(not built, Encoder(network=MLP(hidden=[400], activation='relu'), latent_dim=3, ")
    vae.build((None, 64))
    shown = repr(vae)
    for part in ("VAE(x (64,), z (3,), ", "GaussianLikelihood(sigma=0.75)", "OfGaussians(components=10)", "beta=2.0"):
        assert part in shown
    q = vae.encode(data.test_images[:5])
    assert repr(q) == "Gaussian(mean (5, 3), log_scale (5, 3))"
    assert repr(vae.prior.distribution()) == (
        "Mixture(log_weights (1, 10), components Gaussian(mean (1, 10, 3), log_scale (1, 10, 3)))"
    )
