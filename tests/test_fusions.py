"""Posteriors of several views against what is known of them in closed form."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from bicoder import VAE, Decoder, Encoder
from bicoder.distributions import FullGaussian, Gaussian
from bicoder.engine.arrays.masked import Masked
from bicoder.fusions import Experts, Fusion, MixtureOfExperts, MixtureOfProducts, ProductMixture, ProductOfExperts
from bicoder.networks import MLP
from bicoder.posteriors import Posterior
from bicoder.view_objectives import MMVAE

FUSIONS = {"product": ProductOfExperts(), "prior": ProductOfExperts(True), "experts": MixtureOfExperts()}
FUSIONS["products"] = MixtureOfProducts()


class SingleSets(MixtureOfProducts):
    """Of all sets, those of one view."""

    def sets(self, views):
        return np.array([row for row in super().sets(views) if row.sum() == 1])


def diagonal(rng, batch=3, d=2):
    return Gaussian(rng.normal(size=(batch, d)).astype("float32"), 0.3 * rng.normal(size=(batch, d)).astype("float32"))


def full(rng, batch=3, d=2):
    tril = np.tril(0.5 * rng.normal(size=(batch, d, d)), -1) + np.exp(0.3 * rng.normal(size=(batch, 1, d))) * np.eye(d)
    return FullGaussian(rng.normal(size=(batch, d)).astype("float32"), tril.astype("float32"))


def experts_of(fusion, rng, make=diagonal, views=3):
    names = "abcdefgh"[:views]
    return Experts(fusion, {name: make(rng) for name in names}, dict.fromkeys(names))


def log_densities(rng, *distributions, batch=3, d=2):
    """log p(z) of each distribution at the same codes, arrays (20, batch)."""
    z = rng.normal(size=(20, batch, d)).astype("float32")
    return [np.array(p.log_prob(z)) for p in distributions]


CLOSE = {"rtol": 1e-4, "atol": 1e-4}


# ---- Products and mixtures


@pytest.mark.parametrize("make", [diagonal, full])
@pytest.mark.parametrize("fusion", [ProductOfExperts(), MixtureOfExperts(), MixtureOfProducts()])
def test_one_expert_is_itself(fusion, make, rng):
    experts = experts_of(fusion, rng, make, views=1)
    np.testing.assert_allclose(*log_densities(rng, experts.fused(), experts.of["a"]), **CLOSE)


@pytest.mark.parametrize("make", [diagonal, full])
def test_a_product_is_the_product_of_the_densities(make, rng):
    """Up to a constant, which is that of the prior's expert and of the normalisation."""
    for fusion, prior in ((ProductOfExperts(), 0.0), (ProductOfExperts(True), 1.0)):
        experts = experts_of(fusion, rng, make)
        z = rng.normal(size=(50, 3, 2)).astype("float32")
        found = np.array(sum(q.log_prob(z) for q in experts.of.values())) - prior * 0.5 * np.square(z).sum(axis=-1)
        difference = found - np.array(experts.fused().log_prob(z))
        np.testing.assert_allclose(difference - difference[:1], 0.0, atol=2e-4)


@pytest.mark.parametrize("make", [diagonal, full])
@pytest.mark.parametrize("name", FUSIONS)
def test_the_order_of_the_views_does_not_matter(name, make, rng):
    experts = experts_of(FUSIONS[name], rng, make)
    turned = experts._replace(of=dict(reversed(experts.of.items())), there=dict(reversed(experts.there.items())))
    np.testing.assert_allclose(*log_densities(rng, experts.fused(), turned.fused()), **CLOSE)


@pytest.mark.parametrize("make", [diagonal, full])
@pytest.mark.parametrize("name", FUSIONS)
def test_a_view_that_is_missing_leaves_the_sets(name, make, rng):
    experts = experts_of(FUSIONS[name], rng, make)
    some = experts._replace(there={"a": None, "b": np.zeros(3, "float32"), "c": np.ones(3, "float32")})
    smaller = Experts(FUSIONS[name], {v: experts.of[v] for v in "ac"}, dict.fromkeys("ac")).fused()
    np.testing.assert_allclose(*log_densities(rng, some.fused(), smaller), **CLOSE)
    np.testing.assert_allclose(*log_densities(rng, experts.fused().given("ac"), smaller), **CLOSE)
    kept = {"a": np.ones(3, "float32"), "b": np.zeros(3, "float32"), "c": np.ones(3, "float32")}
    np.testing.assert_allclose(*log_densities(rng, experts.fused().given("abc", kept), smaller), **CLOSE)


