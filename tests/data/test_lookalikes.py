"""Pixels that the robot's place does not explain: things, and not the robot."""

import numpy as np
import pytest

from visual_foresight.episode import Episode
from visual_foresight.lookalikes import Lookalikes
from visual_foresight.pipeline import WindowSource

SIZE = 24
ARM = 3  # columns of the arm


def picture(column, things):
    """A table, an arm that hangs down to row 14 at `column`, and squares of 7 pixels (row, column, colour)."""
    frame = np.full((SIZE, SIZE, 3), 120, np.uint8)
    frame[::2] += 8
    for row, left, colour in things:
        frame[row : row + 7, left : left + 7] = colour
    frame[:14, column : column + ARM] = 250
    return frame


def recorded(count=60, frames=5, seed=0):
    """Episodes in which the arm moves and one square lies somewhere."""
    rng = np.random.default_rng(seed)
    episodes = []
    for _ in range(count):
        columns = rng.integers(0, SIZE - ARM, frames)
        thing = (int(rng.integers(0, 17)), int(rng.integers(0, 17)), rng.integers(0, 256, 3))
        pictures = np.stack([picture(column, [thing]) for column in columns])
        states = np.stack([columns, np.zeros(frames)], axis=1).astype(np.float32)
        episodes.append(Episode(pictures, np.zeros((frames - 1, 2), np.float32), states))
    return episodes


@pytest.fixture(scope="module")
def lookalikes():
    return Lookalikes.of(recorded(), seed=0)


@pytest.mark.parametrize("column", [0, 5, 12, 20])
def test_things_are_found_and_the_robot_is_not(lookalikes, column):
    thing = (15, 4, (20, 200, 40))  # below the arm
    found = lookalikes.things(picture(column, [thing]), np.array([column, 0.0]))
    inside = np.zeros((SIZE, SIZE), bool)
    inside[16:21, 5:10] = True  # without its rim
    np.testing.assert_array_equal(found, inside)


def test_an_empty_table_holds_no_thing(lookalikes):
    assert not lookalikes.things(picture(9, []), np.array([9.0, 0.0])).any()


def test_things_are_those_of_the_slow_sums(lookalikes):
    """Against the definition, pixel by pixel, with SciPy's erosion."""
    from scipy.ndimage import binary_erosion
    from scipy.spatial import cKDTree

    episodes = recorded()
    again = Lookalikes.of(episodes, seed=0)
    states = np.concatenate([episode.states for episode in episodes])
    scale = np.where(states.std(axis=0) > 0, states.std(axis=0), 1.0)
    frames = np.concatenate([episode.frames for episode in episodes]).astype(int)
    tree = cKDTree(states / scale)
    for row in (0, 40, 77):
        distances, _ = tree.query(states[row] / scale, 11)
        if distances[-1] == distances[-2]:
            continue  # another frame is as near: either may be among the neighbours
        _, near = tree.query(states[row] / scale, 10)
        shared = (np.abs(frames[near] - frames[row]).max(axis=-1) <= 35).sum(axis=0)
        expected = binary_erosion(shared < 4)
        np.testing.assert_array_equal(again.things(frames[row].astype(np.uint8), states[row]), expected)


@pytest.mark.parametrize("times", [1, 3])
def test_masks_shrink_and_grow_as_scipys_do(times):
    from scipy.ndimage import binary_dilation, binary_erosion

    from visual_foresight.lookalikes import _dilated, _eroded

    masks = np.random.default_rng(0).random((4, 13, 17)) < 0.8
    np.testing.assert_array_equal(_eroded(masks), [binary_erosion(mask) for mask in masks])
    few = ~masks
    np.testing.assert_array_equal(_dilated(few, times), [binary_dilation(mask, iterations=times) for mask in few])


def test_points_lie_on_things_and_mostly_where_something_changes(lookalikes):
    """Of two squares one moves: most points lie on it, and on what is not there none."""
    still, first, later = (2, 2, (200, 30, 30)), (15, 4, (20, 200, 40)), (15, 6, (20, 200, 40))
    window = np.stack([picture(18, [still, first]), picture(18, [still, later])])
    states = np.array([[18.0, 0], [18.0, 0]])
    windows, rows = np.stack([window] * 20), np.stack([states] * 20)
    points = lookalikes.choose_points(windows, rows, 5, np.random.default_rng(0))
    assert points.shape == (20, 5, 2) and points.dtype == np.float32
    on_moved = (points[..., 0] >= 15) & (points[..., 0] < 22) & (points[..., 1] >= 4) & (points[..., 1] < 11)
    on_still = (points[..., 0] >= 2) & (points[..., 0] < 9) & (points[..., 1] >= 2) & (points[..., 1] < 9)
    assert (on_moved | on_still).all()
    assert on_moved.mean() > 0.9
    again = lookalikes.choose_points(windows, rows, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(points, again)


def test_a_window_without_things_gets_no_point(lookalikes):
    window = np.stack([picture(9, []), picture(9, [])])[None]
    points = lookalikes.choose_points(window, np.array([[[9.0, 0], [9.0, 0]]]), 3, np.random.default_rng(0))
    np.testing.assert_array_equal(points, np.full((1, 3, 2), -1))


def test_too_few_frames_and_missing_states_are_refused():
    with pytest.raises(ValueError, match="at least 10 frames"):
        Lookalikes.of(recorded(1, 5), seed=0)
    with pytest.raises(ValueError, match="no episode"):
        Lookalikes.of([], seed=0)
    blind = Episode(np.zeros((5, SIZE, SIZE, 3), np.uint8), None, None)
    with pytest.raises(ValueError, match="the episodes have none"):
        Lookalikes.of([blind], seed=0)


@pytest.mark.parametrize(("stride", "context"), [(1, 1), (1, 2), (2, 1)])
def test_batches_hold_points_of_the_last_given_frame_before_its_colours_change(lookalikes, stride, context):
    """The windows are those without points, and the points those of true colours."""
    options = {"sequence_length": 5, "batch_size": 4, "seed": 3, "stride": stride}
    plain = WindowSource(recorded(), **options)
    source = WindowSource(recorded(), **options, lookalikes=lookalikes, num_points=2, context=context)
    jittered = WindowSource(
        recorded(), **options, lookalikes=lookalikes, num_points=2, context=context, colour_jitter=0.5
    )
    batch = source.batch(7)
    np.testing.assert_array_equal(batch["frames"], plain.batch(7)["frames"])
    np.testing.assert_array_equal(batch["points"], jittered.batch(7)["points"])
    np.testing.assert_array_equal(batch["points"], source.batch(7)["points"])
    assert batch["points"].shape == (4, 2, 2)
    for window, states, points in zip(batch["frames"], batch["states"], batch["points"], strict=True):
        found = lookalikes.things(window[context - 1], states[context - 1])
        for row, column in points.astype(int):
            assert found[row, column] if row >= 0 else not found.any()
