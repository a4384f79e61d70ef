"""A moved camera's pictures brought back: the laws of the way there and back, and the true renderer as the judge."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight.planners import Rectification, RectifiedController
from visual_foresight.planners.objectives import Homography

places = st.floats(-0.2, 0.2)


def turned(degrees, shift=(0.0, 0.0)):
    """A matrix that turns pixels about the middle of a picture of 64 x 64 and shifts them."""
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([31.5, 31.5])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = rotation, middle - rotation @ middle + shift
    return matrix


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(places, places), min_size=1, max_size=5), st.floats(-10, 10), st.floats(-0.0005, 0.0005))
def test_what_one_camera_sees_lands_where_the_other_sees_it(points, degrees, lean):
    """Pixels of places on the plane: present, rectified, are the recording camera's; and back."""
    recording = Homography(np.array([[-110.0, 3.0, 31.0], [2.0, 108.0, 32.0], [0.01, 0.02, 1.0]]))
    view = turned(degrees, (1.5, -2.0))
    view[2, 1] = lean  # not only turned: lines converge
    present = Homography(view @ recording.matrix)
    rectification = Rectification.between(present, recording)
    here, there = (np.asarray(camera.project(np.array(points))) for camera in (present, recording))
    np.testing.assert_allclose(rectification.pixels(here), there, atol=1e-6)
    np.testing.assert_allclose(rectification.restored_pixels(there), here, atol=1e-6)


def test_the_identity_changes_nothing():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 12, 3), dtype=np.uint8)
    maps = rng.random((2, 16, 12))
    rectification = Rectification(np.eye(3))
    np.testing.assert_array_equal(rectification.image(image), image)
    np.testing.assert_array_equal(rectification.restored_images(image[None]), image[None])
    np.testing.assert_allclose(rectification.restored_maps(maps), maps, rtol=1e-6)


def test_whole_pixels_move_whole():
    """A camera that sees all two rows lower and one column to the left; the border repeats."""
    image = np.random.default_rng(1).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    matrix = np.eye(3)
    matrix[:2, 2] = (-2, 1)
    found = Rectification(matrix).image(image)
    np.testing.assert_array_equal(found[:-2, 1:], image[2:, :-1])
    np.testing.assert_array_equal(found[-1, 1:], image[-1, :-1])
    np.testing.assert_array_equal(found[:-2, 0], image[2:, 0])


def test_a_map_keeps_its_sum_and_its_mean_follows():
    maps = np.zeros((2, 64, 64))
    maps[0, 30:33, 40:44], maps[1, 50, 20] = 1 / 12, 1.0
    rectification = Rectification(turned(5, (1.3, -0.6)))
    moved = rectification.restored_maps(maps)
    np.testing.assert_allclose(moved.sum(axis=(1, 2)), 1.0, rtol=1e-9)
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64), indexing="ij"), axis=-1)
    means = [np.einsum("thw,hwc->tc", each, grid) for each in (maps, moved)]
    np.testing.assert_allclose(means[1], rectification.restored_pixels(means[0]), atol=0.3)
    outside = Rectification(turned(0, (200, 0))).restored_maps(maps)
    assert not outside.any()


@pytest.mark.parametrize(("shift", "strength", "factor"), [("camera_pan", 1.0, 8), ("camera_tilt", -1.0, 8)])
def test_a_turned_camera_shows_what_the_usual_one_shows(shift, strength, factor):
    """The same scene through both cameras: after rectifying, the inner picture differs by far less than before."""
    from visual_foresight.benchmark.methods import camera_homography
    from visual_foresight.envs.shifts import make_shifted

    pictures, cameras = [], []
    for amount in (0.0, strength):
        env = make_shifted(shift, amount)
        pictures.append(env.reset(seed=3)[0]["image"])
        cameras.append(env.unwrapped.camera)
        env.close()
    rectification = Rectification.between(camera_homography(cameras[1]), camera_homography(cameras[0]))
    inside = (slice(5, -5), slice(5, -5))
    before, after = (
        np.mean((picture[inside].astype(float) - pictures[0][inside]) ** 2)
        for picture in (pictures[1], rectification.image(pictures[1]))
    )
    assert after * factor < before


class Recorder:
    """A controller that keeps what it is told."""

    last_plan = "the plan"

    def act(self, observation, *, pixels=None):
        self.seen = observation, pixels
        return np.zeros(2, np.float32)


def test_a_rectified_controller_is_told_what_the_recording_camera_would_see():
    rectification = Rectification(turned(0, (2, 0)))
    controller = RectifiedController(Recorder(), rectification)
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    given = {"image": image.copy(), "state": np.ones(2)}
    controller.act(given, pixels=np.array([[10.0, 20.0]]))
    seen, pixels = controller.controller.seen
    np.testing.assert_array_equal(seen["image"], rectification.image(image))
    np.testing.assert_array_equal(seen["state"], np.ones(2))
    np.testing.assert_allclose(pixels, [[12.0, 20.0]])
    np.testing.assert_array_equal(given["image"], image)  # the caller's own is left alone
    controller.act(given)
    assert controller.controller.seen[1] is None
    assert controller.last_plan == "the plan"
    assert copy.deepcopy(controller).last_plan == "the plan"
    with pytest.raises(AttributeError):
        controller.nothing  # noqa: B018


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"finite matrix \[3, 3\], got shape \[2, 3\]"):
        Rectification(np.ones((2, 3)))
    with pytest.raises(ValueError, match="finite matrix"):
        Rectification(np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="inverse"):
        Rectification(np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"an image has shape \[H, W, 3\], got \[4, 4\]"):
        Rectification(np.eye(3)).image(np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"pixels have shape \[..., 2\]"):
        Rectification(np.eye(3)).pixels(np.zeros(3))
