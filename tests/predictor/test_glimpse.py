"""The glimpse: what it samples, how it turns, and that it reaches predictions and gradients."""

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops
from scipy import ndimage

from visual_foresight import LearnedSimulator, backend
from visual_foresight.planners.objectives import PixelDistance
from visual_foresight.predictor import glimpse, separable
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.growing import grow
from visual_foresight.predictor.predictor import VideoPredictor

SMALL = {
    "backbone": "fast", "image_height": 64, "image_width": 64, "action_size": 2, "state_size": 2, "num_masks": 3,
    "kernel_size": 9, "width": 0.25, "context_frames": 1, "stride": 3,
}  # fmt: skip


def predictor(**fields):
    """A small predictor whose weights are away from their start."""
    before = random.getstate()
    random.seed(3)  # initialisers without a seed draw one there
    made = VideoPredictor(PredictorConfig(**(SMALL | {"glimpse": 8} | fields)))
    random.setstate(before)
    rng = np.random.default_rng(5)
    for variable in made.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.05, variable.shape))
    return made


def random_frames(count=2, height=64, width=64, seed=0):
    return np.random.default_rng(seed).random((count, height, width, 3), np.float32)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(2, 9), width=st.integers(2, 9), shared=st.booleans())
def test_samples_are_those_of_bilinear_interpolation(seed, height, width, shared):
    """Against SciPy, inside and outside the picture, for a picture each and for one that all points share."""
    rng = np.random.default_rng(seed)
    images = rng.random((1 if shared else 3, height, width, 2), np.float32)
    points = rng.uniform(-3, 12, (3, 5, 2)).astype(np.float32)
    sampled = np.array(glimpse.sample(images.transpose(0, 1, 3, 2), points[..., 0], points[..., 1]))
    for index in range(3):
        image = images[0 if shared else index]
        expected = np.stack(
            [ndimage.map_coordinates(image[..., c], points[index].T, order=1, mode="nearest") for c in (0, 1)], axis=-1
        )
        np.testing.assert_allclose(sampled[index], expected, atol=1e-5)


