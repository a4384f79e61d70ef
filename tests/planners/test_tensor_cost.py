"""Costs that are computed beside the network are those that NumPy computes from its rollouts."""

import numpy as np
import pytest

from visual_foresight import tensor_cost
from visual_foresight.kept_by_kind import KeptByKind
from visual_foresight.planners import CEM, ICEM, MPPI, Ensemble
from visual_foresight.planners.objectives import (
    ActionMagnitude,
    Approach,
    GoalImage,
    Homography,
    PixelDistance,
    RobotState,
    WeightedSum,
)
from visual_foresight.planners.simulation import SimulatedCost, cost_function

SIZE = 32
TIP = Homography([[0.0, -80.0, 16.0], [80.0, 0.0, 16.0], [0.0, 0.0, 1.0]])
GOALS = [[20.0, 9.0], [4.5, 6.0]]
PIXELS = [[12.25, 30.5], [16.0, 8.0]]
NETWORKS = {
    "seed": {"backbone": "seed", "num_masks": 2},
    "fast": {"backbone": "fast", "num_masks": 3},
    "leaping": {"backbone": "fast", "num_masks": 3, "context_frames": 1, "stride": 2},
}
OBJECTIVES = {
    "pixel": lambda: PixelDistance(GOALS[0], indices=[0]),
    "pixels": lambda: PixelDistance(GOALS, pixel_weights=[1.0, 3.0], spread_weight=0.5, smooth=1.0),
    "state": lambda: RobotState([0.1, 0.2]),
    "image": lambda: GoalImage(np.zeros((SIZE, SIZE, 3), np.uint8)),
    "actions": ActionMagnitude,
    "sum": lambda: WeightedSum(
        {"pixel": PixelDistance(GOALS), "approach": Approach(TIP, GOALS[0]), "size": ActionMagnitude()},
        {"approach": 0.4, "size": 0.1},
    ),
}


@pytest.fixture(scope="module")
def simulators():
    from visual_foresight import LearnedSimulator, VideoPredictor
    from visual_foresight.predictor.config import PredictorConfig

    sizes = {"image_height": SIZE, "image_width": SIZE, "action_size": 2, "state_size": 2, "width": 0.25}
    made = {name: LearnedSimulator(VideoPredictor(PredictorConfig(**sizes, **one))) for name, one in NETWORKS.items()}
    for simulator in made.values():
        simulator.costs_on_device = True
    return made


def begin(simulator):
    rng = np.random.default_rng(0)
    count = simulator.predictor.config.context_frames
    frames = rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    actions = rng.normal(size=(count - 1, 2)).astype(np.float32)
    return simulator.start(frames, actions, rng.normal(0.0, 0.1, (count, 2)).astype(np.float32), pixels=PIXELS)


def draw(count, horizon, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, horizon, 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("network", "name"),
    [("leaping", name) for name in OBJECTIVES]
    + [pytest.param(*case, marks=pytest.mark.slow) for case in (("seed", "sum"), ("fast", "pixel"))],
)
def test_costs_are_those_of_rollouts(simulators, network, name):
    """At first and when compiled, for horizons that are no whole leaps and numbers that are padded."""
    simulator, objective = simulators[network], OBJECTIVES[name]()
    start = begin(simulator)
    expected = SimulatedCost(simulator, start, objective)
    for decision in range(2):
        candidates = draw(5, 3, decision)
        costs = cost_function(simulator, start, objective)(candidates)
        assert isinstance(costs, np.ndarray) and costs.shape == (5,)
        np.testing.assert_allclose(costs, expected(candidates), rtol=2e-4)


@pytest.mark.slow
def test_chunks_and_moments_inside_leaps(simulators):
    """Candidates beyond one chunk are all judged, from the middle of a leap too."""
    simulator = simulators["leaping"]
    start = simulator.advance(begin(simulator), draw(1, 1)[:, 0])
    objective, candidates = PixelDistance(GOALS), draw(11, 4)
    expected = SimulatedCost(simulator, start, objective)(candidates)
    chunk_size, simulator.chunk_size = simulator.chunk_size, 4
    try:
        cost = cost_function(simulator, start, objective)
        np.testing.assert_allclose(cost(candidates), expected, rtol=2e-4)
        np.testing.assert_allclose(cost.gradient(candidates)[0], expected, rtol=2e-4)
    finally:
        simulator.chunk_size = chunk_size


class OfArrays:
    """Written for NumPy, and for nothing else."""

    outputs = ("states",)

    def __init__(self):
        self.seen = []

    def __call__(self, rollout):
        self.seen.append(type(rollout.states))
        if not isinstance(rollout.states, np.ndarray):
            raise TypeError("arrays only")
        return rollout.states[..., 0].sum(axis=1)


class OfValues:
    """Reads tensors, but decides by their values, which a graph does not know; counts its calls."""

    outputs = ("states",)
    calls = 0

    def __call__(self, rollout):
        type(self).calls += 1
        total = float(np.sum(np.asarray(rollout.states)))
        return np.asarray(rollout.states)[:, -1, 0] + (1.0 if total > 0 else 2.0)


