"""Traversals, the plane of a code, and ways between pairs: that each picture shows the codes that it says."""

from dataclasses import replace
from statistics import NormalDist

import keras
import numpy as np
import pytest
from keras import ops

from bicoder import VAE, Decoder, Encoder
from bicoder.engine.arrays.conditioned import Conditioned
from bicoder.engine.arrays.masked import Masked
from bicoder.errors import NumericError
from bicoder.evaluation.latent_space import dimensions
from bicoder.evaluation.paths import spherical, straight
from bicoder.networks import MLP
from bicoder.pictures import gallery
from bicoder.pictures.drawing.grids import AROUND, alike
from bicoder.pictures.drawing.plotting import GAP
from bicoder.pictures.interpolation import STEPS as BETWEEN
from bicoder.pictures.interpolation import between_pairs, some_pairs
from bicoder.pictures.picture import Subject
from bicoder.pictures.traversals import STEPS, both_dimensions, each_dimension

SIDE = 3  # pixels of an image


def make(latent_dim, rng, condition=None, posterior="diagonal_gaussian", prior="standard_normal", width=None):
    """A subject of 40 images with labels, and a model whose dimensions of the code are each as wide as `width` says."""
    outputs = {"diagonal_gaussian": 2 * latent_dim, "full_gaussian": latent_dim * (latent_dim + 3) // 2}[posterior]
    dense = keras.layers.Dense(outputs, kernel_initializer=keras.initializers.GlorotUniform(seed=0))
    encoder = Encoder(keras.Sequential([dense]), latent_dim, posterior)
    vae = VAE(encoder, Decoder(MLP((4,))), prior=prior, condition=condition, seed=0)
    images, labels = rng.random((40, SIDE * SIDE), "float32"), np.arange(40) % 4
    x = images if condition is None else Conditioned(images, labels.astype("float32"))
    vae.build((None, SIDE * SIDE))
    for weight in vae.decoder.trainable_variables:  # grey images, which are neither black nor white
        weight.assign(weight * 0.0 + 0.5 if weight.shape == (SIDE * SIDE,) else weight * 0.5)
    if width is not None:
        [kernel] = [weight for weight in vae.encoder.trainable_variables if len(weight.shape) == 2]
        scale = np.concatenate([width, np.zeros(kernel.shape[1] - latent_dim)])  # and no log(sigma) but 0
        kernel.assign(np.ones(kernel.shape) / kernel.shape[0] * scale)
    return Subject(vae, "noise", x, labels, ("a", "b", "c", "d"))


@pytest.fixture
def drawn(monkeypatch):
    """Function (draw, *arguments) -> the figure that it would have saved."""

    def draw(function, *arguments, **more):
        figures = []
        monkeypatch.setattr("bicoder.pictures.drawing.grids.save", lambda figure, path: figures.append(figure) or path)
        function(*arguments, **more)
        [figure] = figures
        return figure

    return draw


def cell(axes, row, column, size=SIDE):
    """The pixels of an image in a grid."""
    canvas = np.asarray(axes.images[0].get_array())
    top, left = GAP + row * (size + GAP), GAP + column * (size + GAP)
    return canvas[top : top + size, left : left + size]


def names(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def image_of(subject, code, y=None):
    """What the model makes of a code."""
    mean = subject.vae.decode(np.asarray(code, "float32")[None], y).mean
    return np.clip(ops.convert_to_numpy(mean), 0, 1).reshape(SIDE, SIDE)


def test_dimensions_are_in_the_order_of_their_kl(rng):
    subject = make(4, rng, width=[0.0, 0.5, 8.0, 3.0])
    found = dimensions(subject.vae, subject.images, batch_size=7)
    assert found.by_kl
    assert found.active.tolist() == [2, 3], "1 moves by less than 0.1, and 0 not at all"
    # q(z|x) = N(mu, 1): its KL is mu^2 / 2.
    np.testing.assert_allclose(found.worth, (found.codes**2).mean(axis=0) / 2, atol=1e-5)


def test_without_a_kl_of_each_they_are_in_the_order_of_their_variance(rng):
    for more in ({"posterior": "full_gaussian"}, {"prior": "mixture_of_gaussians"}):
        subject = make(3, rng, width=[2.0, 9.0, 5.0], **more)
        found = dimensions(subject.vae, subject.images)
        assert (found.by_kl, found.active.tolist()) == (False, [1, 2, 0])
        np.testing.assert_allclose(found.worth, found.codes.var(axis=0), rtol=1e-4)


@pytest.mark.fault(100)
def test_codes_that_are_no_numbers_are_not_walked_through(rng):
    subject = make(3, rng)
    for weight in subject.vae.encoder.trainable_variables:
        weight.assign(weight * np.nan)
    with pytest.raises(NumericError, match="codes: expected finite numbers, received others for 40 of 40 images"):
        dimensions(subject.vae, subject.images)


def test_traversals_show_the_codes_that_they_say(rng, drawn):
    subject = make(4, rng, width=[0.0, 0.5, 8.0, 3.0])
    figure = drawn(each_dimension, subject, None, count=2)
    said = figure.get_suptitle()
    assert said.startswith("noise: 2 of 4 dimensions of z, in the order of their KL; 2 do nothing\n")
    assert said.endswith("over the range of those of 40 test images")
    assert [name.split(",")[0] for name in names(figure.axes[0].yaxis)] == ["x", "z3", "z4"]
    assert names(figure.axes[0].xaxis) == ["-2.5", "0", "2.5"]
    assert len(figure.axes) == 2
    codes = ops.convert_to_numpy(subject.vae.encode(subject.images).mean)
    for axes in figure.axes:
        number = int(axes.get_title().removeprefix("test image "))
        np.testing.assert_allclose(cell(axes, 0, 0), subject.images[number].reshape(SIDE, SIDE), atol=1e-6)
        np.testing.assert_allclose(cell(axes, 0, 1), image_of(subject, codes[number]), atol=1e-5)
        assert (cell(axes, 0, 2) == 1).all()
        for row, dimension in ((1, 2), (2, 3)):
            for column, step in ((0, -2.5), (STEPS // 2, 0.0), (STEPS - 1, 2.5)):
                code = codes[number].copy()
                code[dimension] = codes[:, dimension].mean() + step * codes[:, dimension].std()
                np.testing.assert_allclose(cell(axes, row, column), image_of(subject, code), atol=1e-5)


def test_a_collapsed_code_leaves_nothing_but_reconstructions(rng, drawn):
    figure = drawn(each_dimension, make(3, rng, width=[0.0, 0.0, 0.0]), None)
    assert "0 of 3 dimensions of z, in the order of their KL; 3 do nothing" in figure.get_suptitle()
    assert names(figure.axes[0].yaxis) == ["x, reconstruction"]


def test_dimensions_that_are_too_many_are_counted(rng, drawn):
    figure = drawn(each_dimension, make(30, rng, width=np.linspace(3, 9, 30)), None)
    assert "30 of 30 dimensions of z, in the order of their KL, the first 20 of them shown" in figure.get_suptitle()
    assert len(names(figure.axes[0].yaxis)) == 21


def test_with_a_condition_each_image_keeps_its_class(rng, drawn):
    subject = make(2, rng, condition="labels:classes=4", width=[5.0, 9.0])
    axes = drawn(each_dimension, subject, None).axes[0]
    number, name = axes.get_title().removeprefix("test image ").split(", y = ")
    label = subject.labels[int(number)]
    assert name == subject.label_names[label]
    codes = ops.convert_to_numpy(subject.vae.encode(subject.images).mean)
    code = codes[int(number)].copy()
    code[1] = codes[:, 1].mean() + 2.5 * codes[:, 1].std()
    shown, row = cell(axes, 1, STEPS - 1), names(axes.yaxis)[1]
    assert row.startswith("z2")
    np.testing.assert_allclose(shown, image_of(subject, code, np.array([label], "float32")), atol=1e-5)
    other = image_of(subject, code, np.array([(label + 1) % 4], "float32"))
    assert np.abs(shown - other).max() > 1e-3


@pytest.mark.parametrize("prior", ["standard_normal", "mixture_of_gaussians"])
def test_the_plane_is_over_the_prior_or_over_the_codes_and_says_so(prior, rng, drawn):
    subject = make(2, rng, prior=prior)
    figure = drawn(both_dimensions, subject, None)
    [axes] = figure.axes
    codes = ops.convert_to_numpy(subject.vae.encode(subject.images).mean)
    if prior == "standard_normal":
        assert figure.get_suptitle().endswith("z at quantiles of the prior, N(0, I)")
        low, high = ([NormalDist().inv_cdf(p)] * 2 for p in (0.025, 0.975))
    else:
        assert figure.get_suptitle().endswith("z at even steps from 1 to 99 % of the codes of 40 test images")
        low, high = np.quantile(codes, (0.01, 0.99), axis=0)
    np.testing.assert_allclose(cell(axes, 0, 0), image_of(subject, (low[0], high[1])), atol=1e-4)
    np.testing.assert_allclose(cell(axes, 19, 19), image_of(subject, (high[0], low[1])), atol=1e-4)
    assert (names(axes.xaxis)[0], names(axes.yaxis)[-1]) == (f"{low[0]:.2f}", f"{low[1]:.2f}")
    assert len(names(axes.xaxis)) == len(names(axes.yaxis)) == 20


def test_the_plane_of_a_model_with_a_condition_has_one_for_each_class(rng, drawn):
    subject = make(2, rng, condition="labels:classes=4")
    figure = drawn(both_dimensions, subject, None)
    assert [axes.get_title() for axes in figure.axes] == ["y = a", "y = b", "y = c", "y = d"]
    corner = [NormalDist().inv_cdf(p) for p in (0.025, 0.975)]
    for label, axes in enumerate(figure.axes):
        made = image_of(subject, corner, np.array([label], "float32"))
        np.testing.assert_allclose(cell(axes, 0, 0), made, atol=1e-4)


def test_a_plane_is_drawn_of_two_dimensions_alone(rng, tmp_path):
    assert gallery.plane(make(3, rng), tmp_path / "plane.png") is None
    assert gallery.plane(make(2, rng), tmp_path / "plane.png") == tmp_path / "plane.png"


def test_interpolation_goes_both_ways_between_the_codes_of_two_images(rng, drawn):
    subject = make(5, rng)
    for weight in subject.vae.encoder.trainable_variables:
        weight.assign(weight * 4.0)
    figure = drawn(between_pairs, subject, None, count=3, labels_shown=True)
    assert [axes.get_title() for axes in figure.axes] == ["straight", "spherical"]
    pairs = some_pairs(subject, 3)
    assert len(np.unique(pairs)) == 6
    shown = [" to ".join(subject.label_names[label] for label in subject.labels[pair]) for pair in pairs]
    assert names(figure.axes[0].yaxis) == shown
    codes = ops.convert_to_numpy(subject.vae.encode(subject.images[pairs.ravel()]).mean).reshape(3, 2, 5)
    for axes, way in zip(figure.axes, (straight, spherical), strict=True):
        path = way(codes[:, 0], codes[:, 1], BETWEEN)
        for row, pair in enumerate(pairs):
            for column, number in ((0, pair[0]), (BETWEEN + 1, pair[1])):
                original = subject.images[number].reshape(SIDE, SIDE)
                np.testing.assert_allclose(cell(axes, row, column), original, atol=1e-6)
            for step in (0, 3, BETWEEN - 1):
                np.testing.assert_allclose(cell(axes, row, 1 + step), image_of(subject, path[row, step]), atol=1e-5)
    assert np.abs(cell(figure.axes[0], 0, 5) - cell(figure.axes[1], 0, 5)).max() > 1e-3


def test_in_one_dimension_there_is_one_way(rng, drawn):
    figure = drawn(between_pairs, make(1, rng), None)
    assert [axes.get_title() for axes in figure.axes] == ["straight"]
    assert names(figure.axes[0].yaxis) == ["pair 1", "pair 2", "pair 3", "pair 4"]


def test_pairs_are_of_two_classes_and_with_a_condition_of_one(rng):
    subject = make(2, rng)
    first, second = subject.labels[some_pairs(subject, 10)].T
    assert (first != second).all()
    one_class = replace(subject, labels=np.zeros(40, int))
    assert len(some_pairs(one_class, 10)) == 10, "there is no other"
    told = make(2, rng, condition="labels:classes=4")
    first, second = told.labels[some_pairs(told, 10)].T
    assert (first == second).all()
    assert len(some_pairs(told, 100)) == 20, "none is taken twice"


@pytest.mark.fault(223)
def test_too_few_images_for_a_pair_have_no_picture(rng, tmp_path):
    alone = make(2, rng)
    assert gallery.interpolation(replace(alone, images=alone.images[:1]), tmp_path / "x.png") is None
    told = make(2, rng, condition="labels:classes=4")
    each = Conditioned(told.images.x[:4], told.images.y[:4])  # one of each class
    assert gallery.interpolation(replace(told, images=each), tmp_path / "x.png") is None
    assert not (tmp_path / "x.png").exists()


@pytest.fixture
def of_views(rng):
    """A subject of two views of other sizes, of which three of 20 examples lack one."""
    vae = VAE(Encoder(MLP((4,)), 2), Decoder(MLP((4,))), seed=0)
    vae.build({"a": (None, 6, 4, 3), "b": (None, 4)})
    for weight in vae.encoder.trainable_variables:
        weight.assign(weight * 5.0)
    there = (np.arange(20) >= 3).astype("float32")
    views = {"a": rng.random((20, 6, 4, 3), "float32"), "b": Masked(rng.random((20, 4), "float32"), there)}
    return Subject(vae, "pairs", views, np.arange(20) % 2, (), {"a": (6, 4, 3), "b": None})


def test_views_are_rows(of_views, drawn):
    figure = drawn(each_dimension, of_views, None)
    rows = [name.split(", ")[-1] for name in names(figure.axes[0].yaxis)]
    assert rows == ["a", "b"] * 3
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    number = int(figure.axes[0].get_title().removeprefix("test example "))
    assert number >= 3, "one that has all views"
    np.testing.assert_allclose(canvas[GAP : GAP + 6, GAP : GAP + 4], of_views.images["a"][number], atol=1e-6)
    small = of_views.images["b"].values[number].reshape(2, 2).repeat(2, axis=0).repeat(2, axis=1)
    top = 2 * GAP + 6
    np.testing.assert_allclose(canvas[top + 1 : top + 5, GAP : GAP + 4, 0], small, atol=1e-6)
    assert names(drawn(between_pairs, of_views, None).axes[0].yaxis)[:2] == ["pair 1, a", "pair 1, b"]
    assert [axes.get_title() for axes in drawn(both_dimensions, of_views, None).axes] == ["a", "b"]


def test_images_of_views_are_brought_to_one_size(rng):
    grey, colour, clear = rng.random((2, 2, 3)), rng.random((2, 5, 6, 3)), rng.random((2, 1, 1, 4))
    found = alike({"grey": grey, "colour": colour, "clear": clear})
    assert {one.shape for one in found.values()} == {(2, 5, 6, 4)}
    np.testing.assert_array_equal(found["colour"][..., :3], colour)
    assert (found["colour"][..., 3] == 1).all()
    twice = grey.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(found["grey"][:, :4, :, 1], twice)
    assert (found["grey"][:, 4:] == AROUND).all()
    assert alike({"a": grey, "b": grey})["a"] is grey


def test_nothing_of_a_picture_is_cut_off(rng, drawn):
    """Long names and many rows: every text lies in the figure, and no title on a grid."""
    subject = make(30, rng, condition="labels:classes=4", width=np.linspace(3, 9, 30))
    subject = replace(subject, label_names=("a name that is rather long", "b", "c", "d"), name="data " * 12)
    for figure in (
        drawn(each_dimension, subject, None, count=5),
        drawn(between_pairs, subject, None, labels_shown=True),
    ):
        figure.draw_without_rendering()
        room = figure.bbox
        texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, *axes.get_yticklabels())]
        for text in (*texts, figure._suptitle):
            box = text.get_window_extent()
            assert box.width == 0 or (box.x0 >= 0 and box.x1 <= room.x1 and box.y0 >= 0 and box.y1 <= room.y1), text
        highest = max(axes.title.get_window_extent().y1 for axes in figure.axes)
        assert figure._suptitle.get_window_extent().y0 > highest
