"""The place to push from, the way around the object, and the map from table to pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from objective_cases import TIP

from visual_foresight.planners.objectives import (
    Approach,
    Homography,
    way_around,
)
from visual_foresight.rollout import Rollout


def test_the_place_to_push_from_lies_behind_the_object_as_seen_from_the_goal():
    objective = Approach(lambda states: states, [10.0, 30.0], offset=5.5, clearance=0.0)
    rollout = Rollout(
        np.zeros((3, 1, 2)),
        states=np.array([[[10.0, 14.5]], [[10.0, 25.5]], [[15.5, 20.0]]]),  # behind, in front, beside
        pixels=np.full((3, 1, 1, 2), [10.0, 20.0]),
    )
    np.testing.assert_allclose(objective(rollout), [0.0, 11.0, np.hypot(5.5, 5.5)], atol=2e-3)


def test_staying_behind_the_object_costs_less_than_passing_by():
    """Three steps: one tip follows the object, the other leaves for its side after the first."""
    places = np.array([[10.0, 14.5], [10.0, 16.5], [10.0, 18.5]])
    rollout = Rollout(
        np.zeros((2, 3, 2)),
        states=np.stack([places, places + [[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]]]),
        pixels=np.broadcast_to(places[:, None] + [0.0, 5.5], (2, 3, 1, 2)),
    )
    objective = Approach(lambda states: states, [10.0, 40.0], clearance=0.0)
    np.testing.assert_allclose(objective(rollout), [0.0, 10.0 / 3.0], atol=2e-3)
    late = Approach(lambda states: states, [10.0, 40.0], clearance=0.0, terminal_weight=2.0)
    np.testing.assert_allclose(late(rollout), [0.0, 15.0 / 4.0], atol=2e-3)


def test_the_way_around_costs_what_the_straight_way_hides():
    """In front of the object the place behind it is 11 px away, but 15 around; beside it both see the same."""
    rollout = Rollout(
        np.zeros((2, 1, 2)),
        states=np.array([[[10.0, 25.5]], [[10.0, 8.0]]]),
        pixels=np.full((2, 1, 1, 2), [10.0, 20.0]),
    )
    straight = Approach(lambda states: states, [10.0, 30.0], clearance=0.0)(rollout)
    around = Approach(lambda states: states, [10.0, 30.0], clearance=4.5)(rollout)
    rim = np.arccos(4.5 / 5.5)
    assert straight[0] == pytest.approx(11.0, abs=2e-3)
    assert around[0] == pytest.approx(2 * np.sqrt(5.5**2 - 4.5**2) + 4.5 * (np.pi - 2 * rim), abs=2e-3)
    assert around[1] == pytest.approx(straight[1], abs=1e-4)


points = st.tuples(st.floats(-20, 20), st.floats(-20, 20))


def slow_way_around(start, end, radius, num_points=1441):
    """Shortest path over a visibility graph: both points and a fine polygon on the rim, by brute force."""
    start, end = (np.array(point, float) for point in (start, end))
    length = np.linalg.norm(end - start)
    along = np.clip(np.dot(-start, end - start) / max(length**2, 1e-12), 0.0, 1.0)
    if np.linalg.norm(start + along * (end - start)) >= radius:
        return length
    angles = np.linspace(0.0, 2.0 * np.pi, num_points)[:-1]
    rim = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def reach(point):
        distances = np.linalg.norm(rim - point, axis=1)
        return np.where(rim @ point >= radius**2 - 1e-9, distances, np.inf)  # rim points that the point can see

    from_start, from_end = reach(start), reach(end)
    i, j = np.flatnonzero(np.isfinite(from_start)), np.flatnonzero(np.isfinite(from_end))
    arc = np.abs(angles[i][:, None] - angles[j][None])
    arc = np.minimum(arc, 2.0 * np.pi - arc) * radius
    return (from_start[i][:, None] + arc + from_end[j][None]).min()


@given(start=points, end=points)
def test_way_around_is_the_shortest_path_past_the_disc(start, end):
    radius = 4.0
    if min(np.linalg.norm(start), np.linalg.norm(end)) < radius + 0.05:
        return
    found = way_around(np.array(start, np.float64), np.array(end, np.float64), radius)
    assert found == pytest.approx(slow_way_around(start, end, radius), abs=0.02)


@given(start=points, end=points, step=points)
def test_way_around_is_continuous_and_never_shorter_than_the_straight_line(start, end, step):
    start, end = np.array(start), np.array(end)
    found = way_around(start, end, 4.0)
    assert found >= np.linalg.norm(start - end) - 1e-5
    if np.linalg.norm(start) > 1.0:  # only at the centre of the disc no direction leads out
        moved = way_around(start + 1e-4 * np.array(step), end, 4.0)
        assert abs(moved - found) <= 5e-4 * np.linalg.norm(step) + 1e-5


def test_descending_the_way_around_leads_behind_the_object_without_touching_it():
    """A greedy finger that knows nothing of contact walks round; the straight distance sends it into the object."""
    rng = np.random.default_rng(0)
    nearest = {}
    for clearance in (4.5, 0.0):
        objective = Approach(lambda states: states, [10.0, 40.0], clearance=clearance)
        finger, closest = np.array([10.5, 33.0]), np.inf
        for _ in range(200):
            steps = finger + rng.normal(0.0, 0.3, (64, 2))
            rollout = Rollout(np.zeros((64, 1, 2)), states=steps[:, None], pixels=np.full((64, 1, 1, 2), [10.0, 25.0]))
            costs = objective(rollout)
            finger = steps[np.argmin(costs)]
            closest = min(closest, np.linalg.norm(finger - [10.0, 25.0]))
        np.testing.assert_allclose(finger, [10.0, 19.5], atol=0.3)
        nearest[clearance] = closest
    assert nearest[4.5] > 4.0
    assert nearest[0.0] < 1.5


def test_homography_is_recovered_from_a_pinhole_camera():
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.2, 0.2, (12, 2))
    pixels = TIP.matrix @ np.concatenate([points, np.ones((12, 1))], axis=1).T
    pixels = (pixels[:2] / pixels[2]).T
    fitted = Homography.fit(points, pixels)
    fresh = rng.uniform(-0.3, 0.3, (5, 7, 2))
    expected = Homography(TIP.matrix)(fresh)
    assert expected.shape == (5, 7, 2)
    np.testing.assert_allclose(fitted(fresh), expected, atol=1e-4)


def test_homography_refuses_what_no_plane_explains():
    points = np.random.default_rng(0).uniform(-1, 1, (8, 2))
    with pytest.raises(ValueError, match="no homography maps"):
        Homography.fit(points, np.random.default_rng(1).uniform(0, 64, (8, 2)))
    with pytest.raises(ValueError, match="N >= 4"):
        Homography.fit(points[:3], points[:3])
    with pytest.raises(ValueError, match="finite"):
        Homography.fit(np.full((4, 2), np.nan), points[:4])


@pytest.mark.parametrize(
    "points",
    [
        [[0, 0], [1, 1], [2, 2], [0, 3]],  # three of four on a line
        [[0, 0], [1, 0], [0, 1], [0, 1]],  # one twice
        [[2, 3]] * 4,
        [[0, 0], [1, 2], [2, 4], [3, 6], [4, 8]],
        [[0, 0], [1, 1], [2, 2], [3, 3], [0, 3]],  # all but one on a line
    ],
)
def test_homography_refuses_points_that_leave_it_open(points):
    """Several maps would fit, and one of them would be returned as if it were the only one."""
    with pytest.raises(ValueError, match="leave the homography open"):
        Homography.fit(np.array(points, float), 10.0 * np.array(points, float))
    with pytest.raises(ValueError, match=r"\[3, 3\]"):
        Homography(np.zeros((2, 3)))
