"""The controller over a learned simulator: an untrained one, because only the joints are under test."""

import numpy as np
import pytest
from gymnasium import spaces

from visual_foresight.planners import CEM, MPC, CEMGradient, Ensemble, GradientDescent
from visual_foresight.planners.objectives import Approach, GoalImage, Homography, PixelDistance, WeightedSum
from visual_foresight.planners.simulation import cost_function, rollout_at_stride

pytestmark = pytest.mark.slow  # graphs are compiled

SIZE = 32
BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)
PLANNER = CEM(horizon=3, num_candidates=8, num_iterations=2, num_elites=3)


@pytest.fixture(scope="module")
def simulator():
    pytest.importorskip("keras")
    from visual_foresight import LearnedSimulator, VideoPredictor
    from visual_foresight.predictor.config import PredictorConfig

    config = PredictorConfig(
        backbone="fast", image_height=SIZE, image_width=SIZE, action_size=2, state_size=2, num_masks=3, width=0.25
    )
    return LearnedSimulator(VideoPredictor(config))


def observations(num_steps):
    rng = np.random.default_rng(0)
    for _ in range(num_steps):
        image = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        yield {"image": image, "state": rng.normal(0.0, 0.1, 2).astype(np.float32)}


@pytest.mark.parametrize("tracking", ["truth", "predicted"])
def test_plans_are_scored_as_their_rollouts_are(simulator, tracking):
    """The plan's cost is the objective of the plan's own rollout, whichever way the pixel is tracked."""
    tip = Homography([[0.0, -80.0, 16.0], [80.0, 0.0, 16.0], [0.0, 0.0, 1.0]])
    objective = WeightedSum(
        {
            "pixel": PixelDistance([20.0, 9.0]),
            "approach": Approach(tip, [20.0, 9.0]),
            "image": GoalImage(np.zeros((SIZE, SIZE, 3), np.uint8)),
        },
        {"approach": 0.4},
    )
    control = MPC(simulator, PLANNER, objective, action_space=BOX, rng=0, tracking=tracking, context_frames=1)
    for step, observation in enumerate(observations(2)):
        action = control.act(observation, pixels=[[12.25, 30.5]] if tracking == "truth" or step == 0 else None)
        assert BOX.contains(action)
    rollout = control.predicted_rollout()
    assert rollout.frames.shape == (1, 3, SIZE, SIZE, 3)
    assert control.last_objective(rollout)[0] == pytest.approx(control.last_plan.cost, rel=1e-3)
    assert sum(values.sum() for values in objective.explain(rollout).values()) == pytest.approx(
        control.last_plan.cost, rel=1e-3
    )


def test_a_predicted_map_is_the_simulators_own(simulator):
    """After one step the next search starts from the map that the simulator predicted for the executed action."""
    starts = []

    class Noted(type(simulator)):
        def start(self, frames, actions, states, *, pixels=None, pixel_distributions=None):
            starts.append((pixels, pixel_distributions))
            return super().start(frames, actions, states, pixels=pixels, pixel_distributions=pixel_distributions)

    control = MPC(
        Noted(simulator.predictor), PLANNER, PixelDistance([20.0, 9.0]), action_space=BOX, rng=0, tracking="predicted"
    )
    first, second = observations(2)
    action = control.act(first, pixels=[[12.0, 15.0]])
    expected = simulator.rollout(control.last_start, np.repeat(action[None, None], 3, axis=1)).pixel_distributions
    control.act(second)
    np.testing.assert_array_equal(starts[0][0], [[12.0, 15.0]])
    assert starts[1][0] is None
    np.testing.assert_allclose(starts[1][1], expected[0, 0], atol=1e-5)


@pytest.mark.parametrize(
    "planner",
    [
        GradientDescent(horizon=3, num_candidates=3, num_iterations=4),
        CEMGradient(horizon=3, num_candidates=8, num_iterations=1, num_elites=3, num_gradient_steps=3),
    ],
    ids=["gradient", "cem and gradient"],
)
def test_descending_through_the_network_lowers_the_cost(simulator, planner):
    """Costs and gradients come from the network itself; the plan is scored as its rollout is, a draft as it was."""
    objective = PixelDistance([20.0, 9.0])
    control = MPC(simulator, planner, objective, action_space=BOX, rng=0, context_frames=1)
    control.act(next(observations(1)), pixels=[[12.25, 30.5]])
    plan = control.last_plan
    assert plan.cost < plan.history[0].best_cost
    rollout = rollout_at_stride(simulator, control.last_start, plan.actions[None], ("pixel_distributions",))
    assert objective(rollout)[0] == pytest.approx(plan.cost, rel=1e-3)


def test_an_ensemble_of_networks_plans_with_costs_and_gradients(simulator):
    """Two members of one kind agree, so the ensemble's cost is that of one of them."""
    ensemble = Ensemble([simulator, simulator], penalty=2.0)
    first = next(observations(1))
    start = ensemble.start(first["image"][None], None, first["state"][None], pixels=[[12.25, 30.5]])
    objective = PixelDistance([20.0, 9.0])
    candidates = np.random.default_rng(0).uniform(-1, 1, (4, 3, 2)).astype(np.float32)
    together = cost_function(ensemble, start, objective)
    alone = cost_function(simulator, start[0], objective)
    np.testing.assert_allclose(together(candidates), alone(candidates), rtol=1e-4)
    np.testing.assert_allclose(together.gradient(candidates)[1], alone.gradient(candidates)[1], rtol=1e-3, atol=1e-5)
