"""Frames, episodes and statistics: conversions, validation by message, windows."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from visual_foresight.episode import Episode
from visual_foresight.frames import to_float, to_uint8
from visual_foresight.statistics import Statistics


def test_every_byte_survives_the_way_to_float_and_back():
    """to_uint8(to_float(x)) == x for all 256 values, and the floats are the original reader's x / 255."""
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(to_float(values)), values)
    np.testing.assert_array_equal(to_float(values), values.astype(np.float32) / np.float32(255))


def test_conversion_clips_rounds_and_refuses():
    """Values outside [0, 1] are clipped; the wrong dtype and NaN are refused."""
    np.testing.assert_array_equal(to_uint8(np.array([-0.5, 1.5, 0.5, 1 / 255])), [0, 255, 128, 1])
    with pytest.raises(TypeError, match="uint8 frames, got float32"):
        to_float(np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="floating point frames"):
        to_uint8(np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(np.array([np.nan]))
    for wrong in ([0.0, 255.0], [-1.0, 1.0]):  # of other conventions: white, or half black, if nobody said so
        with pytest.raises(ValueError, match=r"to_uint8 must be in \[0, 1\], got .*divide by 255"):
            to_uint8(np.array(wrong))
    assert to_uint8(np.zeros((0, 4, 4, 3))).shape == (0, 4, 4, 3)


FRAMES = np.zeros((4, 8, 9, 3), np.uint8)
ACTIONS = np.zeros((3, 2), np.float32)
STATES = np.zeros((4, 5), np.float32)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"frames": FRAMES.tolist()}, TypeError, "must be a NumPy array"),
        ({"frames": FRAMES.astype(np.float32)}, TypeError, "must be uint8, got float32: convert"),
        ({"frames": FRAMES[..., :1]}, ValueError, "[T, H, W, 3] with at least one frame, got [4, 8, 9, 1]"),
        ({"frames": FRAMES.astype(np.int64)}, TypeError, "convert whole numbers with frames.astype(np.uint8)"),
        ({"frames": np.zeros((4, 3, 8, 9), np.uint8)}, ValueError, "np.moveaxis(frames, 1, -1)"),
        ({"frames": FRAMES[:0]}, ValueError, "got [0, 8, 9, 3]"),
        ({"frames": FRAMES[0]}, ValueError, "got [8, 9, 3]"),
        ({"actions": np.zeros((4, 2))}, ValueError, "needs 3 actions, one less than frames"),
        ({"actions": np.zeros((4, 2))}, ValueError, "belongs in extras['final_action']"),
        ({"actions": np.zeros(3)}, ValueError, "two axes"),
        ({"actions": np.array([["a"]] * 3)}, TypeError, "must be real numbers"),
        ({"actions": ACTIONS + np.nan}, ValueError, "6 of 6 values are not; the first is actions[0, 0] = nan"),
        ({"states": STATES[:3]}, ValueError, "needs 4 states, one for each frame; got 3"),
        ({"states": STATES + np.inf}, ValueError, "states must be finite"),
        ({"extras": {"a/b": STATES}}, ValueError, "got 'a/b'"),
        ({"extras": {"a": np.array(["text"])}}, TypeError, "extras['a'] must be boolean, integer or floating"),
        ({"extras": [STATES]}, TypeError, "extras must map names to arrays"),
        ({"extras": {"final_action": np.zeros(3)}}, ValueError, "must have shape [2] like one action, got [3]"),
        ({"metadata": {"a": np.zeros(2)}}, TypeError, "JSON-plain"),
        ({"metadata": {"a": float("nan")}}, TypeError, "JSON-plain"),
        ({"metadata": "text"}, TypeError, "metadata must be a mapping"),
    ],
)
def test_wrong_fields_are_refused_with_the_reason(fields, error, message):
    """Each wrong field is refused, saying what was passed and what was expected."""
    with pytest.raises(error, match=re.escape(message)):
        Episode(**{"frames": FRAMES, "actions": ACTIONS, "states": STATES, **fields})


def test_an_episode_knows_its_sizes_and_cannot_be_changed():
    """Properties tell the sizes; the arrays are read-only, the caller's own array stays writable."""
    frames = FRAMES.copy()
    episode = Episode(frames, np.zeros((3, 2), np.int64), STATES)
    assert (episode.num_frames, episode.image_size, episode.action_size, episode.state_size) == (4, (8, 9), 2, 5)
    assert episode.actions.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        episode.frames[0] = 1
    frames[0] = 1
    bare = Episode(FRAMES)
    assert bare.action_size is None and bare.state_size is None


