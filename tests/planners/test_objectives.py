"""Objectives against slow loops, on NumPy arrays, on tensors, and inside a compiled function."""

import subprocess
import sys

import numpy as np
import pytest
from objective_cases import GOAL_FRAME, GOALS, MASK, TIP, A, H, K, P, S, T, W, some_rollout

from visual_foresight.planners.objectives import (
    ActionMagnitude,
    ActionSmoothness,
    Approach,
    GoalImage,
    Objective,
    PixelDistance,
    RobotState,
    WeightedSum,
)
from visual_foresight.rollout import Rollout


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


def slow_pixel_distance(rollout, terminal_weight=10.0, spread_weight=1.0):
    distances = np.zeros((K, T))
    for k in range(K):
        for t in range(T):
            for p in range(P):
                if rollout.pixel_distributions is not None:
                    seen = rollout.pixel_distributions[k, t, p].astype(float)
                    distance = spread_weight * slow_expected_distance(seen, GOALS[p])
                    distance += (1 - spread_weight) * np.linalg.norm(slow_expected_pixel(seen) - GOALS[p])
                else:
                    distance = np.linalg.norm(rollout.pixels[k, t, p] - GOALS[p])
                distances[k, t] += distance / P
    return mean_with_terminal_weight(distances, terminal_weight)


def slow_approach(rollout, index=1, goal=(2.0, 9.0), offset=5.5):
    costs = np.zeros(K)
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
            costs[k] += np.linalg.norm(tip - (place + offset * away)) / T
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


CASES = {
    "pixel distance": (lambda: PixelDistance(GOALS), slow_pixel_distance),
    "pixel distance, terminal 1": (
        lambda: PixelDistance(GOALS, terminal_weight=1.0),
        lambda rollout: slow_pixel_distance(rollout, 1.0),
    ),
    "pixel distance, blur for nothing": (
        lambda: PixelDistance(GOALS, spread_weight=0.0),
        lambda rollout: slow_pixel_distance(rollout, spread_weight=0.0),
    ),
    "pixel distance, blur for a quarter": (
        lambda: PixelDistance(GOALS, spread_weight=0.25),
        lambda rollout: slow_pixel_distance(rollout, spread_weight=0.25),
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
