"""How well views agree: models of which it is known, classifiers that are kept, and data that have no such numbers."""

import keras
import numpy as np
import pytest

from bicoder import VAE, Decoder, Encoder, evaluate
from bicoder.data.loader import DataLoader
from bicoder.engine.arrays.masked import Masked
from bicoder.errors import DataError
from bicoder.evaluation import classifiers, coherence
from bicoder.evaluation.coherence import Judged, Labelled, agreement, sets_of_views, table
from bicoder.networks import MLP

CLASSES = 4


@pytest.fixture(autouse=True)
def few_steps(monkeypatch, tmp_path):
    """What is easy is learnt soon; and what is kept is kept for one test."""
    monkeypatch.setattr(classifiers, "STEPS", 150)
    monkeypatch.setattr(classifiers, "RATE", 0.01)
    monkeypatch.setattr(coherence, "SAMPLES", 1000)
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "cache"))


@pytest.fixture
def examples(rng):
    """Function (N) -> labelled examples of two views, each of which says the label."""

    def make(count):
        labels = rng.integers(0, CLASSES, count)
        views = {name: np.eye(CLASSES)[labels] + 0.05 * rng.standard_normal((count, CLASSES)) for name in "ab"}
        return Labelled({name: np.clip(x, 0, 1).astype("float32") for name, x in views.items()}, labels)

    return make


def dense(units):
    return keras.layers.Dense(units)


@pytest.fixture(scope="module")
def known():
    """A model whose code is the label if it is given view a, and noise if it is given b alone; both are made of it."""
    encoder = Encoder({name: dense(2 * CLASSES) for name in "ab"}, CLASSES)
    vae = VAE(encoder, Decoder({name: dense(CLASSES) for name in "ab"}), seed=0)
    vae.build(dict.fromkeys("ab", (None, CLASSES)))
    eye, zeros = np.eye(CLASSES), np.zeros((CLASSES, CLASSES))
    bias = np.repeat([0.0, -4.0], CLASSES)  # mean, and log of the standard deviation
    vae.encoder.views["a"].body.set_weights([np.concatenate([8 * eye, zeros], 1), bias])
    vae.encoder.views["b"].body.set_weights([np.zeros((CLASSES, 2 * CLASSES)), 0 * bias])
    for name in "ab":
        vae.decoder.views[name].body.set_weights([eye / 8, np.zeros(CLASSES)])
    return vae


def test_a_model_of_which_it_is_known(known, examples):
    found = agreement(known, examples(600), examples(300))["coherence"]
    assert [one["accuracy"] for one in found["classifiers"].values()] == [1.0, 1.0]
    assert found["given"][1]["accuracy"] == pytest.approx((1 + 1 / CLASSES) / 2, abs=0.04)  # of a all, of b by chance
    assert found["linear"][1]["accuracy"] == pytest.approx((1 + 1 / CLASSES) / 2, abs=0.04)
    assert found["linear"][2]["accuracy"] == 1.0
    assert list(found["given"]) == [1], "there is no view left to be made of both"
    assert found["given"][1]["standard_error"] == pytest.approx(np.sqrt(0.25 * 0.75 / 600) / 2, rel=0.1)
    assert found["joint"]["accuracy"] > 0.7  # both show z, and their classifiers differ only where they are unsure
    assert (found["learnt_from"], found["examples"], found["classes"]) == ("training examples", 600, CLASSES)
    assert (found["given"][1]["sets"], found["given"][1]["of_sets"]) == (2, 2)


def test_joint_coherence_of_views_that_show_something_else(known, examples):
    """View b is always of class 2: it agrees with a where that is too."""
    training = examples(300)
    weights = known.decoder.views["b"].body.get_weights()
    known.decoder.views["b"].body.set_weights([np.zeros((CLASSES, CLASSES)), np.eye(CLASSES)[2]])
    try:
        found = agreement(known, examples(300), training)["coherence"]
    finally:
        known.decoder.views["b"].body.set_weights(weights)
    kept = classifiers.classifier(training.views["a"], training.labels, "a")
    share = (kept.of(np.asarray(known.prior.sample(1000, 0)) / 8) == 2).mean()
    assert 0.01 < share < 0.9
    assert found["joint"]["accuracy"] == pytest.approx(share, abs=0.003)
    assert found["joint"]["standard_error"] == pytest.approx(np.sqrt(share * (1 - share) / 1000), rel=0.05)