@pytest.mark.parametrize("name", FUSIONS)
def test_of_an_example_without_views_nothing_is_known(name, rng):
    experts = experts_of(FUSIONS[name], rng)
    none = experts._replace(there=dict.fromkeys(experts.of, np.zeros(3, "float32")))
    np.testing.assert_allclose(*log_densities(rng, none.fused(), Gaussian(np.zeros((3, 2), "float32"), 0.0)), **CLOSE)


def test_products_of_single_views_are_the_experts(rng):
    experts = experts_of(SingleSets(), rng)
    np.testing.assert_allclose(
        *log_densities(rng, experts.fused(), experts._replace(fusion=MixtureOfExperts()).fused()), **CLOSE
    )


@pytest.mark.parametrize("make", [diagonal, full])
@pytest.mark.parametrize("name", ["experts", "products"])
def test_the_density_of_a_mixture_integrates_to_one_and_its_samples_follow_it(name, make, rng):
    q = experts_of(FUSIONS[name], rng, make).fused()
    axis = np.linspace(-9, 9, 241, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 1, 2).repeat(3, axis=1)
    density = np.exp(np.array(q.log_prob(grid))) * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(density.sum(axis=0), 1.0, atol=1e-3)
    z = np.array(q.sample(1, 20_000))
    for moment in (lambda v: v, np.square, lambda v: v[..., :1] * v[..., 1:]):
        exact = (density[..., None] * moment(grid)).sum(axis=0)
        error = moment(z).std(axis=0) / np.sqrt(len(z))
        assert (np.abs(moment(z).mean(axis=0) - exact) < 5 * error + 2e-3).all()
    np.testing.assert_allclose(q.mean, (density[..., None] * grid).sum(axis=0), atol=2e-3)


def test_samples_of_a_mixture_take_its_components_in_turn_from_a_start_of_their_own(rng):
    batch, number = 2000, 4
    means = 100.0 * np.arange(number, dtype="float32")[None, :, None].repeat(batch, axis=0)
    q = ProductMixture(Gaussian(means, np.zeros_like(means)), np.full((batch, number), -np.log(number), "float32"))
    component = np.round(np.array(q.sample(0, 2 * number))[..., 0] / 100.0)
    assert all(set(component[:number, i]) == set(range(number)) for i in range(batch))
    np.testing.assert_array_equal(component[:number], component[number:])
    shares = np.stack([(component == c).mean(axis=1) for c in range(number)])  # of the examples, for each sample
    assert (np.abs(shares - 1 / number) < 5 * np.sqrt(3 / 16 / batch)).all()


# ---- A linear Gaussian model, of which everything is known

SIGMA = 0.6


class Linear(keras.layers.Layer):
    """x @ kernel + bias, with numbers that are given."""

    def __init__(self, kernel, bias):
        super().__init__()
        self.kernel, self.bias = ops.convert_to_tensor(kernel, "float32"), ops.convert_to_tensor(bias, "float32")

    def call(self, x):
        return ops.matmul(x, self.kernel) + self.bias

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.kernel.shape[-1])


def linear_gaussian(fusion, rng, objective="elbo", **options):
    """A model of two views (3,) and (4,), x_v = W_v z + b_v + noise, and exact densities of what it says of them."""
    sizes, d = {"a": 3, "b": 4}, 2
    weights = {v: rng.normal(size=(d, n)).astype("float32") for v, n in sizes.items()}
    biases = {v: rng.normal(size=n).astype("float32") for v, n in sizes.items()}
    encoders = {
        v: Linear(0.15 * rng.normal(size=(n, 2 * d)), [0.1, -0.1, *[np.log(2.0)] * d]) for v, n in sizes.items()
    }
    vae = VAE(
        Encoder(encoders, d, fusion=fusion),
        Decoder({v: Linear(weights[v], biases[v]) for v in sizes}, likelihood=f"gaussian:sigma={SIGMA}"),
        objective=objective,
        seed=0,
        **options,
    )
    z = rng.normal(size=(5, d))
    x = {v: (z @ weights[v] + biases[v] + SIGMA * rng.normal(size=(5, n))).astype("float32") for v, n in sizes.items()}

    def exact(views):
        """log p of some views of x, (5,)."""
        w, b = np.hstack([weights[v] for v in views]), np.hstack([biases[v] for v in views])
        values, covariance = np.hstack([x[v] for v in views]) - b, w.T @ w + SIGMA**2 * np.eye(len(b))
        squares = np.einsum("ni,ij,nj->n", values, np.linalg.inv(covariance), values)
        return -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])

    return vae, x, exact


