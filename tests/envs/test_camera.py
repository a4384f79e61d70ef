"""Laws of the projection."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight.envs.camera import PUSH_CAMERA, Camera

inside = st.floats(-0.25, 0.25)
height = st.floats(0.0, 0.2)
pixel = st.floats(-0.5, 63.5)


@settings(deadline=None)
@given(inside, inside, height)
def test_unproject_undoes_project(x, y, z):
    """A point projected and taken back to its own height is the point."""
    point = np.array([x, y, z])
    np.testing.assert_allclose(PUSH_CAMERA.unproject(PUSH_CAMERA.project(point), z), point, atol=1e-12)


@settings(deadline=None)
@given(pixel, pixel, height)
def test_project_undoes_unproject(row, col, z):
    """A pixel taken to any height projects back onto itself."""
    point = PUSH_CAMERA.unproject(np.array([row, col]), z)
    np.testing.assert_allclose(PUSH_CAMERA.project(point), [row, col], atol=1e-9)


@settings(deadline=None)
@given(inside, inside, height, st.floats(-3, 3))
def test_all_points_of_a_ray_share_a_pixel(x, y, z, stretch):
    """Moving a point along its own ray does not move its pixel."""
    eye, point = np.array(PUSH_CAMERA.eye), np.array([x, y, z])
    along = eye + (point - eye) * 2.0**stretch
    np.testing.assert_allclose(PUSH_CAMERA.project(along), PUSH_CAMERA.project(point), atol=1e-9)


@settings(deadline=None)
@given(inside, inside, height, st.integers(2, 6))
def test_resizing_scales_pixels_about_the_corner(x, y, z, factor):
    """At `factor` times the resolution, a distance from the picture's corner is `factor` times as many pixels."""
    point = np.array([x, y, z])
    small, large = PUSH_CAMERA.project(point), PUSH_CAMERA.resized(64 * factor).project(point)
    np.testing.assert_allclose(large + 0.5, factor * (small + 0.5), atol=1e-9)


def test_directions_and_middle():
    """x is right, y and z are up in the picture, and the target is in its middle."""
    row, col = PUSH_CAMERA.project(np.zeros(3))
    assert PUSH_CAMERA.project([0.1, 0, 0])[1] > col
    assert PUSH_CAMERA.project([0, 0.1, 0])[0] < row
    assert PUSH_CAMERA.project([0, 0, 0.1])[0] < row
    np.testing.assert_allclose(PUSH_CAMERA.project(PUSH_CAMERA.target), [31.5, 31.5], atol=1e-9)


def test_the_whole_bin_fills_the_picture():
    """Every corner of the bin's floor is in view, and the bin is at least 50 of 64 pixels wide and high."""
    corners = PUSH_CAMERA.project(np.array([[x, y, 0.0] for x in (-0.25, 0.25) for y in (-0.25, 0.25)]))
    assert corners.min() > 0 and corners.max() < 63
    assert np.ptp(corners, axis=0).min() > 50


def test_metres_per_pixel_is_the_shift_of_one_pixel():
    """Moving a point sideways by the stated width moves it by one pixel."""
    width = PUSH_CAMERA.metres_per_pixel((0.0, 0.1, 0.03))
    before, after = PUSH_CAMERA.project([0, 0.1, 0.03]), PUSH_CAMERA.project([width, 0.1, 0.03])
    np.testing.assert_allclose(after - before, [0, 1], atol=1e-9)
    assert 105 < 1 / PUSH_CAMERA.metres_per_pixel() < 115


@settings(max_examples=20, deadline=None)
@given(st.floats(0.5, 2), st.floats(-0.5, 0.5))
def test_points_behind_the_camera_are_refused(distance, aside):
    """A point behind the camera has no pixel."""
    behind = np.array(PUSH_CAMERA.eye) + distance * PUSH_CAMERA.axes[2] + aside * PUSH_CAMERA.axes[0]
    with pytest.raises(ValueError, match="behind the camera"):
        PUSH_CAMERA.project(behind)


def test_bad_arguments_are_named():
    """Each refusal says what is wrong."""
    with pytest.raises(ValueError, match=r"\[\.\.\., 3\]"):
        PUSH_CAMERA.project(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="field_of_view"):
        Camera((0, -1, 1), (0, 0, 0), 0.0)
    with pytest.raises(ValueError, match="straight down"):
        Camera((0, 0, 1), (0, 0, 0), 30.0)
    with pytest.raises(ValueError, match="does not meet"):
        PUSH_CAMERA.unproject(np.array([30.0, 30.0]), 5.0)
