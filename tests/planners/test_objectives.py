"""Objectives against slow loops, on NumPy arrays, on tensors, and inside a compiled function."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_foresight.planners.objectives import (
    ActionMagnitude,
    ActionSmoothness,
    Approach,
    GoalImage,
    Homography,
    Objective,
    PixelDistance,
    RobotState,
    WeightedSum,
    way_around,
)
from visual_foresight.rollout import Rollout

K, T, A, S, P, H, W = 4, 5, 2, 3, 2, 9, 11
GOALS = np.array([[2.5, 3.0], [7.0, 8.25]])
TIP = Homography([[1.0, 0.2, 4.0], [0.1, 2.0, 3.0], [0.01, 0.02, 1.0]], indices=(0, 2))


def some_rollout(seed=0, maps=True):
    rng = np.random.default_rng(seed)
    return Rollout(
        actions=rng.normal(size=(K, T, A)).astype(np.float32),
        frames=rng.random((K, T, H, W, 3), np.float32),
        states=rng.normal(size=(K, T, S)).astype(np.float32),
        pixel_distributions=rng.random((K, T, P, H, W), np.float32) ** 4 if maps else None,
        pixels=rng.uniform(0, 8, (K, T, P, 2)).astype(np.float32),
    )


def mean_with_terminal_weight(values, terminal_weight):
    costs = []
    for row in values:
        total, mass = 0.0, 0.0
        for time, value in enumerate(row):
            weight = terminal_weight if time == len(row) - 1 else 1.0
            total, mass = total + weight * value, mass + weight
        costs.append(total / mass)
    return np.array(costs)


def slow_expected_distance(maps, goal):
    total, mass = 0.0, 0.0
    for row in range(maps.shape[0]):
        for col in range(maps.shape[1]):
            total += maps[row, col] * np.hypot(row - goal[0], col - goal[1])
            mass += maps[row, col]
    return total / mass


def slow_expected_pixel(maps):
    rows, cols = np.mgrid[: maps.shape[0], : maps.shape[1]]
    return np.array([(maps * rows).sum(), (maps * cols).sum()]) / maps.sum()


def slow_pixel_distance(rollout, terminal_weight=10.0):
    distances = np.zeros((K, T))
    for k in range(K):
        for t in range(T):
            for p in range(P):
                if rollout.pixel_distributions is not None:
                    distance = slow_expected_distance(rollout.pixel_distributions[k, t, p].astype(float), GOALS[p])
                else:
                    distance = np.linalg.norm(rollout.pixels[k, t, p] - GOALS[p])
                distances[k, t] += distance / P
    return mean_with_terminal_weight(distances, terminal_weight)


def slow_approach(rollout, index=1, goal=(2.0, 9.0), offset=5.5):
    costs = np.full(K, np.inf)
    for k in range(K):
        for t in range(T):
            x, y = rollout.states[k, t, 0], rollout.states[k, t, 2]
            row, col, depth = TIP.matrix @ [x, y, 1.0]
            tip = np.array([row, col]) / depth
            if rollout.pixel_distributions is not None:
                place = slow_expected_pixel(rollout.pixel_distributions[k, t, index].astype(float))
            else:
                place = rollout.pixels[k, t, index]
            away = (place - goal) / (np.linalg.norm(place - goal) + 1e-3)
            costs[k] = min(costs[k], np.linalg.norm(tip - (place + offset * away)))
    return costs


def slow_goal_image(rollout, goal, mask):
    errors = np.zeros((K, T))
    for k in range(K):
        for t in range(T):
            squares = np.square(rollout.frames[k, t].astype(float) - goal).mean(axis=-1)
            errors[k, t] = (squares * mask).sum() / mask.sum()
    return mean_with_terminal_weight(errors, 10.0)


def slow_robot_state(rollout):
    distances = [
        [np.hypot((state[2] - 0.5) / 2.0, (state[0] + 1.0) / 0.1) for state in states] for states in rollout.states
    ]
    return mean_with_terminal_weight(np.array(distances), 3.0)


def slow_smoothness(rollout, previous):
    costs = []
    for actions in rollout.actions:
        before, total = previous, 0.0
        for action in actions:
            total += np.sum(np.square(action - before))
            before = action
        costs.append(total / T)
    return np.array(costs)


GOAL_FRAME = np.random.default_rng(9).integers(0, 256, (H, W, 3), dtype=np.uint8)
MASK = np.random.default_rng(8).random((H, W)) > 0.5

CASES = {
    "pixel distance": (lambda: PixelDistance(GOALS), slow_pixel_distance),
    "pixel distance, terminal 1": (
        lambda: PixelDistance(GOALS, terminal_weight=1.0),
        lambda rollout: slow_pixel_distance(rollout, 1.0),
    ),
    "pixel distance, scaled": (lambda: PixelDistance(GOALS, scale=4.0), lambda r: slow_pixel_distance(r) / 4.0),
    "approach": (lambda: Approach(TIP, [2.0, 9.0], index=1, clearance=0.0), slow_approach),
    "goal image": (
        lambda: GoalImage(GOAL_FRAME, mask=MASK),
        lambda rollout: slow_goal_image(rollout, GOAL_FRAME / 255.0, MASK.astype(float)),
    ),
    "robot state": (
        lambda: RobotState([0.5, -1.0], indices=[2, 0], scale=[2.0, 0.1], terminal_weight=3.0),
        slow_robot_state,
    ),
    "action magnitude": (
        lambda: ActionMagnitude(scale=[1.0, 2.0]),
        lambda rollout: np.square(rollout.actions / [1.0, 2.0]).sum(axis=-1).mean(axis=-1),
    ),
    "action smoothness": (
        lambda: ActionSmoothness(previous=[0.5, 0.1]),
        lambda rollout: slow_smoothness(rollout, np.array([0.5, 0.1])),
    ),
    "weighted sum": (
        lambda: WeightedSum(
            {"pixel": PixelDistance(GOALS), "approach": Approach(TIP, [2.0, 9.0], index=1, clearance=0.0)},
            {"approach": 0.4},
        ),
        lambda rollout: slow_pixel_distance(rollout) + 0.4 * slow_approach(rollout),
    ),
}
# Only ever evaluated against their own NumPy path, for want of a slow version.
MORE = {
    "pixel distance, smooth": lambda: PixelDistance(GOALS, smooth=2.0),
    "pixel distance, one pixel": lambda: PixelDistance(GOALS[1], indices=[1]),
    "approach, around": lambda: Approach(TIP, [2.0, 9.0]),
    "smoothness, free start": lambda: ActionSmoothness(),
}
EVERY = {**{name: case[0] for name, case in CASES.items()}, **MORE}
every_objective = pytest.mark.parametrize("name", EVERY)


@pytest.mark.parametrize("maps", [True, False], ids=["maps", "pixels"])
@pytest.mark.parametrize("name", CASES)
def test_costs_equal_the_slow_loop(name, maps):
    make, slow = CASES[name]
    rollout = some_rollout(maps=maps)
    costs = make()(rollout)
    assert isinstance(costs, np.ndarray)
    assert costs.shape == (K,)
    assert costs.dtype == np.float32
    np.testing.assert_allclose(costs, slow(rollout), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("maps", [True, False], ids=["maps", "pixels"])
@every_objective
def test_explained_contributions_sum_to_the_cost(name, maps):
    rollout = some_rollout(maps=maps)
    objective = EVERY[name]()
    assert isinstance(objective, Objective)
    explained, terms = objective.explain(rollout), objective.terms(rollout)
    assert explained.keys() == terms.keys()
    assert all(values.shape == (K, T) for values in [*explained.values(), *terms.values()])
    np.testing.assert_allclose(sum(explained.values()).sum(axis=1), objective(rollout), rtol=1e-5)


@every_objective
def test_a_candidates_cost_does_not_depend_on_its_company(name):
    rollout, objective = some_rollout(), EVERY[name]()
    np.testing.assert_allclose(objective(rollout.select([2])), objective(rollout)[[2]], rtol=1e-6)


def as_tensors(rollout, dtype="float32"):
    from keras import ops

    names = ("actions", "frames", "states", "pixel_distributions", "pixels")
    arrays = {name: getattr(rollout, name) for name in names if getattr(rollout, name) is not None}
    return Rollout(**{name: ops.cast(ops.convert_to_tensor(array), dtype) for name, array in arrays.items()})


@pytest.mark.parametrize("maps", [True, False], ids=["maps", "pixels"])
@every_objective
def test_tensors_give_the_same_costs(name, maps):
    rollout, objective = some_rollout(maps=maps), EVERY[name]()
    costs = objective(as_tensors(rollout))
    assert not isinstance(costs, np.ndarray)
    np.testing.assert_allclose(np.asarray(costs), objective(rollout), rtol=2e-5, atol=1e-5)
    for term, values in objective.explain(as_tensors(rollout)).items():
        assert isinstance(values, np.ndarray)
        np.testing.assert_allclose(values, objective.explain(rollout)[term], rtol=1e-4, atol=1e-5)


@every_objective
def test_costs_compile_with_an_unknown_number_of_candidates(name):
    """Inside tf.function, as a compiled simulator calls it: shapes of K unknown, no trace per K."""
    tf = pytest.importorskip("tensorflow")
    objective = EVERY[name]()
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec(shape)
            for shape in ([None, T, A], [None, T, H, W, 3], [None, T, S], [None, T, P, H, W], [None, T, P, 2])
        ]
    )
    def cost_of(actions, frames, states, maps, pixels):
        traces.append(1)
        return objective(Rollout(actions, frames, states, maps, pixels))

    for rollout in (some_rollout(), some_rollout(seed=1).select([0, 1])):
        fields = (rollout.actions, rollout.frames, rollout.states, rollout.pixel_distributions, rollout.pixels)
        np.testing.assert_allclose(cost_of(*fields), objective(rollout), rtol=2e-5, atol=1e-5)
    assert len(traces) == 1


def test_maps_in_bfloat16_are_summed_in_float32():
    pytest.importorskip("keras")
    rollout, objective = some_rollout(), PixelDistance(GOALS)
    np.testing.assert_allclose(np.asarray(objective(as_tensors(rollout, "bfloat16"))), objective(rollout), rtol=0.01)


def test_numpy_costs_do_not_import_keras():
    """Planning in the true simulator needs no deep-learning framework."""
    program = (
        "import sys, numpy as np\n"
        "from visual_foresight.planners import CEM, MPC\n"
        "from visual_foresight.planners.objectives import PixelDistance\n"
        "from visual_foresight.rollout import Rollout\n"
        "PixelDistance([1, 2])(Rollout(np.zeros((2, 3, 2)), pixels=np.zeros((2, 3, 1, 2))))\n"
        "print(sorted({'keras', 'tensorflow', 'jax', 'mujoco'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# ---- what distances mean


def test_expected_distance_counts_how_spread_out_a_map_is():
    sharp, blurred = np.zeros((2, 1, 1, 1, 9, 9), np.float32)
    sharp[..., 4, 4] = 1.0
    blurred[..., 3:6, 3:6] = 1.0
    objective = PixelDistance([4, 4])
    costs = [objective(Rollout(np.zeros((1, 1, 2)), pixel_distributions=maps))[0] for maps in (sharp, blurred)]
    assert costs[0] == pytest.approx(0.0, abs=1e-6)
    assert costs[1] == pytest.approx((4 + 4 * np.sqrt(2)) / 9, rel=1e-5)


@given(scale=st.floats(1e-3, 1e3))
def test_maps_need_not_be_normalised(scale):
    rollout = some_rollout()
    scaled = Rollout(rollout.actions, pixel_distributions=rollout.pixel_distributions * np.float32(scale))
    np.testing.assert_allclose(PixelDistance(GOALS)(scaled), PixelDistance(GOALS)(rollout), rtol=1e-4)


def test_a_map_without_mass_never_wins():
    """The pixel has left the picture: its distance is infinite, not zero."""
    maps = some_rollout().pixel_distributions.copy()
    maps[1, 2, 0] = 0.0
    rollout = Rollout(some_rollout().actions, states=some_rollout().states, pixel_distributions=maps)
    costs = PixelDistance(GOALS)(rollout)
    assert np.isinf(costs[1])
    assert np.all(np.isfinite(np.delete(costs, 1)))
    nowhere = Rollout(
        rollout.actions, states=rollout.states, pixel_distributions=np.zeros_like(rollout.pixel_distributions)
    )
    assert np.all(Approach(TIP, [2.0, 9.0])(nowhere) > 1e5)


def test_only_the_last_step_counts_as_its_weight_grows():
    rollout = some_rollout(maps=False)
    objective = PixelDistance(GOALS, terminal_weight=1e6)
    np.testing.assert_allclose(objective(rollout), objective.terms(rollout)["pixel_distance"][:, -1], rtol=1e-4)


def test_a_mask_hides_what_does_not_matter():
    goal, frames = np.zeros((H, W, 3)), np.zeros((1, T, H, W, 3), np.float32)
    frames[..., 0, 0, :] = 1.0
    mask = np.ones((H, W))
    mask[0, 0] = 0.0
    rollout = Rollout(np.zeros((1, T, A)), frames=frames)
    assert GoalImage(goal, mask=mask)(rollout)[0] == 0.0
    assert GoalImage(goal)(rollout)[0] == pytest.approx(1.0 / (H * W))


# ---- approach


def test_the_place_to_push_from_lies_behind_the_object_as_seen_from_the_goal():
    objective = Approach(lambda states: states, [10.0, 30.0], offset=5.5, clearance=0.0)
    rollout = Rollout(
        np.zeros((3, 1, 2)),
        states=np.array([[[10.0, 14.5]], [[10.0, 25.5]], [[15.5, 20.0]]]),  # behind, in front, beside
        pixels=np.full((3, 1, 1, 2), [10.0, 20.0]),
    )
    np.testing.assert_allclose(objective(rollout), [0.0, 11.0, np.hypot(5.5, 5.5)], atol=2e-3)


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


# ---- homography


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
    with pytest.raises(ValueError, match=r"\[3, 3\]"):
        Homography(np.zeros((2, 3)))


# ---- sums


def test_weights_scale_their_terms_and_names_stay():
    rollout = some_rollout()
    inner = WeightedSum({"size": ActionMagnitude(), "change": ActionSmoothness()}, {"change": 2.0})
    outer = WeightedSum({"pixel": PixelDistance(GOALS), "actions": inner}, {"actions": 0.5})
    assert list(outer.terms(rollout)) == ["pixel", "actions/size", "actions/change"]
    np.testing.assert_allclose(
        outer.explain(rollout)["actions/change"], ActionSmoothness().terms(rollout)["action_smoothness"] / T, rtol=1e-6
    )
    np.testing.assert_allclose(
        outer.terms(rollout)["actions/change"], ActionSmoothness().terms(rollout)["action_smoothness"]
    )
    assert set(outer.outputs) == {"pixels"}


def test_a_term_without_weight_is_neither_computed_nor_asked_for():
    objective = WeightedSum({"pixel": PixelDistance(GOALS), "image": GoalImage(GOAL_FRAME)}, {"image": 0.0})
    assert objective.outputs == ("pixels",)
    rollout = Rollout(some_rollout().actions, pixels=some_rollout().pixels)  # no frames
    np.testing.assert_allclose(objective(rollout), PixelDistance(GOALS)(rollout))
    with pytest.raises(ValueError, match="every weight is 0"):
        WeightedSum({"pixel": PixelDistance(GOALS)}, {"pixel": 0.0})


# ---- refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PixelDistance([[1, 2, 3]]), r"goals must be finite pixels \[P, 2\]"),
        (lambda: PixelDistance([[1, np.nan]]), "goals must be finite"),
        (lambda: PixelDistance(GOALS, terminal_weight=0.0), "terminal_weight must lie in"),
        (lambda: PixelDistance(GOALS, indices=[0]), "one pixel for each of 2 goals"),
        (lambda: Approach(TIP, GOALS), "got 2 goals"),
        (lambda: Approach(TIP, [1, 2], offset=3.0), "clearance must lie in"),
        (lambda: Approach(TIP, [1, 2], index=-1), "index must be"),
        (lambda: GoalImage(np.zeros((4, 4))), r"an image \[H, W, 3\]"),
        (lambda: GoalImage(np.full((4, 4, 3), 7.0)), r"floating in \[0, 1\]"),
        (lambda: GoalImage(GOAL_FRAME, mask=np.zeros((H, W))), "positive sum"),
        (lambda: GoalImage(GOAL_FRAME, mask=np.ones((2, 2))), "mask must be non-negative"),
        (lambda: RobotState([[1.0]]), r"finite state \[D\]"),
        (lambda: RobotState([1.0], indices=[0, 1]), "must name 1 entries"),
        (lambda: RobotState([1.0], scale=0.0), "scale must be positive"),
        (lambda: ActionMagnitude(scale=-1.0), "scale must lie in"),
        (lambda: ActionSmoothness(previous=[np.inf]), "finite action"),
        (lambda: WeightedSum({}), "the terms are"),
        (lambda: WeightedSum({"a": ActionMagnitude()}, {"b": 1.0}), r"unknown terms \['b'\]; the terms are \['a'\]"),
        (lambda: WeightedSum({"a": ActionMagnitude()}, {"a": np.nan}), "weight of 'a'"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_tip_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="tip_pixels must be a function"):
        Approach([0.0, 1.0], [1, 2])


@pytest.mark.parametrize(
    ("objective", "changes", "message"),
    [
        (PixelDistance(GOALS), {"pixel_distributions": None, "pixels": None}, "lacks; ask the simulator for 'pixels'"),
        (PixelDistance(GOALS[:1]), {}, "follows 2 pixels, the objective has 1 goals"),
        (PixelDistance(GOALS[:1], indices=[2]), {}, "follows 2 pixels, indices are"),
        (GoalImage(np.zeros((4, 4, 3))), {}, "frames are"),
        (GoalImage(GOAL_FRAME), {"frames": None}, "ask the simulator for 'frames'"),
        (RobotState([1.0], indices=[3]), {}, "reads entry 3"),
        (Approach(TIP, [1, 2]), {"states": None}, "ask the simulator for 'states'"),
    ],
)
def test_rollouts_that_do_not_fit_are_refused(objective, changes, message):
    rollout = some_rollout()
    fields = {name: getattr(rollout, name) for name in ("frames", "states", "pixel_distributions", "pixels")}
    with pytest.raises(ValueError, match=message):
        objective(Rollout(rollout.actions, **{**fields, **changes}))