@pytest.mark.parametrize("fusion", ["product_of_experts", "mixture_of_experts", "mixture_of_products"])
def test_joint_marginal_and_conditional_likelihoods(fusion, rng):
    vae, x, exact = linear_gaussian(fusion, rng)
    joint = np.array(vae.log_likelihood(x, 40_000))
    np.testing.assert_allclose(joint, exact("ab"), atol=0.08)
    single = {v: np.array(vae.log_likelihood({v: x[v]}, 40_000)) for v in "ab"}
    for v in "ab":
        np.testing.assert_allclose(single[v], exact(v), atol=0.08)
    np.testing.assert_allclose(joint - single["a"], exact("ab") - exact("a"), atol=0.12)  # log p(b|a)


@pytest.mark.parametrize("fusion", ["product_of_experts", "mixture_of_products"])
def test_the_likelihood_of_what_is_there(fusion, rng):
    """Of an example whose view is missing, that of the other; of one without some numbers, that of the others."""
    vae, x, exact = linear_gaussian(fusion, rng)
    there = np.array([1, 0, 1, 0, 1], "float32")
    found = np.array(vae.log_likelihood({"a": x["a"], "b": Masked(x["b"], there)}, 40_000))
    np.testing.assert_allclose(found, np.where(there, exact("ab"), exact("a")), atol=0.08)
    hidden = np.ma.masked_array(x["b"], np.ones_like(x["b"]) * [1, 1, 1, 0])
    fewer = x | {"b": x["b"][:, 3:]}
    w, b = ([np.array(getattr(vae.decoder.views[v].network, n)) for v in "ab"] for n in ("kernel", "bias"))
    w, b = np.hstack([w[0], w[1][:, 3:]]), np.hstack([b[0], b[1][3:]])
    values, covariance = np.hstack([fewer["a"], fewer["b"]]) - b, w.T @ w + SIGMA**2 * np.eye(len(b))
    squares = np.einsum("ni,ij,nj->n", values, np.linalg.inv(covariance), values)
    exactly = -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])
    np.testing.assert_allclose(vae.log_likelihood({"a": x["a"], "b": hidden}, 40_000), exactly, atol=0.08)


def bound_of(objective, fusion, repeat=4000, seed=3):
    """The mean of a bound over many draws of z, (5,), and its standard error."""
    vae, x, exact = linear_gaussian(fusion, np.random.default_rng(seed), objective)
    many = {v: np.repeat(one, repeat, axis=0) for v, one in x.items()}
    found = -np.array(vae(many).loss).reshape(5, repeat)
    return found.mean(axis=1), found.std(axis=1) / np.sqrt(repeat), exact("ab")


def test_the_importance_weighted_bound_of_a_mixture_rises_to_the_likelihood():
    bounds = [bound_of(f"iwae:num_samples={k}", "mixture_of_experts") for k in (2, 4, 8)]
    bounds.append(bound_of("iwae:num_samples=4096", "mixture_of_experts", repeat=16))
    for (low, low_error, _), (high, high_error, _) in itertools.pairwise(bounds):
        assert (high > low - 3 * np.hypot(low_error, high_error)).all()
        assert high.sum() > low.sum()
    last, error, exact = bounds[-1]
    assert (last < exact + 3 * error).all()
    assert (np.abs(last - exact) < 0.1 + 3 * error).all()


def test_the_bound_of_the_components_is_at_most_the_elbo():
    for fusion in ("mixture_of_experts", "mixture_of_products"):
        component, first, _ = bound_of("component_elbo", fusion, repeat=10_000)
        elbo, second, exact = bound_of("elbo", fusion, repeat=10_000)
        assert (component < elbo + 3 * np.hypot(first, second)).all()
        assert component.sum() < elbo.sum()
        assert (elbo < exact + 3 * second).all()


def test_all_samples_of_one_expert_are_a_looser_bound_than_samples_of_each():
    paper, first, exact = bound_of("mmvae:num_samples=1", "mixture_of_experts")
    stratified, second, _ = bound_of("iwae:num_samples=2", "mixture_of_experts")
    assert (paper < stratified + 3 * np.hypot(first, second)).all()
    assert stratified.sum() - paper.sum() > 5 * np.sqrt(np.square(first).sum() + np.square(second).sum())
    more, error, _ = bound_of("mmvae:num_samples=32", "mixture_of_experts")
    assert more.sum() > paper.sum()
    assert (more < exact + 3 * error).all()


