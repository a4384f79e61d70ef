"""Many scenes in one call: as each of them alone."""

import gymnasium
import numpy as np
import pytest

import visual_foresight as vf
from visual_foresight.chunks import chunks
from visual_foresight.planners import CEM, CEMGradient, plan_many
from visual_foresight.planners.objectives import ActionMagnitude, GoalImage, PixelDistance
from visual_foresight.simulator import SimulatorStart

BOX = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
OUTPUTS = ("frames", "states", "pixel_distributions", "pixels")


@pytest.fixture(scope="module")
def scenes(simulator):
    rng = np.random.default_rng(5)
    return [
        simulator.start(
            rng.random((1, 64, 64, 3), np.float32), states=rng.normal(size=(1, 2)), pixels=[(9.0 * (1 + index), 30.5)]
        )
        for index in range(3)
    ]


@pytest.fixture(scope="module")
def stacked(scenes):
    return SimulatorStart.stack(scenes)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("chunk_size", [4, 16, 64])
def test_a_rollout_of_many_scenes_is_that_of_each(simulator, scenes, stacked, every, chunk_size, monkeypatch):
    """Five candidates of each are padded to eight: candidates apart, two scenes in a call, all of them."""
    monkeypatch.setattr(simulator, "chunk_size", chunk_size)
    actions = np.random.default_rng(6).normal(size=(3, 5, 6, 2)).astype(np.float32)
    together = simulator.rollout(stacked, actions.reshape(15, 6, 2), OUTPUTS, every=every)
    for index, scene in enumerate(scenes):
        alone = simulator.rollout(scene, actions[index], OUTPUTS, every=every)
        for name in (*OUTPUTS, "actions"):
            found = getattr(together, name)[5 * index : 5 * index + 5]
            np.testing.assert_allclose(found, getattr(alone, name), atol=2e-4, err_msg=name)


def test_scenes_in_the_middle_of_their_leaps_go_on_together(simulator, scenes, stacked):
    moved = simulator.advance(stacked, np.full((3, 2), 0.3, np.float32))
    actions = np.random.default_rng(7).normal(size=(6, 4, 2)).astype(np.float32)
    together = simulator.rollout(moved, actions, ("pixels",))
    for index in range(3):
        alone = simulator.rollout(moved.select(index), actions[2 * index : 2 * index + 2], ("pixels",))
        np.testing.assert_allclose(together.pixels[2 * index : 2 * index + 2], alone.pixels, atol=1e-3)


def test_scenes_at_different_steps_of_their_leaps(simulator, scenes):
    """They have no calls in common where every step is wanted; without leaps there is nothing to be apart in."""
    further = simulator.advance(scenes[0], np.zeros((1, 2), np.float32))
    both, actions = SimulatorStart.stack([further, scenes[1]]), np.zeros((2, 3, 2))
    if simulator.stride > 1:
        with pytest.raises(ValueError, match=r"\[0, 1\] steps into their leaps"):
            simulator.rollout(both, actions, ("pixels",))
    whole = {"outputs": ("pixels",), "every": simulator.stride}
    together = simulator.rollout(both, actions, **whole).pixels
    alone = [simulator.rollout(each, actions[:1], **whole).pixels for each in (further, scenes[1])]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-3)


@pytest.mark.parametrize("on_device", [False, True])
def test_costs_of_many_scenes_are_those_of_each(simulator, scenes, stacked, on_device, monkeypatch):
    """Objectives may be of different kinds."""
    monkeypatch.setattr(simulator, "costs_on_device", on_device)
    goal = np.random.default_rng(8).random((64, 64, 3))
    objectives = [PixelDistance(np.array([20.0, 20.0])), PixelDistance(np.array([50.0, 9.0])), GoalImage(goal)]
    candidates = np.random.default_rng(9).uniform(-1, 1, (3, 5, 4, 2)).astype(np.float32)
    costs = simulator.cost_function(stacked, objectives)(candidates)
    for index, scene in enumerate(scenes):
        alone = simulator.cost_function(scene, objectives[index])(candidates[index])
        np.testing.assert_allclose(costs[index], alone, rtol=1e-4)
    assert len({float(cost) for cost in costs.ravel()}) == 15


