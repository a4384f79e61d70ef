"""Points followed through true frames: found where they went, left out where that is not certain."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates

sys.path.insert(0, str(Path(__file__).parent))

from visual_foresight.backend import compile_function, silence_start_up  # noqa: E402

silence_start_up()

from visual_foresight.train import following  # noqa: E402

SIZE = 40


def scene(seed, height=SIZE, width=SIZE):
    """A random smooth picture [H, W, 3] in [0, 1]."""
    picture = gaussian_filter(np.random.default_rng(seed).random((height, width, 3)), (2, 2, 0))
    return ((picture - picture.min()) / (picture.max() - picture.min())).astype(np.float32)


def moved(picture, middle, shift, angle):
    """The picture turned by `angle` about `middle` and shifted: what was at `middle` is then at `middle + shift`."""
    grid = np.stack(np.meshgrid(*map(np.arange, picture.shape[:2]), indexing="ij"), axis=-1) - middle - shift
    row, column = np.cos(angle) * grid[..., 0] + np.sin(angle) * grid[..., 1], np.cos(angle) * grid[..., 1]
    column = column - np.sin(angle) * grid[..., 0]
    places = [row + middle[0], column + middle[1]]
    colours = [map_coordinates(picture[..., index], places, order=1, mode="nearest") for index in range(3)]
    return np.stack(colours, axis=-1).astype(np.float32)


compiled = compile_function(following.register)


def register(before, after, point, guess):
    found = compiled(*(np.asarray(value, np.float32)[None] for value in (before, after, [point], [guess])))
    return tuple(np.asarray(value)[0, 0] for value in found)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 1000), st.floats(-2, 2), st.floats(-2, 2), st.floats(-0.3, 0.3), st.floats(-1.5, 1.5),
    st.floats(-1.5, 1.5),
)  # fmt: skip
def test_a_patch_is_found_where_it_was_shifted_and_turned_to(seed, down, across, angle, row_error, column_error):
    middle, shift = np.array([19.0, 21.0]), np.array([down, across])
    before = scene(seed)
    after = moved(before, middle, shift, angle)
    place, doubt, _ = register(before, after, middle, middle + shift + [row_error, column_error])
    if doubt < following._MOST_DOUBT:  # a start too far off on this picture says so itself
        np.testing.assert_allclose(place, middle + shift, atol=0.25)


def test_most_patches_are_believed():
    """The test above would pass on a method that never believes anything."""
    middle, shift = np.array([19.0, 21.0]), np.array([1.2, -0.7])
    doubts, textures = [], []
    for seed in range(20):
        before = scene(seed)
        after = moved(before, middle, shift, 0.15)
        _, doubt, texture = register(before, after, middle, middle + shift + [0.8, -0.8])
        doubts.append(doubt)
        textures.append(texture)
    sure = (np.array(doubts) < following._MOST_DOUBT) & (np.array(textures) > following._LEAST_TEXTURE)
    assert sure.mean() >= 0.8


def test_what_hides_a_part_of_the_patch_does_not_pull_it():
    middle, shift = np.array([19.0, 21.0]), np.array([2.0, 1.0])
    before = scene(3)
    after = moved(before, middle, shift, 0.0)
    after[:, 27:30] = 1.0  # an arm comes to stand beside the point
    place, _, _ = register(before, after, middle, middle + shift + [0.7, -0.5])
    np.testing.assert_allclose(place, middle + shift, atol=0.2)


def test_an_even_table_holds_nothing():
    even = np.full((SIZE, SIZE, 3), 0.4, np.float32)
    place, _, texture = register(even, even, [20.0, 20.0], [21.0, 20.0])
    assert texture < following._LEAST_TEXTURE
    np.testing.assert_allclose(place, [21.0, 20.0], atol=1e-3)  # the guess, for want of anything better


def test_another_picture_is_doubted():
    _, doubt, _ = register(scene(0), scene(1), [20.0, 20.0], [20.0, 20.0])
    assert doubt > following._MOST_DOUBT


def scores(frames, points, maps):
    batch = [np.asarray(value, np.float32)[None] for value in (frames, points, maps)]
    return np.asarray(following.map_scores(*batch))[0]


def maps_at(*places):
    """Maps [N, H, W, P] with all mass at whole places [N, P, 2]."""
    maps = np.zeros((len(places), SIZE, SIZE, len(places[0])), np.float32)
    for step, points in enumerate(places):
        for index, (row, column) in enumerate(points):
            maps[step, row, column, index] = 1
    return maps


def test_maps_are_charged_where_the_point_went():
    """Two steps of two pixels each; a map beside the place by two pixels is charged two."""
    frames = [scene(5)]
    for step in range(2):
        frames.append(moved(frames[-1], np.array([20.0 + 2 * step, 20.0]), np.array([2.0, 0.0]), 0.0))
    right = scores(frames, [[20, 20]], maps_at([[22, 20]], [[24, 20]]))
    np.testing.assert_allclose(right, 0, atol=0.1)
    beside = scores(frames, [[20, 20]], maps_at([[22, 22]], [[24, 22]]))
    np.testing.assert_allclose(beside, 2.0, atol=0.15)


def test_points_that_are_none_and_points_that_are_lost_are_not_charged():
    before, other = scene(0), scene(1)
    assert scores([before, before], [[-1, -1]], np.zeros((1, SIZE, SIZE, 1))) == pytest.approx(0, abs=1e-6)
    assert scores([before, other], [[20, 20]], maps_at([[5, 5]])) == pytest.approx(0, abs=1e-6)
    # Lost in the first step: not found again in the second.
    lost = scores([before, other, other], [[20, 20]], maps_at([[5, 5]], [[5, 5]]))
    np.testing.assert_allclose(lost, 0, atol=1e-6)


def test_the_mean_over_windows_is_the_mean_over_points_that_were_found():
    before = scene(2)
    frames = np.stack([[before, before]] * 2)
    points = np.array([[[20, 20], [12, 25]], [[18, 14], [-1, -1]]], np.float32)
    maps = np.zeros((2, 1, SIZE, SIZE, 2), np.float32)
    for window, index, row, column in ((0, 0, 20, 21), (0, 1, 14, 25), (1, 0, 18, 17)):  # 1, 2 and 3 px beside
        maps[window, 0, row, column, index] = 1
    found = np.asarray(following.map_scores(frames, points, maps))
    assert found.shape == (2, 1)
    assert found.mean() == pytest.approx(2.0, abs=0.1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9), st.integers(2, 9))
def test_ranked_scores_are_the_integrals_of_the_definition(seed, height, width):
    """For whole places: the sum over the lines between pixels, written as the definition reads."""
    rng = np.random.default_rng(seed)
    maps = rng.random((2, height, width, 3)) ** 4
    maps /= maps.sum(axis=(1, 2), keepdims=True)
    places = np.stack([rng.integers(0, height, (2, 3)), rng.integers(0, width, (2, 3))], axis=-1)
    expected = np.zeros((2, 3))
    for axis in (0, 1):
        for line in np.arange(maps.shape[1 + axis]) + 0.5:
            below = np.arange(maps.shape[1 + axis]) < line
            share = maps.sum(axis=2 - axis)[:, below].sum(axis=1)  # [B, P]
            expected += (share - (places[..., axis] < line)) ** 2
    found = following.ranked_scores(maps.astype(np.float32), places.astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_map_of_one_pixel_is_charged_its_distance():
    maps = np.zeros((1, 12, 12, 1), np.float32)
    maps[0, 3, 4] = 1
    score = following.ranked_scores(maps, np.array([[[6.0, 9.0]]], np.float32))
    assert np.asarray(score) == pytest.approx(3 + 5)
    assert np.asarray(following.ranked_scores(maps, np.array([[[3.0, 4.0]]], np.float32))) == pytest.approx(0, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 3.0))
def test_no_map_scores_better_than_the_true_chances(seed, power):
    """The mean score over places drawn from a map is lowest for the map itself, not for a sharper or a flatter one."""
    rng = np.random.default_rng(seed)
    true = rng.random((6, 7)) ** 3
    true /= true.sum()
    other = true**power
    other /= other.sum()
    places = np.stack(np.meshgrid(np.arange(6), np.arange(7), indexing="ij"), axis=-1).reshape(-1, 1, 2)
    means = []
    for shown in (true, other):
        maps = np.repeat(shown[None, :, :, None], len(places), axis=0).astype(np.float32)
        means.append((np.asarray(following.ranked_scores(maps, places.astype(np.float32)))[:, 0] * true.ravel()).sum())
    assert means[0] <= means[1] + 1e-6


def test_point_maps_have_their_mass_at_the_point_and_none_without_one():
    maps = np.asarray(following.point_maps(np.array([[[3, 4], [-1, -1]]], np.float32), 8, 6))
    assert maps.shape == (1, 8, 6, 2)
    assert maps[0, 3, 4, 0] == 1 and maps[..., 0].sum() == 1 and maps[..., 1].sum() == 0