def test_the_samples_of_a_logarithm_are_of_one_component(rng):
    objective, number = MMVAE(num_samples=5), 3
    means = 100.0 * np.arange(number, dtype="float32")[None, :, None].repeat(2, axis=0)
    q = ProductMixture(Gaussian(means, np.zeros_like(means)), np.full((2, number), -np.log(number), "float32"))
    z, log_qz = objective.draw(q, keras.random.SeedGenerator(0))
    assert z.shape == (15, 2, 1)
    np.testing.assert_array_equal(np.round(np.array(z)[..., 0] / 100).reshape(5, 3, 2)[:, :, 0], [[0, 1, 2]] * 5)
    np.testing.assert_allclose(log_qz, q.log_prob(z))


def test_without_alpha_mvtcae_is_the_elbo():
    for beta in (1.0, 2.5):
        found, _, _ = bound_of({"name": "mvtcae", "alpha": 0.0, "beta": beta}, "product_of_experts", repeat=3)
        elbo, _, _ = bound_of({"name": "beta_elbo", "beta": beta}, "product_of_experts", repeat=3)
        np.testing.assert_allclose(found, elbo, rtol=1e-5)


@pytest.mark.parametrize("name", ["diagonal_gaussian", "full_gaussian"])
def test_mvtcae_as_its_formula(name, rng):
    """Against the terms computed one by one; of an example without a view, M is one less."""
    x = {v: rng.random((6, 4), "float32") for v in "abc"}
    x["b"] = Masked(x["b"], np.array([1, 1, 1, 0, 0, 0], "float32"))
    vae = VAE(Encoder(MLP((8,)), 2, name), Decoder(MLP((8,))), objective="mvtcae:alpha=0.7,beta=1.5", seed=0)
    state = vae(x).loss is not None and np.array(vae.noise.state)
    bound = -np.array(vae(x).loss)
    vae.noise.state.assign(state)
    q = vae.encoder(x)
    z, _ = q.sample_and_log_prob(vae.noise, 1)
    samples = np.array(q.sample(0, 4000))
    count = np.array([3, 3, 3, 2, 2, 2])
    there = {"a": 1.0, "b": np.array(x["b"].there), "c": 1.0}
    kl = np.mean(np.array(q.log_prob(samples)) - np.array(vae.prior.log_prob(samples)), axis=0)
    apart = sum(
        there[v] * np.mean(np.array(q.log_prob(samples)) - np.array(q.experts.of[v].log_prob(samples)), axis=0)
        for v in "abc"
    )
    log_px = np.array(vae.log_px(x, z))[0]
    expected = (1 - 0.7 / count) * log_px - 1.5 * (0.3 * kl + 0.7 / count * apart)
    np.testing.assert_allclose(bound, expected, atol=0.2)


def test_mvae_adds_the_bounds_of_all_views_of_each_and_of_random_sets(rng):
    x = {v: rng.random((4000, 4), "float32")[:1].repeat(4000, axis=0) for v in "abc"}
    models = [
        VAE(Encoder(MLP((8,)), 2), Decoder(MLP((8,))), objective=objective, seed=0)
        for objective in ("elbo", "mvae:random_sets=0", "mvae:random_sets=2")
    ]
    elbo = {
        views: -np.mean(models[0]({v: x[v] for v in views}).loss) for views in ("abc", "a", "b", "c", "ab", "ac", "bc")
    }
    for model in models[1:]:
        model(x)
        model.set_weights(models[0].get_weights())
    single = sum(elbo[v] for v in ("abc", "a", "b", "c"))
    np.testing.assert_allclose(-np.mean(models[1](x).loss), single, rtol=1e-2)
    pairs = np.mean([elbo[v] for v in ("ab", "ac", "bc")])
    np.testing.assert_allclose(-np.mean(models[2](x).loss), single + 2 * pairs, rtol=1e-2)


def test_every_fusion_says_the_class_of_its_posterior():
    assert set(Fusion.members()) >= {"product_of_experts", "mixture_of_experts", "mixture_of_products"}
    for name, fusion in FUSIONS.items():
        for make in (diagonal, full):
            q = experts_of(fusion, np.random.default_rng(0), make).fused()
            posterior = Posterior.get("diagonal_gaussian" if make is diagonal else "full_gaussian")
            assert type(q) is fusion.distribution(posterior, 3), name
