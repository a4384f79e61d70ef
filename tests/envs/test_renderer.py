"""The ray-cast renderer: its short cuts change no pixel."""

import numpy as np
import pytest

from visual_foresight.envs.camera import PUSH_CAMERA
from visual_foresight.envs.physics import Physics
from visual_foresight.envs.renderer import RayRenderer
from visual_foresight.envs.scene import sample_scene


def physics_of(seed):
    physics = Physics(sample_scene(np.random.default_rng(seed), split=("train", "novel")[seed % 2], num_objects=(1, 4)))
    physics.start()
    for action in np.random.default_rng(seed).uniform(-1, 1, (3, 2)):
        physics.step(action)
    return physics


def test_short_cuts_change_no_pixel():
    """Casting rays only inside outlines and shadows gives the picture that casting all of them gives."""
    quick, slow = RayRenderer(PUSH_CAMERA), RayRenderer(PUSH_CAMERA)
    slow._pixels_covering = lambda centres, radii: np.ones(64 * 64, bool)
    for seed in range(12):
        physics = physics_of(seed)
        np.testing.assert_array_equal(quick.render(physics), slow.render(physics))


def test_a_picture_does_not_depend_on_the_one_before():
    """A renderer that drew other scenes draws the same picture as a new one."""
    used = RayRenderer(PUSH_CAMERA)
    for seed in range(3):
        used.render(physics_of(seed))
    physics = physics_of(3)
    np.testing.assert_array_equal(used.render(physics), RayRenderer(PUSH_CAMERA).render(physics))


def test_colours_are_where_the_camera_says():
    """The tip's pixel is magenta, and each visible object's pixel has its hue."""
    renderer = RayRenderer(PUSH_CAMERA)
    for seed in range(0, 12, 2):
        physics = physics_of(seed)
        picture = renderer.render(physics).astype(float)
        red, green, blue = _at(picture, PUSH_CAMERA.project([*physics.tip_position, 0.034]))
        assert red > 1.5 * green and blue > 1.2 * green
        poses = physics.object_poses()
        points = np.concatenate([poses[:, :2], physics.heights[:, None]], axis=1)
        for item, point, hidden in zip(
            physics.scene.objects, points, physics.arm_hides(np.array(PUSH_CAMERA.eye), points), strict=True
        ):
            if not hidden:
                shown = _at(picture, PUSH_CAMERA.project(point))
                cosine = shown @ item.colour / np.linalg.norm(shown) / np.linalg.norm(item.colour)
                assert cosine > 0.95


def _at(picture, pixel):
    row, col = np.rint(pixel).astype(int)
    return picture[row, col]


def test_size_supersampling_and_shadows():
    """A larger picture averaged down resembles the small one; shadows only darken."""
    physics = physics_of(4)
    small = RayRenderer(PUSH_CAMERA).render(physics).astype(float)
    large = RayRenderer(PUSH_CAMERA.resized(256)).render(physics).astype(float)
    assert np.abs(large.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3)) - small).mean() < 2.5
    bright = RayRenderer(PUSH_CAMERA, shadows=False).render(physics).astype(float)
    assert (bright - small).min() >= 0 and (bright - small).max() > 10


def test_supersampling_is_checked():
    """Nonsense is refused."""
    with pytest.raises(ValueError, match="supersampling"):
        RayRenderer(PUSH_CAMERA, supersampling=99)
