"""Windows as leaps: which frames and actions belong to a leap, and colours that change without a trace of order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight.episode import Episode
from visual_foresight.leaps import jitter_colours, leap_lengths, to_leaps
from visual_foresight.pipeline import WindowSource


def counting_episode(index: int, num_frames: int = 14) -> Episode:
    """Frame, action and state t carry the number 100 * index + t, so that a batch tells where it came from."""
    times = 100 * index + np.arange(num_frames)
    frames = np.broadcast_to((times % 256).astype(np.uint8)[:, None, None, None], (num_frames, 8, 8, 3))
    values = np.repeat(times[:, None], 2, axis=1).astype(np.float32)
    return Episode(frames.copy(), values[:-1] + 0.5, values)


def source(**options) -> WindowSource:
    episodes = [counting_episode(index) for index in range(4)]
    return WindowSource(episodes, **{"sequence_length": 10, "batch_size": 6, "seed": 3, "stride": 3, **options})


def slow_leap(episodes: list[Episode], states: np.ndarray) -> list[list[float]]:
    """The actions between consecutive states, found by their numbers."""
    return [[time + 0.5 for time in range(int(a), int(b))] for a, b in zip(states[:-1], states[1:], strict=True)]


@pytest.mark.parametrize("shorten", [0.0, 0.5, 1.0])
def test_a_leap_holds_the_actions_between_its_ends_and_zeros_behind_them(shorten):
    batch = source(shorten=shorten).batch(2)
    assert batch["frames"].shape == (6, 4, 8, 8, 3)
    assert batch["actions"].shape == (6, 3, 3, 2)
    lengths = []
    for states, actions, frames in zip(batch["states"], batch["actions"], batch["frames"], strict=True):
        np.testing.assert_array_equal(frames[:, 0, 0, 0], states[:, 0].astype(int) % 256)
        for expected, block in zip(slow_leap([], states[:, 0]), actions[..., 0], strict=True):
            lengths.append(len(expected))
            np.testing.assert_array_equal(block, expected + [0.0] * (3 - len(expected)))
    assert set(lengths) <= {1, 2, 3} and (set(lengths) == {3}) == (shorten == 0.0)


def test_a_batch_of_leaps_depends_on_seed_and_index_alone():
    first, second = source(shorten=0.7, colour_jitter=0.2), source(shorten=0.7, colour_jitter=0.2)
    second.batch(5)
    for name, values in first.batch(1).items():
        np.testing.assert_array_equal(values, second.batch(1)[name])
    assert np.any(first.batch(1)["states"] != first.batch(2)["states"])


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_leaps_of_whole_windows_are_those_of_the_source(seed, stride, num_leaps):
    rng = np.random.default_rng(seed)
    lengths = leap_lengths(rng, 3, num_leaps, stride, 0.5)
    assert lengths.min() >= 1 and lengths.max() <= stride
    steps = stride * num_leaps
    window = {
        "frames": np.broadcast_to(np.arange(steps + 1)[None, :, None], (3, steps + 1, 1)),
        "actions": np.broadcast_to(np.arange(steps)[None, :, None] + 0.5, (3, steps, 1)),
        "states": np.broadcast_to(np.arange(steps + 1)[None, :, None], (3, steps + 1, 1)),
    }
    leaps = to_leaps(window, lengths, stride)
    np.testing.assert_array_equal(leaps["frames"][:, :, 0], np.pad(np.cumsum(lengths, axis=1), ((0, 0), (1, 0))))
    np.testing.assert_array_equal(leaps["states"], leaps["frames"])
    np.testing.assert_array_equal((leaps["actions"][..., 0] > 0).sum(axis=2), lengths)
    first = leaps["actions"][:, :, 0, 0]
    np.testing.assert_array_equal(first, leaps["frames"][:, :-1, 0] + 0.5)


def test_colours_change_alike_in_all_frames_of_a_window_and_keep_their_order():
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 256, (2, 1, 8, 8, 3), dtype=np.uint8), 3, axis=1)
    changed = jitter_colours(frames, np.random.default_rng(1), 0.3)
    assert changed.dtype == np.uint8 and np.any(changed != frames)
    np.testing.assert_array_equal(changed[:, 0], changed[:, 2])
    for window in range(2):
        for colour in range(3):
            before, after = frames[window, 0, ..., colour].ravel(), changed[window, 0, ..., colour].ravel()
            assert np.all(np.diff(after[np.argsort(before, kind="stable")].astype(int)) >= 0)
    np.testing.assert_array_equal(jitter_colours(frames, np.random.default_rng(1), 0.0), frames)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 4}, "must be a multiple of the stride, got 10 and 4"),
        ({"stride": 0}, "must be a multiple of the stride"),
        ({"shorten": 1.5}, "shorten is a share"),
        ({"colour_jitter": 1.0}, "colour_jitter is a share"),
    ],
)
def test_leaps_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        source(**options)
