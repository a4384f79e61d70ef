"""Registration on pictures whose motion is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, shift

from visual_foresight.planners.objectives import PixelDistance, RegistrationTracker, register
from visual_foresight.planners.objectives.registration import confidences
from visual_foresight.rollout import Rollout

SIZE = 48


def texture(seed=0):
    """Smooth random colours in [0.1, 0.9]: every patch is unique."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(SIZE, SIZE, 3)), (1.5, 1.5, 0.0))
    return np.clip(0.5 + 0.2 * noise / noise.std(), 0.1, 0.9)


def moved(image, rows, cols):
    return shift(image, (rows, cols, 0.0), order=3, mode="nearest").clip(0.0, 1.0)


def scene(place, colour=(0.9, 0.2, 0.1), hidden=False):
    """A disc of radius 4 on a plain table, or an arm over it."""
    rows, cols = np.mgrid[:SIZE, :SIZE]
    image = np.full((SIZE, SIZE, 3), 0.5)
    image[np.hypot(rows - place[0], cols - place[1]) <= 4.0] = colour
    if hidden:
        image[:, int(place[1]) - 5 : int(place[1]) + 6] = (0.1, 0.1, 0.1)
    return image


def slow_patch_errors(source, target, middle, window):
    """The definition in loops: a Gaussian-weighted mean of squared differences, edges continued."""
    errors = np.zeros(source.shape[:2])
    inside = lambda row, col: (min(max(row, 0), SIZE - 1), min(max(col, 0), SIZE - 1))  # noqa: E731
    for row in range(SIZE):
        for col in range(SIZE):
            total, mass = 0.0, 0.0
            for dr in range(-window, window + 1):
                for dc in range(-window, window + 1):
                    weight = np.exp(-2.0 * (dr**2 + dc**2) / window**2)
                    there = target[inside(row + dr, col + dc)] - source[inside(middle[0] + dr, middle[1] + dc)]
                    total, mass = total + weight * np.sum(there**2), mass + 3.0 * weight
            errors[row, col] = total / mass
    return errors


def test_patch_errors_are_their_definition():
    from visual_foresight.planners.objectives.registration import _patch_errors

    source, target = texture(1), texture(2)
    middle = np.array([3, 44])  # near a corner: the patch reaches over the edge
    found = _patch_errors(source, target, middle, 3)
    np.testing.assert_allclose(found, slow_patch_errors(source, target, middle, 3), atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(-8, 8), cols=st.integers(-8, 8), seed=st.integers(0, 5))
def test_known_translations_are_found_exactly(rows, cols, seed):
    source = texture(seed)
    found = register(source, np.roll(source, (rows, cols), axis=(0, 1)), [[24.0, 20.0], [18.5, 27.25]])
    np.testing.assert_allclose(found.pixels, [[24.0 + rows, 20.0 + cols], [18.5 + rows, 27.25 + cols]], atol=0.05)
    assert np.all(found.errors < 1e-9)


@settings(max_examples=20, deadline=None)
@given(rows=st.floats(-5, 5), cols=st.floats(-5, 5))
def test_fractions_of_a_pixel_are_found_too(rows, cols):
    source = texture()
    found = register(source, moved(source, rows, cols), [[24.0, 20.0]])
    np.testing.assert_allclose(found.pixels, [[24.0 + rows, 20.0 + cols]], atol=0.15)


def test_nothing_moved_nothing_is_moved_also_without_texture():
    """On a plain table all matches are equal: the nearest wins."""
    plain = np.full((SIZE, SIZE, 3), 0.5)
    for image in (texture(), plain, (255 * texture()).astype(np.uint8)):
        found = register(image, image, [[24.0, 20.0], [0.0, 47.0]])
        np.testing.assert_allclose(found.pixels, [[24, 20], [0, 47]], atol=0.05)


def test_an_object_is_followed_over_a_plain_table():
    found = register(scene((20, 20)), scene((27, 31)), [[20.0, 20.0]])
    np.testing.assert_allclose(found.pixels, [[27, 31]], atol=0.1)


