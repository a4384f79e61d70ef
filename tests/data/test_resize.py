"""Crop and resize against TensorFlow's operations and slow definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_foresight.backend import import_tensorflow
from visual_foresight.episode import Episode
from visual_foresight.formats import ReadOptions
from visual_foresight.formats.resize import (
    area_weights,
    bicubic_weights,
    crop_box,
    preprocess_episode,
    resize_frames,
)


def random_frames(height, width, count=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(24, 24), (13, 17), (7, 9), (30, 11)])
def test_seed_resize_is_tensorflows_legacy_bicubic(size):
    """Crop and bicubic equal the original's two TensorFlow operations, rounded and clipped."""
    tf = import_tensorflow()
    frames = random_frames(*size)
    side = min(size)
    cropped = tf.image.resize_with_crop_or_pad(frames, side, side)
    expected = tf.raw_ops.ResizeBicubic(
        images=tf.cast(cropped, tf.float32), size=(8, 8), align_corners=False, half_pixel_centers=False
    )
    expected = np.clip(np.rint(expected.numpy()), 0, 255)
    found = resize_frames(frames, "seed", (8, 8)).astype(int)
    # Both round to 8 bits; a value on the edge between two may fall either way.
    assert np.abs(found - expected).max() <= 1
    assert np.mean(found != expected) < 0.01


@pytest.mark.parametrize("size", [(24, 24), (13, 13), (20, 30)])
def test_antialias_is_tensorflows_area_resize(size):
    """Crop and area average equal `resize_with_crop_or_pad` + `ResizeArea`, rounded."""
    tf = import_tensorflow()
    frames = random_frames(*size)
    side = min(size)
    cropped = tf.image.resize_with_crop_or_pad(frames, side, side)
    expected = tf.raw_ops.ResizeArea(images=cropped, size=(8, 8), align_corners=False).numpy()
    assert np.abs(resize_frames(frames, "antialias", (8, 8)) - expected).max() <= 0.51


def test_whole_ratios_take_every_nth_pixel_or_the_block_mean():
    """At whole ratios the seed's bicubic is a stride, and antialias the mean of blocks."""
    frames = random_frames(16, 20)
    np.testing.assert_array_equal(resize_frames(frames, "seed", (8, 8)), frames[:, ::2, 2:18:2])
    blocks = frames[:, :, 2:18].reshape(2, 8, 2, 8, 2, 3).mean(axis=(2, 4))
    np.testing.assert_array_equal(resize_frames(frames, "antialias", (8, 8)), np.rint(blocks))


def test_what_fits_already_is_not_touched():
    """The stored size, and `none`, return the very frames."""
    frames = random_frames(8, 8)
    assert resize_frames(frames, "seed", (8, 8)) is frames
    assert resize_frames(frames, "none", (4, 4)) is frames


@given(source=st.integers(1, 40), target=st.integers(1, 40))
def test_weights_keep_a_constant_picture(source, target):
    """Every target pixel's weights sum to 1, for both ways, up or down."""
    for weights in (bicubic_weights(source, target), area_weights(source, target)):
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)


@given(height=st.integers(1, 60), width=st.integers(1, 60), rows=st.integers(1, 12), columns=st.integers(1, 12))
def test_the_crop_is_centred_inside_and_of_the_right_proportions(height, width, rows, columns):
    """The box lies inside, is centred to a pixel, touches two sides, and is at most a pixel off the proportions."""
    top, left, box_height, box_width = crop_box(height, width, (rows, columns))
    assert 0 <= top and 0 <= left and top + box_height <= height and left + box_width <= width
    assert abs((height - box_height) - 2 * top) <= 1 and abs((width - box_width) - 2 * left) <= 1
    assert box_height == height or box_width == width
    assert min(box_height, box_width) == 1 or abs(box_height * columns - box_width * rows) < max(rows, columns)


@pytest.mark.parametrize("preprocess", ["seed", "antialias"])
def test_designated_pixels_move_with_the_picture(preprocess):
    """A bright block of the stored picture is found at the moved pixel of the small one."""
    frames = np.zeros((1, 64, 80, 3), np.uint8)
    frames[0, 40:44, 28:32] = 255  # centre (41.5, 29.5)
    pixels = np.array([[[41.5, 29.5]]])
    episode = Episode(frames, extras={"object_pixels": pixels, "other": pixels})
    small = preprocess_episode(episode, ReadOptions(preprocess, (16, 16)))
    row, column = np.argwhere(small.frames[0, :, :, 0] == 255)[0]
    moved = small.extras["object_pixels"][0, 0]
    # The seed takes the block's first pixel, area averages have its centre: half a pixel of the small picture apart.
    np.testing.assert_allclose(moved, [row, column], atol=0.5 if preprocess == "seed" else 1e-6)
    np.testing.assert_array_equal(small.extras["other"], pixels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preprocess": "nearest"}, "preprocess must be one of seed, antialias, none, got 'nearest'"),
        ({"image_size": (0, 4)}, "image_size must be"),
        ({"image_size": 64}, "image_size must be"),
        ({"max_frames": 0}, "max_frames must be at least 1"),
    ],
)
def test_wrong_reading_options_are_refused(arguments, message):
    """Options out of range are named."""
    with pytest.raises((ValueError, TypeError), match=message):
        ReadOptions(**arguments)
