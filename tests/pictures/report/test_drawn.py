"""Pictures that are drawn beforehand: each tile is the mean of p(x|z) at the code that the page says."""

import numpy as np
import pytest
from keras import ops

from bicoder import VAE, Decoder, Encoder
from bicoder.evaluation.latent_space import Dimensions
from bicoder.pictures.picture import Subject
from bicoder.pictures.report.drawn import drawn

LATENT, SIDE = 4, 3
ACTIVE = [2, 0, 1]
SHAPES = {"": (SIDE * SIDE,), "grey": (SIDE, SIDE, 1), "colour": (5, 4, 3)}


@pytest.fixture
def found(rng):
    """Dimensions of codes with means and spreads of their own, of which the last one does nothing."""
    codes = rng.normal(size=(50, LATENT)) * [0.5, 1.0, 2.0, 0.0] + [0.0, 1.0, -1.0, 0.3]
    return Dimensions(codes.astype("float32"), np.ones(LATENT), True, np.array(ACTIVE))


def subject_of(*views, condition=None, names=()):
    """A subject with a model of one tensor, or of these views, whose images differ."""
    shapes = {view: SHAPES[view] for view in views} or SHAPES[""]
    vae = VAE(Encoder("mlp:hidden=[4]", LATENT), Decoder("mlp:hidden=[9]"), condition=condition, seed=0)
    vae.build({view: (None, *shape) for view, shape in shapes.items()} if views else (None, *shapes))
    for weight in vae.decoder.trainable_variables:  # neither black nor white
        weight.assign(weight * 0.3 if len(weight.shape) > 1 else weight * 0.0 + 0.5)
    images = {view: np.zeros((1, *shape)) for view, shape in shapes.items()} if views else np.zeros((1, *shapes))
    return Subject(vae, "noise", images, None, names, dict.fromkeys(views) if views else None)


def expected(subject, codes, y=None):
    """What the model makes of codes."""
    means = subject.vae.decode(np.asarray(codes, "float32"), y).mean
    means = means if subject.views else {"": means}
    return {view: np.clip(ops.convert_to_numpy(mean), 0.0, 1.0) for view, mean in means.items()}


def traversal_of(found, number):
    """The codes of a traversal, made the plain way."""
    codes = np.repeat(found.codes.mean(axis=0)[None], 11, axis=0)
    codes[:, number] += np.arange(-2.5, 3.0, 0.5) * found.codes.std(axis=0)[number]
    return codes


def test_tiles_are_traversals_and_then_reconstructions(found):
    subject = subject_of()
    sheet = drawn(subject, found, found.codes[:7])[""]
    said = sheet.for_page("drawn-0")
    assert said == {
        **{"dimensions": ACTIVE, "steps": 11, "reach": 2.5, "sheet": "drawn-0", "columns": 50},
        **{"reconstructions": 7, "said": ""},
    }
    codes = np.concatenate([*(traversal_of(found, number) for number in said["dimensions"]), found.codes[:7]])
    tiles = expected(subject, codes)[""].reshape(-1, SIDE, SIDE)
    assert tiles.std(axis=0).min() > 0.001
    np.testing.assert_allclose(sheet.images, tiles, atol=1e-6)


def test_only_the_worthiest_are_drawn(found):
    subject = subject_of()
    many = found._replace(active=np.array(ACTIVE * 3))
    assert drawn(subject, many, found.codes[:2])[""].dimensions == (ACTIVE * 3)[:8]
    none = drawn(subject, found._replace(active=np.array([], int)), found.codes[:2])[""]
    assert none.dimensions == []
    np.testing.assert_allclose(none.images, expected(subject, found.codes[:2])[""].reshape(-1, SIDE, SIDE), atol=1e-6)


def test_views_have_sheets_of_their_own(found):
    subject = subject_of("grey", "colour")
    sheets = drawn(subject, found, found.codes[:2])
    assert {view: sheet.images.shape for view, sheet in sheets.items()} == {
        "grey": (35, 3, 3),
        "colour": (35, 5, 4, 3),
    }
    tiles = expected(subject, np.concatenate([traversal_of(found, 2), found.codes[:2]]))
    for view, sheet in sheets.items():
        own = np.concatenate([sheet.images[:11], sheet.images[-2:]])
        np.testing.assert_allclose(own, tiles[view].reshape(own.shape), atol=1e-6, err_msg=view)


@pytest.mark.parametrize("soft", [False, True])
def test_of_classes_the_first_is_shown_and_each_image_has_its_own(soft, found):
    subject = subject_of(condition="labels:classes=3", names=("cat", "dog", "eel"))
    y = np.array([2.0, 1.0], "float32")
    y = np.eye(3, dtype="float32")[y.astype(int)] if soft else y
    sheet = drawn(subject, found, found.codes[:2], y)[""]
    assert sheet.said == "y = cat"
    nothing = found._replace(active=np.array([], int))
    assert drawn(subject, nothing, found.codes[:2], y)[""].said == "", "of no traversal"
    traversal = expected(subject, traversal_of(found, 2), np.zeros(11, "float32"))[""]
    np.testing.assert_allclose(sheet.images[:11], traversal.reshape(-1, SIDE, SIDE), atol=1e-6)
    own = expected(subject, found.codes[:2], y)[""]
    np.testing.assert_allclose(sheet.images[-2:], own.reshape(-1, SIDE, SIDE), atol=1e-6)


def test_without_classes_what_the_first_image_is_told_is_shown(found):
    subject = subject_of(condition="vector:shape=[2]")
    y = np.array([[0.5, -2.0], [1.0, 1.0]], "float32")
    sheet = drawn(subject, found, found.codes[:2], y)[""]
    assert sheet.said == "y of the first image"
    traversal = expected(subject, traversal_of(found, 2), np.repeat(y[:1], 11, axis=0))[""]
    np.testing.assert_allclose(sheet.images[:11], traversal.reshape(-1, SIDE, SIDE), atol=1e-6)
