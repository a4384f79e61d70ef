"""What every backbone with every transformation promises."""

import functools
import random

import numpy as np
import pytest
from keras import ops, tree

from visual_foresight.predictor import transformations
from visual_foresight.predictor.backbone import BACKBONES
from visual_foresight.predictor.compositor import num_layers, num_painted
from visual_foresight.predictor.config import BACKBONE_NAMES, TRANSFORMATIONS, PredictorConfig
from visual_foresight.predictor.predictor import VideoPredictor
from visual_foresight.statistics import Statistics

HEIGHT, WIDTH, ACTION, STATE = 16, 24, 2, 3
COMBINATIONS = [
    pytest.param(
        backbone, transformation, use_state, id=f"{backbone}-{transformation}-{'state' if use_state else 'blind'}"
    )
    for backbone in BACKBONES
    for transformation in TRANSFORMATIONS
    for use_state in (True, False)
]


@functools.cache
def shared_predictor(backbone, transformation, use_state=True):
    """One predictor for all tests that do not change it: what it has compiled stays."""
    return make_predictor(backbone, transformation, use_state)


def make_predictor(backbone, transformation, use_state=True, dtype=None, statistics=None, **fields):
    """A small predictor of rectangular images, its weights away from their start."""
    fields = {
        "num_masks": 1 if transformation == "dna" else 3,
        "image_height": HEIGHT,
        "image_width": WIDTH,
        "action_size": ACTION,
        "state_size": STATE,
        "width": 0.25,
        **fields,
    }
    config = PredictorConfig(transformation=transformation, backbone=backbone, use_state=use_state, **fields)
    before = random.getstate()
    random.seed(5)  # initialisers draw their seeds there; chance would decide how large logits, and their rounding, are
    predictor = VideoPredictor(config, statistics, dtype=dtype)
    random.setstate(before)
    rng = np.random.default_rng(5)
    # Without layer norms, larger weights would magnify rounding errors beyond what the tests allow.
    deviation = 0.1 if backbone == "seed" else 0.05
    for variable in predictor.trainable_variables:
        variable.assign(variable + rng.normal(0, deviation, variable.shape))
    return predictor


def make_sequence(batch=2, length=5, seed=0, height=HEIGHT, width=WIDTH):
    """Frames, actions and states at random."""
    rng = np.random.default_rng(seed)
    return (
        rng.random((batch, length, height, width, 3), np.float32),
        rng.normal(size=(batch, length - 1, ACTION)).astype(np.float32),
        rng.normal(size=(batch, length, STATE)).astype(np.float32),
    )


def make_maps(batch=2, count=2, seed=1):
    """Probability maps [B, H, W, P] that sum to 1."""
    maps = np.random.default_rng(seed).random((batch, HEIGHT, WIDTH, count), np.float32) ** 8
    return maps / maps.sum((1, 2), keepdims=True)


def test_every_name_has_a_backbone():
    """The config accepts exactly the registered backbones."""
    assert sorted(BACKBONES) == sorted(BACKBONE_NAMES)