@given(start=st.integers(0, 5), length=st.integers(1, 6))
def test_a_window_cuts_everything_alike(start, length):
    """Frame, action and state t of a window are those of start + t; free extras stay; the final action follows."""
    if start + length > 6:
        return
    episode = Episode(
        np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8),
        np.arange(5)[:, None],
        np.arange(6)[:, None],
        {"per_frame": np.arange(6), "per_action": np.arange(5), "free": np.arange(3), "final_action": np.array([9.0])},
    )
    window = episode.window(start, length)
    np.testing.assert_array_equal(window.frames[:, 0, 0, 0], np.arange(start, start + length))
    np.testing.assert_array_equal(window.actions[:, 0], np.arange(start, start + length - 1))
    np.testing.assert_array_equal(window.states[:, 0], np.arange(start, start + length))
    np.testing.assert_array_equal(window.extras["per_frame"], np.arange(start, start + length))
    np.testing.assert_array_equal(window.extras["per_action"], np.arange(start, start + length - 1))
    np.testing.assert_array_equal(window.extras["free"], np.arange(3))
    following = 9.0 if start + length == 6 else float(start + length - 1)
    assert window.extras["final_action"] == [following]


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 0), (3, 2), (0, 5)])
def test_a_window_outside_the_episode_is_refused(start, length):
    """No window is padded."""
    with pytest.raises(ValueError, match="does not lie inside this episode of 4 frames"):
        Episode(FRAMES).window(start, length)


@given(
    rows=arrays.arrays(np.float32, (12, 2), elements=st.floats(-100, 100, width=32)),
    cut=st.integers(2, 11),
)
def test_statistics_equal_numpy_however_the_rows_are_dealt(rows, cut):
    """One pass over two episodes gives NumPy's mean and deviation of all rows."""
    frames = np.zeros((13, 2, 2, 3), np.uint8)
    first = Episode(frames[: cut + 1], rows[:cut], np.zeros((cut + 1, 1)))
    second = Episode(frames[: 13 - cut], rows[cut:], np.zeros((13 - cut, 1)))
    found = Statistics.of([first, second])
    expected = rows.astype(np.float64).std(axis=0)
    np.testing.assert_allclose(found.action_mean, rows.astype(np.float64).mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.action_deviation, np.where(expected < 1e-6, 1, expected), rtol=1e-4)
    np.testing.assert_array_equal(found.state_deviation, [1.0])
    assert found.num_frames == 14


def test_statistics_survive_json_and_refuse_what_is_wrong(make_episode):
    """to_json and from_json are inverse; missing fields, wrong shapes and no episodes are named."""
    found = Statistics.of([make_episode()])
    again = Statistics.from_json(found.to_json())
    for name in ("action_mean", "action_deviation", "state_mean", "state_deviation", "num_frames"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    with pytest.raises(ValueError, match="exactly the fields"):
        Statistics.from_json({"action_mean": [0.0]})
    with pytest.raises(ValueError, match="must be positive"):
        Statistics.from_json(found.to_json() | {"action_deviation": [0.0, 1.0]})
    with pytest.raises(ValueError, match="has 1 dimensions but action_deviation 2"):
        Statistics.from_json(found.to_json() | {"action_mean": [0.0]})
    with pytest.raises(ValueError, match="num_frames must be a whole number, got inf"):
        Statistics.from_json(found.to_json() | {"num_frames": float("inf")})
    with pytest.raises(ValueError, match="at least one episode"):
        Statistics.of([])
    with pytest.raises(ValueError, match="differ in action size: 2, and 3 in episode 1"):
        Statistics.of([make_episode(), make_episode(action_size=3)])


def test_identity_statistics_change_nothing():
    """Mean 0, deviation 1, of the asked sizes."""
    identity = Statistics.identity(2, 3)
    np.testing.assert_array_equal(identity.action_mean, [0, 0])
    np.testing.assert_array_equal(identity.state_deviation, [1, 1, 1])


def test_rows_of_no_numbers_are_none():
    """What a robot without sensors may give; a format of one key for each step could not even store it."""
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    episode = Episode(frames, np.zeros((2, 0)), np.zeros((3, 0)))
    assert episode.actions is None and episode.states is None
    assert episode.action_size is None and episode.state_size is None