def test_the_view_of_a_turned_picture_is_the_same():
    """A picture turned by a right angle, with the way turned along: the view is the same."""
    frames = random_frames()
    origin = np.array([[3.0, -4.0], [0.0, 9.0]], np.float32)
    axes = np.array(glimpse._axes(np.array([[5.0, 2.0], [-1.0, 4.0]], np.float32)))
    quarter = np.array([[0.0, 1.0], [-1.0, 0.0]], np.float32)  # (row, column) to (-column, row), as np.rot90 turns
    turned = np.ascontiguousarray(np.rot90(frames, axes=(1, 2)))
    before = np.array(glimpse.view(frames, origin, axes))
    after = np.array(glimpse.view(turned, origin @ quarter, axes @ quarter))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_forward_is_the_first_axis_of_a_view():
    """A white stripe across the way, eight pixels ahead, is seen in one row of points, four farther than the finger."""
    frame = np.zeros((1, 64, 64, 3), np.float32)
    frame[:, 32 + 8 - 1 : 32 + 8 + 3] = 1.0  # below the middle: rows count downward
    axes = np.array(glimpse._axes(np.array([[6.0, 0.0]], np.float32)))
    view = np.array(glimpse.view(frame, np.zeros((1, 2), np.float32), axes))
    rows = view.reshape(8, 8, 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(16, 16, 3).mean((1, 2))
    distance = 2 * np.arange(16) - 5  # ahead of the finger
    assert rows.max() > 1.6  # about grey, and times four: white is 2
    assert abs(distance[rows.argmax()] - 8.5) <= 1


def test_axes_are_orthonormal_and_a_way_of_no_length_has_some():
    """Unit vectors at right angles; finite for zero."""
    ways = np.array([[3.0, 4.0], [-0.2, 0.1], [0.0, 0.0]], np.float32)
    axes = np.array(glimpse._axes(ways))
    product = axes @ axes.transpose(0, 2, 1)
    np.testing.assert_allclose(product[:2], np.broadcast_to(np.eye(2), (2, 2, 2)), atol=1e-3)
    np.testing.assert_allclose(axes[0, 0], [0.6, 0.8], atol=1e-3)
    assert np.isfinite(axes).all()


@pytest.mark.parametrize("height, block", [(64, 2), (32, 1), (128, 4), (48, 1), (72, 2)])
def test_frames_are_coarsened_to_what_the_points_resolve(height, block):
    """Means over blocks; a draft of half the resolution is left as it is."""
    frames = random_frames(1, height, height)
    coarse = np.array(glimpse._coarse(frames))
    size = height // block
    np.testing.assert_allclose(coarse, frames.reshape(1, size, block, size, block, 3).mean((2, 4)), atol=1e-6)


def test_one_picture_beside_many_ways_equals_one_each():
    """A step from one scene with many actions gives what a batch of copies gives."""
    made = predictor()
    rng = np.random.default_rng(3)
    frame, state = random_frames(1), rng.normal(size=(1, 2)).astype(np.float32)
    actions = rng.normal(size=(4, 3, 2)).astype(np.float32)
    states = np.repeat(state, 4, axis=0)
    _, shared = made.step(made.initial_carry(frame, state), frame, actions, states)
    copies = np.repeat(frame, 4, axis=0)
    _, each = made.step(made.initial_carry(copies, states), copies, actions, states)
    np.testing.assert_allclose(np.array(shared.frame), np.array(each.frame), atol=1e-5)


def test_a_draft_imagines_nearly_the_same():
    """Half the resolution: the coarse frame is near the mean of the whole one."""
    made = predictor()
    rng = np.random.default_rng(4)
    frame = np.repeat(np.repeat(random_frames(1, 8, 8), 8, axis=1), 8, axis=2)
    actions, state = rng.normal(size=(1, 3, 2)).astype(np.float32), rng.normal(size=(1, 2)).astype(np.float32)
    carry = made.initial_carry(frame, state)
    whole = np.array(made.step(carry, frame, actions, state)[1].frame)
    draft = np.array(made.step(carry, frame, actions, state, draft=True)[1].frame)
    assert np.abs(draft - whole.reshape(1, 32, 2, 32, 2, 3).mean((2, 4))).mean() < 0.02


def test_growing_a_glimpse_changes_no_prediction_until_it_is_read():
    """Frames and states stay the same; with the glimpse's last layers away from zero they do not."""
    small = predictor(glimpse=0)
    large = grow(small, dataclasses.replace(small.config, glimpse=8))
    before = numbers_of(small)
    np.testing.assert_allclose(numbers_of(large), before, atol=1e-6)
    large.backbone.glimpse.push_head.kernel.assign(np.full((128, 2), 0.1, np.float32))
    assert np.abs(numbers_of(large) - before).max() > 1e-3


def test_bfloat16_unrolls_without_a_graph_too():
    """As the video of a training run does; frames are those of float32 but for rounding."""
    exact = predictor(moving_masks=True)
    rounded = VideoPredictor(exact.config, dtype="mixed_bfloat16")
    rounded.set_weights(exact.get_weights())
    np.testing.assert_allclose(numbers_of(rounded), numbers_of(exact), atol=0.05)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_shared_dense_layer_is_a_dense_layer(policy):
    """Of the inputs put together, in float32 whatever the layer computes in that calls it."""
    rng = np.random.default_rng(0)
    layer = glimpse._SharedDense(4, dtype="float32")
    layer.build((None, 5))
    layer.bias.assign(rng.normal(size=4))
    shared, own = rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=(2, 6, 2)).astype(np.float32)

    class Outer(layers.Layer):
        def call(self, inputs):
            return layer(ops.cast(inputs[0], "float32"), ops.cast(inputs[1], "float32"))

    together = np.concatenate([np.repeat(shared[:, None], 6, axis=1), own], axis=-1)
    expected = together @ np.array(layer.kernel) + np.array(layer.bias)
    found = np.array(Outer(dtype=policy, autocast=False)([shared, own]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def numbers_of(made, length=3, seed=6):
    """The frames that a predictor makes of a fixed sequence."""
    rng = np.random.default_rng(seed)
    sequence = (random_frames(length)[None], rng.normal(size=(1, length - 1, 3, 2)), rng.normal(size=(1, length, 2)))
    inputs = zip(("frames", "actions", "states"), sequence, strict=True)
    return np.array(made({name: values.astype(np.float32) for name, values in inputs})["frames"])


@pytest.mark.parametrize("first, second", [("glimpse", "moving_masks"), ("moving_masks", "glimpse")])
def test_parts_can_be_grown_one_after_the_other(first, second):
    """Whatever comes first: growing the second keeps the first's weights, and a glimpse changes no prediction."""
    sizes = {"glimpse": 8, "moving_masks": True}
    one = predictor(**({"glimpse": 0} | {first: sizes[first]}))
    both = grow(one, dataclasses.replace(one.config, **{second: sizes[second]}))
    part = {"glimpse": "glimpse", "moving_masks": "cut_head"}[first]
    for before, after in zip(
        getattr(one.backbone, part).variables, getattr(both.backbone, part).variables, strict=True
    ):
        np.testing.assert_array_equal(np.array(after), np.array(before))
    if second == "glimpse":
        np.testing.assert_allclose(numbers_of(both), numbers_of(one), atol=1e-6)


def test_moving_masks_keep_the_masks_of_what_is_not_moved():
    """Of the old mask head the known layers' weights, whole; cuts and kernels of the moved ones begin anew."""
    small = predictor(glimpse=0)
    large = grow(small, dataclasses.replace(small.config, moving_masks=True))
    known = len(small.layer_names) - small.config.num_masks
    old, new = (np.array(each.backbone.mask_head.kernel) for each in (small, large))
    old, new = (kernel.reshape(kernel.shape[2], 16, -1) for kernel in (old, new))
    np.testing.assert_array_equal(new, old[..., :known])
    assert not np.array(large.backbone.cut_head.kernel).any()
    assert np.array(small.backbone.kernel_head.kernel).any() and not np.array(large.backbone.kernel_head.kernel).any()
    np.testing.assert_array_equal(np.array(large.backbone.merge.kernel), np.array(small.backbone.merge.kernel))


def test_a_cut_is_moved_by_the_kernel_that_moves_the_picture():
    """Logits of one wholly cut square, moved by known kernels: plus six where it comes to lie, minus six elsewhere."""
    rows, columns = np.zeros((1, 1, 9), np.float32), np.zeros((1, 1, 9), np.float32)
    rows[0, 0, 4 - 3] = 1.0  # three pixels down: reads three above
    columns[0, 0, 4 + 2] = 1.0  # two pixels to the left
    cuts = np.full((1, 16, 16, 1), -20.0, np.float32)
    cuts[0, 5:9, 6:10] = 20.0
    moved = np.array(separable.moved_logits((rows, columns), cuts, "edge"))[0, 0]
    expected = np.full((16, 16), -6.0)
    expected[8:12, 4:8] = 6.0
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_masks_that_move_sum_to_one_and_follow_the_kernel():
    """Masks of a whole step are shares, in drafts too."""
    made = predictor(moving_masks=True)
    rng = np.random.default_rng(7)
    frame, state = random_frames(2), rng.normal(size=(2, 2)).astype(np.float32)
    action = rng.normal(size=(2, 3, 2)).astype(np.float32)
    for draft in (False, True):
        masks = np.array(made.step(made.initial_carry(frame, state), frame, action, state, draft=draft)[1].masks)
        assert masks.shape == (2, *((32, 32) if draft else (64, 64)), len(made.layer_names))
        np.testing.assert_allclose(masks.sum(-1), 1.0, atol=1e-5)


@pytest.mark.skipif(backend.backend_name() != "tensorflow", reason="takes the gradient as TensorFlow does")
@pytest.mark.parametrize("training", [True, False])
def test_in_training_gradients_reach_the_learned_point_and_not_the_frame(training):
    """The place that the glimpse follows is learned through what it shows; how it turns and the frame are given."""
    tensorflow = backend.import_tensorflow()
    made = predictor()
    layer = made.backbone.glimpse
    frame, way = tensorflow.constant(random_frames(1)), tensorflow.constant([[[0.1, 0.2]] * 3 + [[0.3, 0.1]]])
    with tensorflow.GradientTape() as tape:
        tape.watch([frame, way])
        total = ops.sum(layer(frame, way, training=training).features)
    to_frame, to_way = tape.gradient(total, [frame, way])
    assert (to_frame is None) == training
    assert np.abs(to_way.numpy()[:, 0]).max() > 0
    assert (np.abs(to_way.numpy()[:, 1:]).max() > 0) != training


def test_a_planners_gradient_goes_through_what_the_glimpse_sees():
    """The slope of a cost over two leaps, of which the second one looks at the frame that the first one made."""
    simulator = LearnedSimulator(predictor())
    frames = ndimage.gaussian_filter(random_frames(1), (0, 3, 3, 0))  # between pixels bilinear colours have no slope
    frames = (frames - frames.min()) / np.ptp(frames)
    start = simulator.start(frames, np.zeros((0, 2)), np.array([[0.2, -0.3]], np.float32), pixels=[[20.0, 30.0]])
    cost = simulator.cost_function(start, PixelDistance([30.0, 25.0]))
    rng = np.random.default_rng(4)
    actions = rng.uniform(-0.5, 0.5, (16, 6, 2)).astype(np.float32)
    directions = rng.standard_normal((8, *actions.shape)).astype(np.float32)
    gradients, step = cost.gradient(actions)[1], np.float32(3e-4)
    sides = [[cost.gradient(actions + sign * step * each)[0] for each in directions] for sign in (1, -1)]
    slopes = np.subtract(*np.array(sides, np.float64)) / (2 * step)
    expected = (gradients * directions).sum((2, 3))
    error = np.sqrt(np.mean(np.square(expected - slopes)) / np.mean(np.square(slopes)))
    assert error < 0.15


@pytest.mark.parametrize(
    "fields, error, message",
    [
        ({"glimpse": -1}, ValueError, "glimpse must be at least 0, got -1"),
        ({"glimpse": 1.5}, TypeError, "glimpse must be an integer, got 1.5"),
        ({"glimpse": True}, TypeError, "glimpse must be an integer, got True"),
        ({"moving_masks": 1}, TypeError, "moving_masks must be True or False, got 1"),
        ({"glimpse": 0, "moving_masks": True, "transformation": "stp"}, ValueError, "moving_masks must be False but"),
        ({"use_state": False}, ValueError, "glimpse must be 0 but for a fast cdna predictor"),
        ({"transformation": "stp"}, ValueError, "glimpse must be 0 but for a fast cdna predictor"),
        ({"backbone": "seed", "stride": 1}, ValueError, "glimpse must be 0 but for a fast cdna predictor"),
    ],
)
def test_impossible_glimpses_are_refused(fields, error, message):
    """Each with what was given."""
    with pytest.raises(error, match=message):
        PredictorConfig(**(SMALL | {"glimpse": 8} | fields))
