"""Shapes and scenes: where an object's centre is, what a scene keeps apart, and its JSON form."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight.envs.camera import PUSH_CAMERA
from visual_foresight.envs.scene import BIN_HALF_SIZE, TIP_RADIUS, Scene, sample_scene
from visual_foresight.envs.shapes import NOVEL_SHAPES, TRAIN_SHAPES, sample_shape

kinds = st.sampled_from(TRAIN_SHAPES + NOVEL_SHAPES)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(kinds, seeds)
def test_centre_point_is_well_inside(kind, seed):
    """The centre point has 6 mm of material around it, and is at most 2 cm from the centre of mass."""
    shape = sample_shape(kind, np.random.default_rng(seed))
    assert shape.depth(np.zeros(2)) > 0.006
    assert math.hypot(*shape.centre_of_mass) < 0.020


@settings(max_examples=40, deadline=None)
@given(kinds, seeds, st.floats(-math.pi, math.pi))
def test_radius_and_extent_enclose_the_outline(kind, seed, angle):
    """No point inside lies beyond the radius or the extent, and the extent is reached to within the grid."""
    shape = sample_shape(kind, np.random.default_rng(seed))
    axis = np.arange(-0.08, 0.08, 0.001)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    inside = grid[shape.depth(grid) >= 0]
    assert np.hypot(*inside.T).max() <= shape.radius + 1e-9
    along = inside @ np.array([math.cos(angle), math.sin(angle)])
    low, high = shape.extent(angle)
    assert low - 1e-9 <= along.min() < low + 0.003 and high - 0.003 < along.max() <= high + 1e-9


def test_objects_are_five_to_twelve_pixels_across():
    """The diameter of most objects is 5 to 12 pixels."""
    scale = 1 / PUSH_CAMERA.metres_per_pixel()
    rng = np.random.default_rng(0)
    across = []
    for kind in TRAIN_SHAPES + NOVEL_SHAPES:
        for _ in range(20):
            low, high = sample_shape(kind, rng).extent(rng.uniform(-math.pi, math.pi))
            across.append((high - low) * scale)
    assert np.percentile(across, 10) >= 4 and np.percentile(across, 90) <= 12


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(["train", "novel"]), st.integers(1, 4))
def test_sampled_scenes_keep_everything_apart(seed, split, count):
    """Objects touch neither each other, nor the walls, nor the finger; shapes belong to the split."""
    scene = sample_scene(np.random.default_rng(seed), split=split, num_objects=(count, count))
    assert 1 <= len(scene.objects) <= count
    for index, item in enumerate(scene.objects):
        assert item.shape.kind in (TRAIN_SHAPES if split == "train" else NOVEL_SHAPES)
        assert max(map(abs, item.position)) + item.shape.radius < BIN_HALF_SIZE
        assert math.dist(item.position, scene.tip_position) > item.shape.radius + TIP_RADIUS
        for other in scene.objects[:index]:
            assert math.dist(item.position, other.position) > item.shape.radius + other.shape.radius


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_json_round_trip_is_exact(seed):
    """A scene written as JSON text and read again is equal to the last bit."""
    scene = sample_scene(np.random.default_rng(seed), num_objects=(1, 4))
    assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


def test_broken_scenes_are_refused():
    """Each refusal names what is wrong."""
    good = sample_scene(np.random.default_rng(0)).to_json()
    with pytest.raises(ValueError, match="not a scene of format 1"):
        Scene.from_json({})
    with pytest.raises(ValueError, match="not a scene"):
        Scene.from_json("scene")
    with pytest.raises(ValueError, match="1 to 4 objects"):
        Scene.from_json({**good, "objects": []})
    with pytest.raises(ValueError, match="broken scene: KeyError 'mass'"):
        Scene.from_json({**good, "objects": [{k: v for k, v in good["objects"][0].items() if k != "mass"}]})
    with pytest.raises(ValueError, match="must be positive"):
        Scene.from_json({**good, "objects": [{**good["objects"][0], "friction": -1.0}]})
    with pytest.raises(ValueError, match="unknown split 'test'"):
        sample_scene(np.random.default_rng(0), split="test")
    with pytest.raises(ValueError, match=r"within 1\.\.4"):
        sample_scene(np.random.default_rng(0), num_objects=(2, 9))
    with pytest.raises(ValueError, match="unknown shape 'teapot'"):
        sample_shape("teapot", np.random.default_rng(0))
