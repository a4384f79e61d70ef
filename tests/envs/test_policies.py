"""Policies: their range, their own randomness, and what they achieve."""

import numpy as np
import pytest

from visual_foresight.envs.physics import Physics
from visual_foresight.envs.policies import POLICIES, make_policy, parse_policy
from visual_foresight.envs.scene import sample_scene


def run(name, episode, num_steps=15):
    """Actions of an episode and how far each object moved [m]; no pictures."""
    scene = sample_scene(np.random.default_rng([1, episode]))
    physics, policy = Physics(scene), make_policy(name)
    physics.start()
    policy.reset(scene, np.random.default_rng([2, episode]))
    start, actions = physics.object_poses()[:, :2], []
    for _ in range(num_steps):
        actions.append(policy.act(physics.tip_position, {"object_positions": physics.object_poses()}))
        physics.step(actions[-1])
    return np.array(actions), np.linalg.norm(physics.object_poses()[:, :2] - start, axis=1)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_contract_of_every_policy(name):
    """Actions are float32 within [-1, 1], and depend on the generator alone."""
    actions, _ = run(name, 0)
    assert actions.dtype == np.float32 and actions.shape == (15, 2)
    assert np.abs(actions).max() <= 1 and np.ptp(actions) > 0
    np.testing.assert_array_equal(actions, run(name, 0)[0])
    assert not np.array_equal(actions, run(name, 1)[0])


def test_scripted_pushes_move_objects():
    """At least 90 % of scripted episodes of 15 steps move some object by more than 2 cm (60 episodes here)."""
    moved = [run("scripted", episode)[1].max() > 0.02 for episode in range(60)]
    assert np.mean(moved) >= 0.9


def test_scripted_pushes_come_from_all_sides():
    """Objects are moved in each of the four directions in at least an eighth of the steps that move one."""
    shifts = []
    for episode in range(40):
        scene = sample_scene(np.random.default_rng([3, episode]))
        physics, policy = Physics(scene), make_policy("scripted")
        physics.start()
        policy.reset(scene, np.random.default_rng([4, episode]))
        for _ in range(15):
            before = physics.object_poses()[:, :2]
            physics.step(policy.act(physics.tip_position, {"object_positions": physics.object_poses()}))
            shifts.append(physics.object_poses()[:, :2] - before)
    shift = np.concatenate(shifts)
    shift = shift[np.linalg.norm(shift, axis=1) > 0.004]
    quarter = np.round(np.arctan2(shift[:, 1], shift[:, 0]) / (np.pi / 2)).astype(int) % 4
    assert (np.bincount(quarter, minlength=4) / len(quarter)).min() > 0.125


def test_close_stays_at_one_object_and_moves_it():
    """Once it is there the finger stays near its object, which is moved more than 1 cm in most episodes."""
    near, moved = [], []
    for episode in range(30):
        scene = sample_scene(np.random.default_rng([5, episode]))
        physics, policy = Physics(scene), make_policy("close")
        physics.start()
        policy.reset(scene, np.random.default_rng([6, episode]))
        start = physics.object_poses()[:, :2]
        for _ in range(20):
            physics.step(policy.act(physics.tip_position, {"object_positions": physics.object_poses()}))
            tip = physics.tip_position
            near.append(np.linalg.norm(physics.object_poses()[:, :2] - tip, axis=1).min())
        moved.append(np.linalg.norm(physics.object_poses()[:, :2] - start, axis=1).max())
    assert np.mean(np.array(near) < 0.12) > 0.8
    assert np.mean(np.array(moved) > 0.01) > 0.7


def test_smooth_actions_resemble_their_neighbours():
    """Neighbouring smooth actions are correlated, uniform ones are not."""

    def correlation(name):
        pairs = [run(name, episode)[0] for episode in range(12)]
        before, after = (np.concatenate([p[s].ravel() for p in pairs]) for s in (slice(None, -1), slice(1, None)))
        return np.corrcoef(before, after)[0, 1]

    assert correlation("smooth") > 0.5 > 0.25 > abs(correlation("uniform"))


def test_mixtures_draw_by_weight():
    """Over many episodes each policy of a mixture appears about as often as its weight says."""
    policy, names = make_policy("scripted=3,uniform=1"), []
    scene = sample_scene(np.random.default_rng(0))
    for seed in range(400):
        policy.reset(scene, np.random.default_rng(seed))
        names.append(policy.name)
    assert 0.65 < names.count("scripted") / 400 < 0.85 and set(names) == {"scripted", "uniform"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scriptd", "did you mean 'scripted'"),
        ("uniform=-1", "must be positive"),
        ("uniform=nan", "must be positive and finite"),
        ("uniform=a", "must be a number"),
        ("uniform=", "must be a number"),
        ("uniform,uniform", "twice"),
        ("", "unknown policy ''"),
    ],
)
def test_bad_texts_are_refused(text, message):
    """Each refusal names the part."""
    with pytest.raises(ValueError, match=message):
        parse_policy(text)
