"""Methods: what each imagines with, and that every one runs a task."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from visual_foresight.benchmark.episode import run_task
from visual_foresight.benchmark.methods import (
    METHODS,
    PLANNING_METHODS,
    Imagination,
    goal_pixel,
    make_imagination,
    make_pilot,
    metres_per_pixel,
    recording_camera,
)
from visual_foresight.benchmark.rows import episode_row
from visual_foresight.benchmark.settings import ControlSettings
from visual_foresight.benchmark.simulators import StillSimulator, make_simulator
from visual_foresight.cli.control import DEFAULT_ENVIRONMENT
from visual_foresight.envs.tasks import sample_task

SMALL = ControlSettings(steps=3, candidates=8, iterations=1, elites=2, horizon=2, action_repeat=1, replan_interval=2)


@pytest.fixture(scope="module")
def environment():
    import visual_foresight  # noqa: F401  registers the environments

    made = gymnasium.make(DEFAULT_ENVIRONMENT)
    yield made
    made.close()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_a_task(method, environment, task, tiny_predictor):
    """Each method acts inside the Box, leaves a row, runs the whole budget; the same seed gives the same actions."""
    imagination = make_imagination(method, environment, str(tiny_predictor))
    records = [
        run_task(environment, imagination, task, SMALL, name="t", rng=np.random.default_rng(3), whole_budget=True)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(records[0].actions, records[1].actions)
    assert records[0].num_steps == 3
    assert np.abs(records[0].actions).max() <= 1.0
    assert len(records[0].decisions) == (2 if method in PLANNING_METHODS else 0)
    row = episode_row(records[0], task, method=method, index=0, planner_seed=0)
    assert row["final_distance_px"] == pytest.approx(records[0].distances[-1])
    assert all(np.isfinite(decision.cost) for decision in records[0].decisions)


def test_floors_are_what_they_say(environment, task):
    """Zero never moves; random is spread over the Box and differs between seeds."""
    env = environment.unwrapped
    environment.reset(options={"task": task})
    zero = make_pilot(env, make_imagination("zero", environment, ""), task, SMALL, 0)
    assert not zero.act(None).any()
    noise = make_imagination("random", environment, "")
    first, second = (make_pilot(env, noise, task, SMALL, seed) for seed in (0, 1))
    drawn = np.stack([first.act(None) for _ in range(300)])
    assert not np.array_equal(drawn[0], second.act(None))
    assert np.abs(drawn.mean(axis=0)).max() < 0.2 and drawn.std(axis=0).min() > 0.5


def test_true_state_is_exact(environment, task):
    """Positions in a true-state rollout are those that stepping the physics gives, in metres over the unit."""
    environment.reset(options={"task": task})
    env = environment.unwrapped
    imagination = make_imagination("true-state", environment, "")
    item = env.physics.object_poses()[task.object_index]
    behind = np.asarray(item[:2]) - env.physics.tip_position
    actions = np.repeat(np.clip(behind / np.abs(behind).max(), -1, 1)[None], 8, axis=0)
    start = imagination.simulator.start()
    rollout = imagination.simulator.rollout(start, actions[None])
    for step, action in enumerate(actions):
        environment.step(action.astype(np.float32))
        unit = metres_per_pixel()
        place = env.physics.object_poses()[task.object_index, :2]
        np.testing.assert_allclose(rollout.pixels[0, step, 0] * unit, place, atol=1e-6)
        np.testing.assert_allclose(rollout.states[0, step] * unit, env.physics.tip_position, atol=1e-6)


def test_true_state_objective_costs_exact_positions(environment, task):
    """The cost of a plan is the weighted distance on the table in units of a pixel, worked out once more by hand."""
    environment.reset(options={"task": task})
    env = environment.unwrapped
    imagination = make_imagination("true-state", environment, "")
    settings = ControlSettings(
        steps=2, candidates=8, iterations=1, elites=2, horizon=2, action_repeat=1, approach_weight=0
    )
    pilot = make_pilot(env, imagination, task, settings, 0)
    observation, info = environment.reset(options={"task": task})
    pilot.act(observation, pixels=info["object_pixels"][task.object_index][None])
    places = []
    for action in pilot.last_plan.actions:
        environment.step(action)
        places.append(env.physics.object_poses()[task.object_index, :2])
    distances = np.linalg.norm(np.array(places) - task.goal_position, axis=1) / metres_per_pixel()
    assert pilot.last_plan.cost == pytest.approx((distances[0] + 10 * distances[1]) / 11, rel=1e-4)


def test_scripted_pushes_bring_objects_nearer_without_a_search(environment):
    """The physics judges seven pushes and one other sequence; with eight others it gets half as far, or less."""
    settings = ControlSettings(planner="random", candidates=8, horizon=15, replan_interval=15, steps=15, elites=2)
    imagination = make_imagination("true", environment, "")
    gained = {7: [], 0: []}
    for task in map(sample_task, range(4)):
        for count, gains in gained.items():
            own = replace(settings, proposals=count)
            record = run_task(environment, imagination, task, own, name="t", rng=0, whole_budget=True)
            gains.append(record.distances[0] - record.distances[-1])
    assert min(gained[7]) > 3.0 and np.mean(gained[7]) > 2 * np.mean(gained[0])


def test_a_still_future_keeps_the_picture_and_moves_the_robot():
    """Copy-last-frame: frames and pixels are those of the start, states follow the actions up to their limit."""
    simulator = StillSimulator(0.03, 0.1)
    frame = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    start = simulator.start(frame, None, np.zeros((2, 2)), pixels=[(3.0, 4.0)])
    actions = np.ones((5, 4, 2), np.float32)
    rollout = simulator.rollout(start, actions, outputs=("frames", "states", "pixels"))
    np.testing.assert_allclose(rollout.frames[2, 3], frame[1] / 255.0, atol=1e-6)
    assert (rollout.pixels == (3.0, 4.0)).all() and rollout.pixels.shape == (5, 4, 1, 2)
    np.testing.assert_allclose(rollout.states[0, :, 0], [0.03, 0.06, 0.09, 0.1])


def test_precision_reaches_the_predictor(environment, tiny_predictor):
    """`dtype` is the policy of the predictor that imagines."""
    door = make_simulator("learned", environment, str(tiny_predictor), dtype="mixed_bfloat16")
    policies = {layer.dtype_policy.name for layer in door.simulator.predictor._flatten_layers()}
    assert "mixed_bfloat16" in policies


def test_unknown_names_are_refused(environment):
    """Methods and simulators are refused with the names there are."""
    with pytest.raises(ValueError, match="unknown method 'best'; known methods: learned, true"):
        make_imagination("best", environment, "")
    with pytest.raises(ValueError, match="unknown simulator 'best'"):
        make_simulator("best", environment, "")


def test_only_a_known_camera_that_moved_is_rectified(environment, task, tiny_predictor):
    """A predictor that names the usual camera gets its picture back; one that names none plans in what it sees."""
    from visual_foresight.envs.camera import PUSH_CAMERA
    from visual_foresight.envs.shifts import make_shifted
    from visual_foresight.planners import RectifiedController

    simulator = make_simulator("learned", environment, str(tiny_predictor))
    metadata = simulator.simulator.predictor.metadata
    shifted = make_shifted("camera_tilt", 1.0)
    still = ControlSettings(**{**SMALL.table(), "rectify": False})

    def pilot(world, settings=SMALL):
        world.reset(options={"task": task})
        return make_pilot(world.unwrapped, Imagination("learned", simulator), task, settings, 0)

    kept = metadata.pop("training", None)
    try:
        assert not isinstance(pilot(shifted), RectifiedController)
        metadata["training"] = {"data": {"recorded_with": {"camera": PUSH_CAMERA.digest()}}}
        assert not isinstance(pilot(environment), RectifiedController)
        assert not isinstance(pilot(shifted, still), RectifiedController)
        rectified = pilot(shifted)
        assert isinstance(rectified, RectifiedController)
        # The goal it works towards is where the usual camera would see it.
        np.testing.assert_allclose(np.ravel(rectified.goals), goal_pixel(environment.unwrapped, task), atol=0.35)
        record = run_task(shifted, Imagination("learned", simulator), task, SMALL, name="t", rng=0)
        again = run_task(shifted, Imagination("learned", simulator), task, SMALL, name="t", rng=0)
        np.testing.assert_array_equal(record.actions, again.actions)
        first = record.decisions[0]
        assert first.frames.dtype == np.uint8 and first.frames.shape[1:] == record.frames.shape[1:]
        # Expectations come back in the present camera's picture: the plan begins where the object is seen.
        assert np.linalg.norm(first.pixels[0] - record.pixels[0]) < 2.0
    finally:
        shifted.close()
        metadata.pop("training", None)
        if kept is not None:
            metadata["training"] = kept


def test_the_shipped_predictor_names_its_camera(environment):
    """Where its training wrote it down, and it is that of the environment."""
    from visual_foresight.envs.camera import PUSH_CAMERA
    from visual_foresight.envs.shifts import make_shifted

    predictor = make_simulator("learned", environment, "push_fast").simulator.predictor
    shifted = make_shifted("camera_pan", 1.0)
    assert recording_camera(shifted.unwrapped, predictor) == PUSH_CAMERA != shifted.unwrapped.camera
    shifted.close()


def test_a_second_predictor_is_asked_about_the_best_candidates(environment, task, tiny_predictor):
    """The second member of an ensemble sees a quarter; episodes repeat, and a moved camera is rectified."""
    from visual_foresight.benchmark.methods import SECOND_SHARE
    from visual_foresight.envs.camera import PUSH_CAMERA
    from visual_foresight.envs.shifts import make_shifted
    from visual_foresight.planners import Ensemble, RectifiedController

    imagination = make_imagination("learned", environment, str(tiny_predictor), second=str(tiny_predictor))
    ensemble = imagination.simulator
    assert isinstance(ensemble, Ensemble) and ensemble.penalty == 0.0 and ensemble.share == SECOND_SHARE
    records = [run_task(environment, imagination, task, SMALL, name="t", rng=3) for _ in range(2)]
    np.testing.assert_array_equal(records[0].actions, records[1].actions)
    assert records[0].decisions[0].frames is not None
    metadata = ensemble.simulators[0].simulator.predictor.metadata
    kept = metadata.pop("training", None)
    metadata["training"] = {"data": {"recorded_with": {"camera": PUSH_CAMERA.digest()}}}
    shifted = make_shifted("camera_pan", 1.0)
    try:
        shifted.reset(options={"task": task})
        assert isinstance(make_pilot(shifted.unwrapped, imagination, task, SMALL, 0), RectifiedController)
    finally:
        shifted.close()
        metadata.pop("training")
        if kept is not None:
            metadata["training"] = kept
    with pytest.raises(ValueError, match="unknown preset"):
        make_imagination("learned", environment, str(tiny_predictor), second="nobody")
    both = {"second": str(tiny_predictor), "penalty": 1.5}
    assert make_imagination("learned", environment, str(tiny_predictor), **both).simulator.penalty == 1.5