def test_without_training_labels_one_half_is_learnt_from_and_the_other_judges(known, examples):
    test = examples(401)
    learnt, judged = test.halves()
    rows = [tuple(row) for half in (learnt, judged) for row in half.views["a"].tolist()]
    assert sorted(rows) == sorted(map(tuple, test.views["a"].tolist()))
    numbers = agreement(known, test, None)
    assert numbers["coherence"]["learnt_from"] == "one half of the test examples"
    assert numbers["coherence"]["examples"] == 201
    assert {one["examples"] for one in numbers["coherence"]["classifiers"].values()} == {200}
    assert numbers["coherence"]["linear"][2]["accuracy"] == 1.0
    assert "learnt from one half of the test examples, judged by the other half, 201" in "\n".join(table(numbers))


def test_examples_that_lack_a_view_are_not_judged_but_learnt_from(known, examples):
    test, training = examples(200), examples(200)
    there = (np.arange(200) >= 50).astype("float32")
    lacking = [one._replace(views=one.views | {"b": Masked(one.views["b"], there)}) for one in (test, training)]
    found = agreement(known, *lacking)["coherence"]
    assert found["examples"] == 150
    assert {view: one["examples"] for view, one in found["classifiers"].items()} == {"a": 200, "b": 150}
    assert found["linear_examples"] == 150


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda test: None, "the test examples have no labels"),
        (lambda test: test._replace(labels=0 * test.labels), "there are not two classes of examples"),
        (
            lambda test: test._replace(views=test.views | {"b": Masked(test.views["b"], np.zeros(60))}),
            "there are not two",
        ),
    ],
)
def test_why_there_are_none(known, examples, change, why):
    numbers = agreement(known, change(examples(60)), None)
    assert numbers["coherence"] is None
    assert numbers["coherence_left_out"].startswith(f"coherence and linear accuracy are left out: {why}")
    assert table(numbers) == ["", numbers["coherence_left_out"]]


