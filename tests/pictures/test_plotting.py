"""Pictures: what is in them, by their pixels."""

import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from bicoder.pictures.drawing import plotting


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("shape", "given", "expected"),
    [
        ((3, 64), None, (3, 8, 8)),
        ((3, 64), (4, 16, 1), (3, 4, 16)),
        ((3, 48), (4, 4, 3), (3, 4, 4, 3)),
        ((3, 30), None, (3, 1, 30)),
        ((3, 5, 4, 1), None, (3, 5, 4)),
        ((3, 5, 4, 3), None, (3, 5, 4, 3)),
    ],
)
def test_as_images(shape, given, expected):
    images = plotting.as_images(np.full(shape, 2.0), given)
    assert images.shape == expected
    assert images.max() == 1.0


def test_tile_keeps_every_image_in_its_place():
    images = np.arange(5)[:, None, None] * np.ones((5, 2, 3)) / 10
    canvas = plotting.tile(images, 3)
    assert canvas.shape == (2 * 3 + 1, 3 * 4 + 1)
    for i in range(5):
        top, left = 1 + i // 3 * 3, 1 + i % 3 * 4
        np.testing.assert_allclose(canvas[top : top + 2, left : left + 3], i / 10)
    assert canvas[4, 9] == 1.0  # the sixth place is empty


def test_grey_images_look_grey(tmp_path):
    path = plotting.image_grid(np.linspace(0, 1, 100 * 64).reshape(100, 64), tmp_path / "grid.png", "title")
    found = pixels(path)
    assert (found.max(axis=2) == found.min(axis=2)).all()
    assert found.min() == 0
    assert found.max() == 255