def test_what_lies_beyond_reach_is_not_considered():
    source = texture()
    target = np.roll(source, (9, 0), axis=(0, 1))
    near = register(source, target, [[20.0, 20.0]], reach=5.0)
    assert np.hypot(*(near.pixels[0] - [20.0, 20.0])) <= 5.0 + 1.0
    assert near.errors[0] > 100.0 * register(source, target, [[20.0, 20.0]], reach=9.0).errors[0]


def test_the_better_match_has_the_larger_confidence():
    np.testing.assert_allclose(confidences(np.array([[0.01], [0.01]])), 0.5)
    shares = confidences(np.array([[0.0, 0.04], [0.03, 0.01]]))
    np.testing.assert_allclose(shares.sum(axis=0), 1.0)
    assert shares[0, 0] > 0.99
    np.testing.assert_allclose(shares[1, 1] / shares[0, 1], 4.0, rtol=0.01)


def test_the_goal_frame_takes_over_where_the_object_changed_its_looks():
    """The object turns (here: another colour) on its way; then the goal frame knows it better than the start frame."""
    red, blue = (0.9, 0.2, 0.1), (0.1, 0.2, 0.9)
    tracker = RegistrationTracker(
        scene((20, 12), red), [[20.0, 12.0]], [[25.0, 40.0]], goal_frame=scene((25, 40), blue), reach=25.0
    )
    early, late = tracker.locate(scene((21, 15), red)), tracker.locate(scene((24, 33), blue))
    assert early.confidences[0] > 0.9
    assert late.confidences[1] > 0.9
    np.testing.assert_allclose(early.pixels[0], [21, 15], atol=0.1)
    np.testing.assert_allclose(late.pixels[1], [24, 33], atol=0.1)


def test_a_hidden_object_fits_badly():
    tracker = RegistrationTracker(scene((20, 20)), [[20.0, 20.0]], [[20.0, 35.0]])
    seen, hidden = tracker.locate(scene((22, 24))), tracker.locate(scene((22, 24), hidden=True))
    assert hidden.errors[0] > 50.0 * max(seen.errors[0], 1e-4)


def test_the_objective_is_the_weighted_distance_of_what_was_found():
    goals = np.array([[25.0, 40.0], [5.0, 6.0]])
    image = texture()
    tracker = RegistrationTracker(image, [[20.0, 12.0], [30.0, 30.0]], goals, goal_frame=texture(3))
    found = tracker.locate(image)
    assert found.pixels.shape == (4, 2)
    rollout = Rollout(np.zeros((1, 1, 2)), pixels=found.pixels[None, None])
    distances = np.linalg.norm(found.pixels - np.tile(goals, (2, 1)), axis=1)
    expected = np.sum(distances * found.confidences) / found.confidences.sum()
    assert tracker.objective(found)(rollout)[0] == pytest.approx(expected, rel=1e-5)
    assert isinstance(tracker.objective(found, scale=2.0), PixelDistance)
    assert tracker.objective(found, scale=2.0)(rollout)[0] == pytest.approx(expected / 2.0, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: register(texture(), texture()[:40], [[1, 2]]), "differ in shape"),
        (lambda: register(texture()[..., 0], texture(), [[1, 2]]), r"source must be a frame \[H, W, 3\]"),
        (lambda: register(texture(), texture().astype(int), [[1, 2]]), "target must be a frame"),
        (lambda: register(texture(), texture(), [[1, 200]]), "inside the 48x48 frame"),
        (lambda: register(texture(), texture(), [[1, 2]], window=0), "window must be"),
        (lambda: register(texture(), texture(), [[1, 2]], reach=-1.0), "reach must lie in"),
        (lambda: RegistrationTracker(texture(), [[1, 2]], [[1, 2], [3, 4]]), "2 goals for 1 pixels"),
        (lambda: RegistrationTracker(texture(), [[1, 90]], [[1, 2]]), "inside the 48x48 frame"),
    ],
)
def test_what_cannot_be_registered_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