def test_the_product_alone_is_that_of_a_product_of_experts(examples):
    """Of `mixture_of_products` both are measured: q(z|x_S), and the product over S without those of its subsets."""
    test = examples(120)
    mixture = VAE(Encoder(MLP((8,)), 3, fusion="mixture_of_products"), Decoder(MLP((8,))), seed=0)
    product = VAE(Encoder(MLP((8,)), 3), Decoder(MLP((8,))), seed=0)
    for vae in (mixture, product):
        vae.build(dict.fromkeys("ab", (None, CLASSES)))
    product.set_weights(mixture.get_weights())
    judged = Judged(mixture, {}, test, test, keras.random.SeedGenerator(0))
    expected = np.asarray(product.encode(test.views).mean)
    np.testing.assert_allclose(judged.posterior(judged.raw, True).mean, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(judged.posterior(judged.raw, False).mean, mixture.encode(test.views).mean, rtol=1e-5)
    found = agreement(mixture, test, test)["coherence"]
    assert (list(found["linear"]), list(found["linear_product"])) == ([1, 2], [2])
    assert "2 (their product)" in "\n".join(table({"coherence": found}))


def test_sets_of_many_views_are_chosen_by_the_seed():
    views = [f"v{i}" for i in range(10)]
    sets = sets_of_views(views, 0)
    assert {size: count for size, (_, count) in sets.items()}[5] == 252
    assert sum(len(some) for size, (some, _) in sets.items() if size < 10) <= 30
    assert all(some and len({*map(frozenset, some)}) == len(some) for some, _ in sets.values())
    assert sets == sets_of_views(views, 0) != sets_of_views(views, 1)
    five = sets_of_views(views[:5], 0)
    assert [len(some) for some, _ in five.values()] == [count for _, count in five.values()] == [5, 10, 10, 5, 1]


# ---- The classifiers


def files(tmp_path):
    return sorted((tmp_path / "cache" / "classifiers").glob("*"))


def test_a_classifier_is_trained_once_and_kept(examples, tmp_path):
    x, labels = examples(100).views["a"], examples(100).labels
    first = classifiers.classifier(x, labels, "a")
    [path] = files(tmp_path)
    written = path.stat().st_mtime_ns
    again = classifiers.classifier(x, labels, "a")
    assert path.stat().st_mtime_ns == written
    for one, other in zip(first.network.get_weights(), again.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    classifiers.classifier(x, labels[::-1], "a")
    assert len(files(tmp_path)) == 2, "other labels are other data"
    classifiers.classifier(x * 0.5, labels, "a")
    assert len(files(tmp_path)) == 3, "other pixels too"


@pytest.mark.fault(221)
def test_a_kept_classifier_that_is_damaged_is_trained_again(examples, tmp_path):
    some = examples(100)
    found = classifiers.classifier(some.views["a"], some.labels, "a")
    expected = found.network.get_weights()
    classifiers.classifier(some.views["b"], some.labels, "b")
    path, other = sorted(files(tmp_path), key=lambda one: one.stat().st_mtime_ns)
    good = path.read_bytes()
    bad = [
        good[:-10],
        other.read_bytes(),
        good[:-4] + np.float32(np.nan).tobytes(),
        (2**60).to_bytes(8, "little") + good[8:],
        b"no weights",
    ]
    for content in bad:
        path.write_bytes(content)
        assert not classifiers.take(path, found.network, found.sha256)
    for one, another in zip(expected, found.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, another)  # nothing was taken of a damaged file
    again = classifiers.classifier(some.views["a"], some.labels, "a")
    for one, another in zip(expected, again.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, another)  # the same data make the same classifier
    assert classifiers.take(path, found.network, found.sha256)


@pytest.mark.fault(221)
def test_a_classifier_that_cannot_be_kept(examples, tmp_path, capsys):
    (tmp_path / "cache").write_text("a file in the place of the folder")
    some = examples(100)
    found = classifiers.classifier(some.views["a"], some.labels, "a")
    assert (found.of(some.views["a"]) == some.labels).all()
    assert "the classifier of a is not kept: " in capsys.readouterr().err


def test_pictures_are_convolved_and_small_ones_and_vectors_are_not(rng):
    for shape, convolved in (((28, 28, 3), True), ((16, 20, 1), True), ((8, 8, 1), False), ((40,), False)):
        network = classifiers.small_network(shape, 3)
        assert any(isinstance(layer, keras.layers.Conv2D) for layer in network.layers) == convolved
        assert network(rng.random((2, *shape), "float32")).shape == (2, 3)


def test_pictures_are_told_apart(rng):
    labels = np.arange(200) % 2 * 3 + 4  # 4 and 7
    x = 0.3 * rng.random((200, 20, 20, 1), "float32")
    x[labels == 7, 5:15, 8:12] += 0.6
    found = classifiers.classifier(x, labels, "bars")
    assert found.classes.tolist() == [4, 7]
    assert (found.of(x) == labels).mean() > 0.98


# ---- In the numbers of a model


def test_evaluate_has_them_and_learns_from_the_training_examples_of_a_loader(known, examples, tmp_path):
    some = examples(300)
    np.savez(tmp_path / "two.npz", **some.views, labels=some.labels)
    loader = DataLoader(tmp_path / "two.npz", views=("a", "b"), data_dir=tmp_path / "mine")
    numbers = evaluate(known, loader, num_samples=3)
    assert numbers["coherence"]["learnt_from"] == "training examples"
    assert numbers["coherence"]["examples"] == numbers["images"] == 60
    assert len([*(tmp_path / "mine" / "classifiers").iterdir()]) == 2
    learn, test = (
        Labelled(loader.training_images, loader.training_labels),
        Labelled(loader.test_images, loader.test_labels),
    )
    assert agreement(known, test, learn, data_dir=tmp_path / "mine")["coherence"] == numbers["coherence"]
    with pytest.raises(DataError, match="training: expected labels that are whole numbers"):
        evaluate(known, (some.views, some.labels), 3, training=(some.views, np.array(list("abcd"))[some.labels]))
    without = evaluate(known, {name: x[:20] for name, x in some.views.items()}, num_samples=3)
    assert without["coherence"] is None
    assert "no labels" in without["coherence_left_out"]