@pytest.mark.parametrize("backbone,transformation,use_state", COMBINATIONS)
def test_step_keeps_its_contract(backbone, transformation, use_state):
    """Shapes and types of all outputs; the carry keeps its structure; masks and maps sum to 1."""
    predictor = shared_predictor(backbone, transformation, use_state)
    frames, actions, states = make_sequence()
    maps = make_maps()
    carry = predictor.initial_carry(frames[:, 0], states[:, 0], maps)
    following, prediction = predictor.step(carry, frames[:, 0], actions[:, 0], states[:, 0], maps)
    tree.assert_same_structure(carry, following)
    for before, after in zip(tree.flatten(carry), tree.flatten(following), strict=True):
        assert before.shape == after.shape and before.dtype == after.dtype
        assert before.shape[0] == 2, "every carried tensor leads with the batch"
    assert prediction.frame.shape == (2, HEIGHT, WIDTH, 3)
    assert prediction.state.shape == (2, STATE)
    assert prediction.masks.shape == (2, HEIGHT, WIDTH, len(predictor.layer_names))
    np.testing.assert_allclose(np.sum(prediction.masks, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(np.sum(prediction.maps, axis=(1, 2)), 1, atol=1e-5)
    assert np.min(prediction.maps) >= 0
    assert -1e-6 <= np.min(prediction.frame) and np.max(prediction.frame) <= 1 + 1e-6


@pytest.mark.parametrize("backbone,transformation,use_state", COMBINATIONS)
def test_one_scene_serves_many_futures(backbone, transformation, use_state):
    """A scene of leading axis 1 beside three actions predicts what the repeated scene does, for two steps."""
    predictor = shared_predictor(backbone, transformation, use_state)
    if not predictor.shares_scene:
        assert predictor.unchanging({}) == {}
        return
    frames, actions, states = make_sequence(batch=3)
    maps = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    maps[0, 3, 4] = 1.0
    frame, state = frames[:1, 0], np.repeat(states[:1, 0], 3, axis=0)
    shared = predictor.initial_carry(frame, state[:1], maps)
    repeated = {"carry": shared, "frame": frame, "maps": maps}
    repeated = tree.map_structure(lambda value: np.repeat(np.asarray(value), 3, axis=0), repeated)
    ours, theirs = (shared, frame, maps), (repeated["carry"], repeated["frame"], repeated["maps"])
    for time in range(2):
        steps = [predictor.step(carry, frame, actions[:, time], state, maps) for carry, frame, maps in (ours, theirs)]
        for name in ("frame", "maps", "state"):
            found, expected = (np.asarray(getattr(step[1], name)) for step in steps)
            np.testing.assert_allclose(found, expected, atol=1e-5)
        ours, theirs = ((carry, step.frame, step.maps) for carry, step in steps)
    before, after = predictor.unchanging(shared), predictor.unchanging(ours[0])
    assert tree.flatten(before), "something is computed from the first frame once"
    for old, new in zip(tree.flatten(before), tree.flatten(after), strict=True):
        np.testing.assert_array_equal(np.asarray(old), np.asarray(new))


@pytest.mark.parametrize("backbone,transformation,use_state", COMBINATIONS)
def test_a_draft_reads_as_its_pixels_repeated(backbone, transformation, use_state):
    """A step from a frame of half the resolution is one from the frame that shows each of its pixels four times; masks
    of a draft are means."""
    predictor = shared_predictor(backbone, transformation, use_state)
    frames, actions, states = make_sequence()
    carry = predictor.initial_carry(frames[:, 0], states[:, 0], make_maps())
    _, prediction = predictor.step(carry, frames[:, 0], actions[:, 0], states[:, 0], make_maps(), draft=True)
    if not predictor.drafts:
        assert prediction.frame.shape == (2, HEIGHT, WIDTH, 3)
        return
    draft = np.asarray(prediction.frame)
    assert draft.shape == (2, HEIGHT // 2, WIDTH // 2, 3)
    assert prediction.maps.shape[1:3] == prediction.masks.shape[1:3] == draft.shape[1:3]
    np.testing.assert_allclose(np.sum(prediction.maps, axis=(1, 2)), 1.0, atol=1e-5)
    repeated = draft.repeat(2, axis=1).repeat(2, axis=2)
    recurrent = carry["recurrent"]
    ours, _ = predictor.backbone(draft, actions[:, 1], states[:, 1], recurrent, draft=True)
    theirs, _ = predictor.backbone(repeated, actions[:, 1], states[:, 1], recurrent)
    np.testing.assert_allclose(ours.parameters, theirs.parameters, atol=1e-5)
    np.testing.assert_allclose(ours.next_state, theirs.next_state, atol=1e-5)
    logits = np.asarray(theirs.mask_logits).reshape(2, HEIGHT // 2, 2, WIDTH // 2, 2, -1).mean(axis=(2, 4))
    np.testing.assert_allclose(ours.mask_logits, logits, atol=1e-5)


@pytest.mark.parametrize("backbone,transformation,use_state", COMBINATIONS)
def test_head_outputs_have_the_promised_shapes(backbone, transformation, use_state):
    """As many masks as layers, as many parameters as the transformation asks for, an image where one is due."""
    predictor = shared_predictor(backbone, transformation, use_state)
    frames, actions, states = make_sequence()
    inner, config = predictor.backbone, predictor.config
    recurrent = inner.initial_state(frames[:, 0], states[:, 0])
    outputs, _ = inner(frames[:, 0], actions[:, 0], states[:, 0], recurrent)
    assert outputs.mask_logits.shape == (2, HEIGHT, WIDTH, num_layers(config, inner.style))
    assert outputs.parameters.shape == (2, *transformations.parameter_shape(config, inner.style))
    assert outputs.next_state.shape == (2, STATE)
    assert (outputs.generated is not None) == (num_painted(config, inner.style) > 0)
    if outputs.generated is not None:
        palette = (1, 1, 1, 3 * inner.style.palette)
        assert outputs.generated.shape == (palette if inner.style.palette else (2, HEIGHT, WIDTH, 3))
        assert 0 <= np.min(outputs.generated) and np.max(outputs.generated) <= 1
    assert inner.state_feedback in ("first", "context")


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_examples_do_not_see_each_other(backbone, transformation):
    """An example's prediction does not depend on what else is in the batch."""
    predictor = shared_predictor(backbone, transformation)
    frames, actions, states = make_sequence(batch=3)
    together = predictor.predict_frames(frames, actions, states)
    alone = predictor.predict_frames(frames[1:2], actions[1:2], states[1:2])
    # Sums of another batch size are added up in another order, and stp reads between pixels: 3e-5 on JAX.
    np.testing.assert_allclose(alone.frames[0], together.frames[1], atol=5e-5)
    np.testing.assert_allclose(alone.states[0], together.states[1], atol=1e-5)
    assert np.abs(together.frames[0] - together.frames[1]).max() > 1e-2, "the examples differ"


@pytest.mark.parametrize("backbone,transformation,use_state", COMBINATIONS)
def test_use_state_decides_whether_actions_matter(backbone, transformation, use_state):
    """Another action makes another picture exactly if `use_state` is on; the state is predicted either way."""
    predictor = shared_predictor(backbone, transformation, use_state)
    frames, actions, states = make_sequence()
    carry = predictor.initial_carry(frames[:, 0], states[:, 0])
    first, second = (
        predictor.step(carry, frames[:, 0], action, states[:, 0])[1] for action in (actions[:, 0], 1 + actions[:, 0])
    )
    assert (np.abs(np.asarray(first.frame) - np.asarray(second.frame)).max() > 1e-6) == use_state
    assert np.abs(np.asarray(first.state) - np.asarray(second.state)).max() > 1e-3


@pytest.mark.parametrize("backbone", BACKBONES)
def test_feeding(backbone):
    """Frames after the context, states after the feedback's end, and the mask's share are all that matter."""
    predictor = shared_predictor(backbone, "cdna")
    frames, actions, states = make_sequence(length=5)
    base = predict(predictor, frames, actions, states)

    changed = frames.copy()
    changed[:, 2:] = 0
    np.testing.assert_array_equal(predict(predictor, changed, actions, states)["frames"], base["frames"])
    changed = frames.copy()
    changed[:, 1] = 0
    assert np.abs(predict(predictor, changed, actions, states)["frames"] - base["frames"])[:, 1:].max() > 1e-3

    changed = states.copy()
    changed[:, 1] += 1
    moved = np.abs(predict(predictor, frames, actions, changed)["states"] - base["states"]).max()
    assert (moved > 1e-3) == (predictor.backbone.state_feedback == "context")
    changed = states.copy()
    changed[:, 2:] += 1
    np.testing.assert_array_equal(predict(predictor, frames, actions, changed)["states"], base["states"])

    mask = np.zeros((2, 4), bool)
    mask[:, :2] = True  # inside the context the mask has no effect
    np.testing.assert_array_equal(predict(predictor, frames, actions, states, mask)["frames"], base["frames"])
    mask[1, 2] = True
    mixed = predict(predictor, frames, actions, states, mask)["frames"]
    np.testing.assert_allclose(mixed[0], base["frames"][0], atol=1e-6)
    assert np.abs(mixed[1, 2] - base["frames"][1, 2]).max() > 1e-3


def predict(predictor, frames, actions, states, mask=None):
    """The unrolled graph, in NumPy."""
    output = predictor({"frames": frames, "actions": actions, "states": states}, ground_truth_mask=mask)
    return {name: np.asarray(values) for name, values in output.items()}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_statistics_normalise_inside(backbone):
    """Data in other units with the statistics that undo them give the same pictures, and states in those units."""
    plain = shared_predictor(backbone, "cdna")
    statistics = Statistics(
        action_mean=np.array([3.0, -1.0]),
        action_deviation=np.array([2.0, 0.5]),
        state_mean=np.array([1.0, 0.0, -2.0]),
        state_deviation=np.array([4.0, 0.25, 1.0]),
    )
    scaled = make_predictor(backbone, "cdna", statistics=statistics)
    scaled.set_weights(plain.get_weights())
    frames, actions, states = make_sequence()
    expected = plain.predict_frames(frames, actions, states)
    found = scaled.predict_frames(
        frames,
        actions * statistics.action_deviation + statistics.action_mean,
        states * statistics.state_deviation + statistics.state_mean,
    )
    np.testing.assert_allclose(found.frames, expected.frames, atol=1e-5)
    restored = (found.states - statistics.state_mean) / statistics.state_deviation
    np.testing.assert_allclose(restored, expected.states, atol=1e-5)


def test_statistics_of_other_sizes_are_refused():
    """Statistics belong to one action and state size."""
    with pytest.raises(ValueError, match=r"5 action dimensions, but PredictorConfig.action_size is 2"):
        make_predictor("seed", "cdna", statistics=Statistics.identity(5, STATE))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_mixed_precision_stays_close(backbone, transformation):
    """Under mixed_bfloat16 the doors stay float32, sums stay 1, and the prediction stays near."""
    exact = shared_predictor(backbone, transformation)
    mixed = make_predictor(backbone, transformation, dtype="mixed_bfloat16")
    mixed.set_weights(exact.get_weights())
    frames, actions, states = make_sequence()
    maps = make_maps()
    carry = mixed.initial_carry(frames[:, 0], states[:, 0], maps)
    _, prediction = mixed.step(carry, frames[:, 0], actions[:, 0], states[:, 0], maps)
    for array in prediction:
        assert ops.dtype(array) == "float32"
    np.testing.assert_allclose(np.sum(prediction.masks, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(np.sum(prediction.maps, axis=(1, 2)), 1, atol=1e-4)
    assert all(variable.dtype == "float32" for variable in mixed.trainable_variables)
    carry = exact.initial_carry(frames[:, 0], states[:, 0], maps)
    _, expected = exact.step(carry, frames[:, 0], actions[:, 0], states[:, 0], maps)
    # The sampler of the original jumps at the border, so a few pixels may differ by more.
    assert np.mean(np.abs(np.asarray(prediction.frame) - np.asarray(expected.frame))) < 0.02
    np.testing.assert_allclose(prediction.state, expected.state, atol=1e-4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_size_that_is_a_multiple_of_8(backbone):
    """Any such image size, and any width, with the same code."""
    for height, width in [(40, 8), (24, 48)]:
        predictor = make_predictor(backbone, "cdna", image_height=height, image_width=width, width=0.1)
        frames, actions, states = make_sequence(length=3, height=height, width=width)
        assert predictor.predict_frames(frames, actions, states).frames.shape == (2, 2, height, width, 3)


def test_single_mask_of_the_original():
    """With one mask the original's cdna uses only the generated image: its one kernel is dropped."""
    predictor = make_predictor("seed", "cdna", num_masks=1)
    assert predictor.layer_names == ["previous", "generated"]
    frames, actions, states = make_sequence(length=3)
    assert np.isfinite(predictor.predict_frames(frames, actions, states).frames).all()


def test_layer_names():
    """The order of the masks is public."""
    assert make_predictor("seed", "stp").layer_names == ["previous", "generated", "transformed 0", "transformed 1"]
    assert make_predictor("seed", "dna").layer_names == ["previous", "transformed 0"]
    assert make_predictor("fast", "cdna").layer_names[:4] == ["previous", "first", "colour 0", "colour 1"]


def test_a_leap_is_predicted_from_where_it_began():
    """`predict_frames` of a leaping predictor: each frame from the start of its leap, states from the path inside."""
    predictor = make_predictor("fast", "cdna", stride=3, context_frames=1)
    frames, actions, states = make_sequence(length=6)
    prediction = predictor.predict_frames(frames, actions, states)
    assert prediction.frames.shape == (2, 5, HEIGHT, WIDTH, 3)
    carry, frame, state = predictor.initial_carry(frames[:, 0], states[:, 0]), frames[:, 0], states[:, 0]
    for first in (0, 3):
        for count in range(1, min(3, 5 - first) + 1):
            block = np.zeros((2, 3, ACTION), np.float32)
            block[:, :count] = actions[:, first : first + count]
            following, step = predictor.step(carry, frame, block, state)
            path = np.asarray(predictor.robot_path(block, state))
            np.testing.assert_allclose(prediction.frames[:, first + count - 1], step.frame, atol=1e-5)
            np.testing.assert_allclose(prediction.states[:, first + count - 1], path[:, count - 1], atol=1e-5)
        np.testing.assert_allclose(path[:, -1], step.state, atol=1e-5)
        carry, frame, state = following, step.frame, step.state


def test_true_frames_begin_a_leap_anew():
    """What is given as context is never skipped over."""
    predictor = make_predictor("fast", "cdna", stride=3, context_frames=1)
    frames, actions, states = make_sequence(length=5)
    whole = predictor.predict_frames(frames, actions, states, context_frames=3)
    rest = predictor.predict_frames(frames[:, 2:], actions[:, 2:], states[:, 2:])
    np.testing.assert_allclose(whole.frames[:, 2:], rest.frames, atol=1e-5)


def test_weights_changed_later_are_seen():
    """The compiled step of `predict_frames` reads the weights anew each time."""
    predictor = make_predictor("fast", "cdna")
    frames, actions, states = make_sequence()
    before = predictor.predict_frames(frames, actions, states).frames
    for variable in predictor.trainable_variables:
        variable.assign(variable * 0.5)
    assert np.abs(predictor.predict_frames(frames, actions, states).frames - before).max() > 1e-3