def test_an_objective_of_arrays_is_given_arrays(simulators):
    """After one attempt it is not shown tensors again, and costs are right from the first call."""
    simulator, objective, candidates = simulators["fast"], OfArrays(), draw(4, 3)
    start = begin(simulator)
    expected = SimulatedCost(simulator, start, OfArrays())(candidates)
    for _ in range(3):
        np.testing.assert_allclose(cost_function(simulator, start, objective)(candidates), expected, rtol=1e-5)
    assert [kind is np.ndarray for kind in objective.seen] == [False, True, True, True]


def test_an_objective_of_values_is_not_compiled(simulators):
    """It is asked at each call, whether it says so itself or is found out."""
    simulator, candidates = simulators["fast"], draw(4, 3)
    start, objective = begin(simulator), OfValues()
    expected = SimulatedCost(simulator, start, OfValues())(candidates)
    for compilable in (True, False):
        objective.compilable = compilable
        before = OfValues.calls
        for _ in range(3):
            np.testing.assert_allclose(cost_function(simulator, start, objective)(candidates), expected, rtol=1e-5)
        assert OfValues.calls >= before + 3


def test_an_objective_that_does_not_fit_says_so(simulators):
    """The objective's own error reaches the caller."""
    simulator = simulators["fast"]
    with pytest.raises(ValueError, match="the rollout follows 2 pixels"):
        cost_function(simulator, begin(simulator), PixelDistance(GOALS[0]))(draw(4, 3))


def plan(simulator, objective, planner, seed=0, **options):
    from gymnasium import spaces

    cost = cost_function(simulator, begin(simulator), objective)
    space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    return planner.plan(cost, space, rng=np.random.default_rng(seed), **options), cost


@pytest.mark.parametrize(
    ("network", "name"),
    [("leaping", "sum")]
    + [pytest.param(*case, marks=pytest.mark.slow) for case in (("leaping", "image"), ("fast", "pixels"))],
)
def test_a_whole_search_finds_the_same_plan(simulators, network, name, monkeypatch):
    """From the second decision on a search is one call, whatever the goal; its plan is that of NumPy's costs."""
    simulator, planner = simulators[network], ICEM(horizon=3, num_candidates=12, num_elites=4, num_iterations=2)
    monkeypatch.setattr(tensor_cost, "_JUDGES", KeptByKind(32))  # no objective was here before
    calls = count_calls(simulator, "futures", monkeypatch)
    for decision in range(3):
        objective = OBJECTIVES[name]()
        for part in getattr(objective, "objectives", {"": objective}).values():
            if hasattr(part, "goals"):
                part.goals = part.goals + decision
        found, _ = plan(simulator, objective, planner, decision)
        simulator.costs_on_device = False
        expected, _ = plan(simulator, objective, planner, decision)
        simulator.costs_on_device = True
        np.testing.assert_allclose(found.cost, expected.cost, rtol=2e-4)
        np.testing.assert_allclose(found.actions, expected.actions, atol=1e-4)
        assert found.num_evaluations == expected.num_evaluations
    assert calls == [2, 2]  # of two decisions; the third was one search
    assert len([key for key in simulator.searches if key[0] is planner]) == 1


def count_calls(simulator, method, monkeypatch):
    """Calls of each decision that made any."""
    calls, original = [], getattr(type(simulator), method)

    def counted(self, start, actions, outputs):
        if not calls or calls[-1] == 2:
            calls.append(0)
        calls[-1] += 1
        return original(self, start, actions, outputs)

    monkeypatch.setattr(type(simulator), method, counted)
    return calls


def test_a_search_with_a_deadline_goes_step_by_step(simulators, monkeypatch):
    """So do searches of other planners, and of objectives that do not say what their inputs are."""
    simulator, objective = simulators["leaping"], PixelDistance(GOALS)
    few = {"horizon": 2, "num_candidates": 8}
    for _ in range(2):
        plan(simulator, objective, CEM(**few, num_elites=4))
    monkeypatch.setattr(tensor_cost, "make_whole_search", None)  # would fail if it were asked for
    found, cost = plan(simulator, objective, CEM(**few, num_elites=3), deadline_ms=1e6)
    assert found.num_iterations == 3
    plan(simulator, objective, MPPI(**few))
    plan(simulator, OfValues(), CEM(**few, num_elites=3))
    with pytest.raises(TypeError):
        plan(simulator, objective, CEM(**few, num_elites=3))


def test_members_of_an_ensemble_judge_on_the_device(simulators, monkeypatch):
    """An ensemble asks its members for costs, so that no member copies a rollout."""
    simulator = simulators["fast"]
    ensemble, objective, candidates = Ensemble([simulator, simulator], penalty=2.0), PixelDistance(GOALS), draw(4, 3)
    start = begin(simulator)
    expected = SimulatedCost(simulator, start, objective)(candidates)

    def refuse(self, start, actions, outputs=("frames", "states", "pixel_distributions"), **options):
        raise AssertionError("a rollout was copied")

    monkeypatch.setattr(type(simulator), "rollout", refuse)
    np.testing.assert_allclose(cost_function(ensemble, (start, start), objective)(candidates), expected, rtol=2e-4)


def test_the_cpu_keeps_numpy(simulators):
    """Unless told otherwise, costs are computed beside the network on accelerators only."""
    from visual_foresight import LearnedSimulator
    from visual_foresight.backend import device_kind

    simulator = LearnedSimulator(simulators["fast"].predictor)
    assert simulator.costs_on_device == (device_kind() != "cpu")