def test_the_network_is_called_once_for_all_scenes(simulator, stacked, monkeypatch):
    calls = []
    roll = simulator._roll_chunk
    monkeypatch.setattr(simulator, "_roll_chunk", lambda *given: calls.append(1) or roll(*given))
    costs = simulator.cost_function(stacked, [PixelDistance(np.array([20.0, 20.0]))] * 3)
    plan_many(CEM(num_candidates=8, num_elites=2, num_iterations=2, horizon=3), costs, BOX, rngs=_rngs())
    assert len(calls) == 2


@pytest.mark.parametrize("on_device", [False, True])
def test_scenes_of_many_candidates_go_together_on_accelerators_only(simulator, stacked, on_device, monkeypatch):
    monkeypatch.setattr(simulator, "costs_on_device", on_device)
    sizes = []
    for name in ("rollout", "futures"):
        original = getattr(type(simulator), name)

        def counted(self, start, actions, *given, original=original, **named):
            sizes.append((start.num_scenes, len(actions)))
            return original(self, start, actions, *given, **named)

        monkeypatch.setattr(type(simulator), name, counted)
    costs = simulator.cost_function(stacked, [PixelDistance(np.array([20.0, 20.0]))] * 3)
    for count in (64, 65):
        assert costs(np.zeros((3, count, 3, 2))).shape == (3, count)
    assert sizes == [(3, 192), *([(3, 195)] if on_device else [(1, 65)] * 3)]


@pytest.mark.parametrize("planner", [CEM, CEMGradient])
def test_plans_of_many_scenes_are_those_of_each(simulator, scenes, stacked, planner):
    search = planner(num_candidates=8, num_elites=2, num_iterations=2, horizon=3)
    objectives = [PixelDistance(np.array([10.0 + 20 * index, 20.0])) for index in range(3)]
    together = plan_many(search, simulator.cost_function(stacked, objectives), BOX, rngs=_rngs())
    for index, rng in enumerate(_rngs()):
        alone = search.plan(simulator.cost_function(scenes[index], objectives[index]), BOX, rng=rng)
        np.testing.assert_allclose(together[index].actions, alone.actions, atol=1e-3)
        assert together[index].cost == pytest.approx(alone.cost, rel=1e-4)


def test_costs_of_actions_alone_need_no_future(simulator, stacked):
    costs = simulator.cost_function(stacked, [ActionMagnitude()] * 3)(np.full((3, 4, 3, 2), 0.5, np.float32))
    assert costs.shape == (3, 4)
    np.testing.assert_allclose(costs, costs[0, 0])


def test_what_does_not_fit_is_refused(simulator, stacked):
    one = PixelDistance(np.array([20.0, 20.0]))
    with pytest.raises(ValueError, match="3 scenes need an objective each, got 2"):
        simulator.cost_function(stacked, [one, one])
    with pytest.raises(ValueError, match=r"\[3, K, H, A\], got \[2, 5, 3, 2\]"):
        simulator.cost_function(stacked, [one] * 3)(np.zeros((2, 5, 3, 2)))
    with pytest.raises(ValueError, match="3 scenes need as many candidates each, got 4"):
        simulator.rollout(stacked, np.zeros((4, 3, 2)))
    with pytest.raises(ValueError, match="gradients are those of one scene, got 3"):
        simulator.cost_gradient(stacked, one, np.zeros((3, 3, 2)))


@pytest.mark.parametrize(("num_scenes", "each", "size"), [(1, 7, 4), (1, 100, 256), (5, 3, 8), (4, 20, 16), (7, 9, 64)])
def test_chunks_hold_every_candidate_once_in_order(num_scenes, each, size):
    actions = np.arange(num_scenes * each, dtype=np.float32).reshape(-1, 1, 1)
    parts = list(chunks(actions, num_scenes, size))
    np.testing.assert_array_equal(np.concatenate([part.own(part.actions) for part in parts]), actions)
    assert all(len(part.actions) <= size for part in parts)
    for part in parts:
        first = part.own(part.actions)[0, 0, 0]
        assert first // each == part.scenes.start


def _rngs():
    return [np.random.default_rng(seed) for seed in range(3)]


def test_the_predictor_is_lively_enough_for_these_tests(simulator, scenes):
    assert isinstance(simulator, vf.LearnedSimulator)
    one = simulator.rollout(scenes[0], np.zeros((1, 3, 2)), ("pixels",)).pixels
    two = simulator.rollout(scenes[0], np.ones((1, 3, 2)), ("pixels",)).pixels
    assert np.abs(one - two).max() > 1e-3
