"""A class as data: its distribution, what its likelihood takes, and labels as a view that most examples lack."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats

from bicoder import VAE, Decoder, Encoder
from bicoder.distributions import Categorical
from bicoder.engine.arrays.masked import Masked
from bicoder.errors import DataError, UsageError
from bicoder.likelihoods import CategoricalLikelihood, Likelihood
from bicoder.networks import MLP

LOGITS = np.float32([[0.0, 1.0, -2.0], [30.0, -30.0, 0.0]])
EYE = np.eye(3, dtype="float32")


def test_it_agrees_with_scipy_and_sums_to_one():
    p = Categorical(LOGITS)
    theirs = scipy.special.softmax(LOGITS.astype("float64"), axis=1)
    np.testing.assert_allclose(p.mean, theirs, rtol=1e-5, atol=1e-12)
    found = np.stack([p.log_prob(np.stack([one, one])) for one in EYE], axis=1)
    for row in range(2):
        expected = scipy.stats.multinomial(1, theirs[row]).logpmf(EYE)
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, rtol=1e-6)


def test_samples_are_classes_as_often_as_it_says():
    p = Categorical(LOGITS)
    drawn = np.array(p.sample(3, 20_000))
    assert drawn.shape == (20_000, 2, 3)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert (drawn.sum(axis=-1) == 1.0).all()
    np.testing.assert_allclose(drawn.mean(axis=0), p.mean, atol=0.015)
    np.testing.assert_array_equal(p.sample(3, 5), p.sample(3, 5))
    assert np.array(p.sample(3)).shape == (2, 3)


def test_axes_before_the_classes_are_independent_and_samples_of_z_stay(rng):
    logits = rng.normal(size=(7, 4, 5, 3)).astype("float32")  # (samples, batch, 5, classes)
    x = EYE[rng.integers(0, 3, (4, 5))]
    found = np.array(Categorical(logits).log_prob(x))
    chosen = np.log(scipy.special.softmax(logits.astype("float64"), axis=-1)[:, x == 1]).reshape(7, 4, 5)
    np.testing.assert_allclose(found, chosen.sum(axis=-1), rtol=1e-5)


@pytest.mark.fault(91)
@pytest.mark.parametrize(
    ("wrong", "value"),
    [([0.0, 0.0, 0.0], "0"), ([1.0, 1.0, 0.0], "1"), ([0.5, 0.5, 0.0], "0.5"), ([2.0, -1.0, 0.0], "2")],
    ids=["no class", "two classes", "halves", "other numbers"],
)
def test_what_is_no_class_is_refused(wrong, value):
    x = EYE[[0, 1, 2, 0]]
    CategoricalLikelihood().check(x)
    x[2] = wrong
    with pytest.raises(DataError, match=rf"y: the categorical .* one 1 and else 0 .* is {value} at index \(2, 0\)"):
        CategoricalLikelihood().check(x, "y")


@pytest.mark.parametrize("name", ["categorical", "bernoulli"])
def test_what_is_missing_is_not_looked_at(name):
    x = EYE[[0, 1, 2, 0]]
    x[2] = 7.0
    there = np.float32([1, 1, 0, 1])
    likelihood = Likelihood.get(name)
    likelihood.check(Masked(x, there))
    with pytest.raises(DataError, match=r"is 7 at index \(2, 0\)"):
        likelihood.check(Masked(x, 1 - there))
    if name == "bernoulli":
        likelihood.check(Masked(x, (x < 7).astype("float32")))


def test_a_label_is_there_or_not():
    p = Categorical(LOGITS)
    with pytest.raises(UsageError, match="independent elements"):
        p.elementwise(EYE[:2])


def of_three_classes(count, rng):
    """Points around three centres, and their classes as one-hot vectors."""
    classes = rng.integers(0, 3, count)
    centres = np.float32([[0, 0, 0, 3], [3, 0, 0, 0], [0, 3, 3, 0]])
    return (centres[classes] + 0.3 * rng.normal(size=(count, 4))).astype("float32"), EYE[classes]


@pytest.mark.parametrize("weight", [1.0, 0.0], ids=["labels count", "labels do not count"])
def test_few_labels_are_enough_to_find_the_classes_of_others(weight, rng):
    """300 points, of which 15 show their class; if labels weigh nothing, it is not learnt."""
    x, y = of_three_classes(300, rng)
    hidden = np.arange(300)[:, None].repeat(3, axis=1) >= 15
    vae = VAE(
        Encoder(MLP((16,)), 2, fusion="mixture_of_experts"),
        Decoder(MLP((16,)), likelihood={"x": {"name": "gaussian", "sigma": 0.5}, "y": "categorical"}),
        view_weights={"x": 1.0, "y": 20.0 * weight},
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.fit({"x": x, "y": np.ma.masked_array(y, hidden)}, batch_size=50, epochs=30, verbose=0)
    x, y = of_three_classes(200, rng)
    found = np.array(vae.decode(vae.encode({"x": x}).mean)["y"].mean)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    accuracy = (found.argmax(axis=1) == y.argmax(axis=1)).mean()
    assert accuracy > 0.95 if weight else accuracy < 0.9