def test_the_scale_of_grey_does_not_depend_on_the_images(tmp_path):
    """Images of 0.5 are mid grey, not black or white."""
    found = pixels(plotting.image_grid(np.full((4, 8, 8, 1), 0.5), tmp_path / "grid.png", ""))
    middle = found[found.shape[0] // 4, found.shape[1] // 4]
    assert (abs(middle - 128) < 3).all()


def test_colours_stay(tmp_path):
    images = np.zeros((4, 8, 8, 3))
    images[..., 0] = 1.0
    found = pixels(plotting.image_grid(images, tmp_path / "grid.png", ""))
    assert tuple(found[found.shape[0] // 4, found.shape[1] // 4]) == (255, 0, 0)


@pytest.mark.parametrize("count", [1, 7, 100])
@pytest.mark.fault(85)
def test_side_by_side(count, tmp_path):
    images = np.zeros((count, 8, 8, 1))
    found = pixels(plotting.side_by_side([images, images + 1.0], tmp_path / "pair.png", ("left", "right")))
    half = found.shape[1] // 2
    below_title = found[60:]
    assert (below_title[:, :half] == 0).mean() > 3 * (below_title[:, half:] == 0).mean()


@pytest.mark.parametrize("classes", [1, 2, 10, 35])
def test_scatter_shows_every_class_in_a_style_of_its_own(classes, tmp_path, rng):
    labels = np.arange(200) % classes
    names = tuple(f"class {i}" for i in range(classes))
    path = plotting.scatter(rng.normal(size=(200, 2)), tmp_path / "scatter.png", "title", labels, names)
    found = pixels(path)
    colours = [tuple(round(c * 255) for c in to_rgb(plotting.COLOURS[i])) for i in range(min(classes, 10))]
    if classes <= 30:  # the legend shows the full colours
        for colour in colours:
            assert (abs(found - np.array(colour)).max(axis=2) <= 2).any(), colour


def test_the_legend_has_every_label(tmp_path, rng, monkeypatch):
    """Matplotlib would leave out what begins with an underscore, as the name of a folder may."""
    monkeypatch.setattr(plotting, "save", lambda figure, path: figure)
    labels = np.arange(150) % 3
    figure = plotting.scatter(rng.normal(size=(150, 2)), tmp_path / "x.png", "", labels, ("_a", "b", "__c"))
    assert [text.get_text().strip() for text in figure.axes[0].get_legend().get_texts()] == ["_a", "b", "__c"]


def test_scatter_without_labels_has_one_colour(tmp_path, rng):
    found = pixels(plotting.scatter(rng.normal(size=(50, 2)), tmp_path / "scatter.png", "title"))
    assert (found.max(axis=2) - found.min(axis=2) > 40).any()


def test_middle_lies_in_the_denser_of_two_groups(rng):
    dense, sparse = rng.normal(size=(60, 2)) * 0.1 + 5.0, rng.normal(size=(60, 2)) * 2.0 - 5.0
    assert (np.abs(plotting.middle(np.concatenate([sparse, dense])) - 5.0) < 0.5).all()
    assert plotting.middle(np.array([[1.0, 2.0]])).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("epochs", [1, 5, 100])
def test_curves(epochs, tmp_path):
    history = {f"{p}{n}": np.linspace(3, 1, epochs) for p in ("", "val_") for n in ("elbo", "distortion", "rate")}
    found = pixels(plotting.curves(history, tmp_path / "curve.png", "title"))
    assert found.shape[1] > 2 * found.shape[0]
    assert (found.max(axis=2) - found.min(axis=2) > 60).sum() > 50


@pytest.fixture
def figure(monkeypatch):
    """Pictures are figures, and are not written."""
    monkeypatch.setattr(plotting, "save", lambda figure, path: figure)


@pytest.mark.fault(108)
@pytest.mark.parametrize("classes", [2, 10, 28, 40])
def test_names_do_not_lie_on_each_other(classes, tmp_path, rng, figure):
    """Also those of classes that all lie at the same place."""
    labels = np.arange(600) % classes
    points = rng.normal(size=(600, 2))
    found = plotting.scatter(points, tmp_path / "x.png", "", labels, [f"class {i}" for i in range(classes)])
    found.draw_without_rendering()
    boxes = [text.get_window_extent() for text in found.axes[0].texts]
    assert len(boxes) == classes
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    frame = found.axes[0].get_window_extent().padded(2.0)
    assert all(frame.contains(*box.min) and frame.contains(*box.max) for box in boxes)


@pytest.mark.fault(108)
def test_classes_differ_in_shape_beside_colour():
    styles = [plotting.style_of(i) for i in range(100)]
    assert len({style["marker"] for style in styles[:10]}) == 10
    assert len({(style["marker"], style["color"]) for style in styles}) == 100


@pytest.mark.fault(108)
def test_codes_have_axes_and_tsne_has_none(tmp_path, rng, figure):
    points = rng.normal(size=(30, 2))
    [axes] = plotting.scatter(points, tmp_path / "x.png", "", axes_names=("z1", "z4")).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z1", "z4")
    assert len(axes.get_xticks()) > 2
    [axes] = plotting.scatter(points, tmp_path / "x.png", "").axes
    assert (axes.get_xlabel(), len(axes.get_xticks())) == ("t-SNE 1", 0)


@pytest.mark.fault(100)
def test_a_collapsed_code_is_a_dot(tmp_path, figure):
    """And does not fill the picture: the axes show at least what a prior takes."""
    found = plotting.scatter(np.full((50, 2), 0.3), tmp_path / "x.png", "", axes_names=("z1", "z2"))
    found.draw_without_rendering()
    assert np.ptp(found.axes[0].get_xlim()) >= plotting.LEAST
    [axes] = plotting.strips(np.full(50, 0.3), tmp_path / "x.png", "").axes
    assert np.ptp(axes.get_xlim()) >= plotting.LEAST


@pytest.mark.fault(108)
@pytest.mark.parametrize("classes", [1, 28])
def test_a_strip_for_each_class(classes, tmp_path, rng, figure):
    labels = np.arange(100) % classes
    names = [f"class {i}" for i in range(classes)]
    [axes] = plotting.strips(rng.normal(size=100), tmp_path / "x.png", "", labels, names).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert axes.get_xlabel() == "z1"


@pytest.mark.fault(108)
def test_bars_keep_the_numbers_of_the_dimensions(tmp_path, figure):
    [axes] = plotting.bars([0.5, 3.0, 1.0], tmp_path / "x.png", "").axes
    assert [bar.get_height() for bar in axes.patches] == [3.0, 1.0, 0.5]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "3", "1"]
    many = list(np.arange(plotting.MOST_BARS + 1.0))
    [axes] = plotting.bars(many, tmp_path / "x.png", "").axes
    assert [bar.get_height() for bar in axes.patches] == many, "in their own order, number i at i"


@pytest.mark.parametrize("count", [1, 20, 100, 300])
def test_bars(count, tmp_path):
    found = pixels(plotting.bars(list(np.linspace(1, 3, count)), tmp_path / "kl.png", "title"))
    assert (found.max(axis=2) - found.min(axis=2) > 60).sum() > 500


@pytest.mark.fault(96)
@pytest.mark.parametrize(("channels", "shown"), [(1, None), (2, None), (3, 3), (4, 4), (5, 3), (13, 3)])
def test_of_many_channels_the_first_are_shown(channels, shown):
    images = np.random.default_rng(0).random((2, 4, 5, channels), "float32")
    expected = images[..., 0] if shown is None else images[..., :shown]
    np.testing.assert_array_equal(plotting.as_images(images), expected)


@pytest.mark.fault(128)
def test_settings_of_the_user_do_not_count_and_stay(tmp_path):
    images = np.random.default_rng(0).random((4, 8, 8, 1))
    plain = pixels(plotting.image_grid(images, tmp_path / "plain.png", "title"))
    theirs = {"text.usetex": True, "figure.facecolor": "red", "savefig.dpi": 7, "image.origin": "lower"}
    with matplotlib.rc_context(theirs):
        drawn = pixels(plotting.image_grid(images, tmp_path / "drawn.png", "title"))
        assert {name: matplotlib.rcParams[name] for name in theirs} == theirs
    np.testing.assert_array_equal(drawn, plain)


@pytest.mark.fault(144)
@pytest.mark.parametrize(
    "name", ["W" * 200, "a\nb" * 70, "\N{CJK UNIFIED IDEOGRAPH-6F22}" * 200], ids=["W", "lines", "Han"]
)
def test_a_long_class_name_is_shortened(tmp_path, rng, name):
    labels = rng.integers(0, 3, 300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = plotting.scatter(rng.normal(size=(300, 2)), tmp_path / "s.png", "title", labels, (name, "b", "c"))
        plotting.strips(rng.normal(size=300), tmp_path / "t.png", "title", labels, (name, "b", "c"))
    dark = pixels(path).min(axis=2) < 200
    assert not dark[:, -3:].any(), "the legend ends within the picture"
    assert dark[:, : dark.shape[1] // 3].any(axis=0).sum() > dark.shape[1] // 4, "the points have room"
    assert len(plotting.shortened(name)) == plotting.LONGEST_NAME
    assert "\N{HORIZONTAL ELLIPSIS}" in plotting.shortened(name)
