"""Ways through the code: that they begin and end where they should, and what they keep on the way."""

import numpy as np
import pytest

from bicoder.evaluation.paths import along, spherical, straight


@pytest.fixture
def ends(rng):
    return rng.normal(size=(2, 6, 5))


@pytest.mark.parametrize("way", [straight, spherical])
def test_a_way_leads_from_one_code_to_the_other(way, ends):
    found = way(*ends, 7)
    assert found.shape == (6, 7, 5)
    np.testing.assert_allclose(found[:, 0], ends[0], atol=1e-12)
    np.testing.assert_allclose(found[:, -1], ends[1], atol=1e-12)


def test_the_straight_way_has_equal_steps(ends):
    steps = np.diff(straight(*ends, 5), axis=1)
    np.testing.assert_allclose(steps, np.repeat((ends[1] - ends[0])[:, None] / 4, 4, axis=1))


def test_the_spherical_way_keeps_the_length_and_turns_evenly(ends):
    unit = ends / np.linalg.norm(ends, axis=-1, keepdims=True)
    found = spherical(*unit, 9)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0)
    angles = np.arccos(np.clip((found[:, 1:] * found[:, :-1]).sum(axis=-1), -1, 1))
    whole = np.arccos((unit[0] * unit[1]).sum(axis=-1))
    np.testing.assert_allclose(angles, np.repeat(whole[:, None] / 8, 8, axis=1))
    middle = straight(*unit, 9)[:, 4]
    assert (np.linalg.norm(middle, axis=-1) < 0.99).all(), "the straight way is another"


def test_a_quarter_turn_is_known():
    found = spherical(np.array([[2.0, 0.0]]), np.array([[0.0, 2.0]]), 3)
    np.testing.assert_allclose(found[0, 1], [np.sqrt(2), np.sqrt(2)])


@pytest.mark.parametrize("end", [(3.0, 0.0), (-1.0, 0.0), (0.0, 0.0), (1.0, 1e-7)])
def test_where_there_is_no_arc_the_way_is_straight(end):
    a, b = np.array([[1.0, 0.0]], "float32"), np.array([end], "float32")
    np.testing.assert_allclose(spherical(a, b, 5), straight(a, b, 5), atol=1e-6)
    assert np.isfinite(spherical(a * 0.0, b, 5)).all()


def test_along_a_dimension_the_others_stay(rng):
    codes, values = rng.normal(size=(3, 4)), np.array([-1.0, 0.0, 5.0])
    found = along(codes, 2, values)
    np.testing.assert_array_equal(found[:, :, 2], np.tile(values, (3, 1)))
    np.testing.assert_array_equal(np.delete(found, 2, axis=2), np.delete(codes, 2, axis=1)[:, None].repeat(3, axis=1))
