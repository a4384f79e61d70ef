"""The pure pieces: bounds, noise, held actions, shifting, the rollout record."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from visual_foresight.planners import ActionBounds, shift
from visual_foresight.planners.noise import block_means, coloured_noise, hold, num_blocks
from visual_foresight.planners.objectives import ActionSmoothness, RobotState, WeightedSum
from visual_foresight.planners.objectives.calibration import imagine
from visual_foresight.planners.simulation import cost_function
from visual_foresight.rollout import Rollout

# ---- bounds


def test_centre_and_scale_of_every_kind_of_limit():
    low, high = np.array([-1.0, 0.5, -np.inf, -np.inf, 2.0]), np.array([3.0, np.inf, -0.5, np.inf, 2.0])
    bounds = ActionBounds.of(spaces.Box(low, high, dtype=np.float64), unbounded_scale=0.7)
    np.testing.assert_allclose(bounds.center, [1.0, 0.5, -0.5, 0.0, 2.0])
    np.testing.assert_allclose(bounds.scale, [2.0, 0.7, 0.7, 0.7, 0.0])
    np.testing.assert_allclose(bounds.still, [0.0, 0.5, -0.5, 0.0, 2.0])
    assert bounds.action_size == 5


def test_float64_limits_are_rounded_inwards():
    """float32(0.1) is above 0.1 and float32(-0.1) below -0.1: plain rounding would leave the Box."""
    bounds = ActionBounds.of(spaces.Box(-0.1, 0.1, (1,), np.float64))
    assert float(bounds.high[0]) <= 0.1
    assert float(bounds.low[0]) >= -0.1
    assert float(bounds.high[0]) == pytest.approx(0.1)


def test_a_locked_dimension_is_held_at_the_nearest_number():
    """No float32 is 0.1; the other dimensions are planned as ever."""
    bounds = ActionBounds.of(spaces.Box(np.array([0.1, -1.0, 0.0]), np.array([0.1, 1.0, 0.0]), dtype=np.float64))
    np.testing.assert_array_equal(bounds.low, np.float32([0.1, -1.0, 0.0]))
    np.testing.assert_array_equal(bounds.high, np.float32([0.1, 1.0, 0.0]))
    np.testing.assert_array_equal(bounds.center, np.float32([0.1, 0.0, 0.0]))
    np.testing.assert_array_equal(bounds.scale, np.float32([0.0, 1.0, 0.0]))


def test_a_box_without_any_float32_is_refused():
    with pytest.raises(ValueError, match="holds no float32 action"):
        ActionBounds.of(spaces.Box(np.array([0.1 + 1e-12]), np.array([0.1 + 2e-12]), dtype=np.float64))


# ---- noise


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("num_steps", [15, 16])
def test_noise_has_the_power_law_it_was_asked_for(exponent, num_steps):
    """Mean power at each frequency against f**-exponent, not only its slope."""
    noise = coloured_noise(np.random.default_rng(0), 40000, num_steps, 1, exponent)[..., 0].astype(np.float64)
    power = np.mean(np.abs(np.fft.rfft(noise, axis=1)) ** 2, axis=0)
    frequencies = np.fft.rfftfreq(num_steps)
    frequencies[0] = frequencies[1]
    expected = frequencies**-exponent
    whole = np.abs(np.fft.fftfreq(num_steps))
    whole[0] = whole[1]
    expected *= num_steps / np.mean(whole**-exponent)
    np.testing.assert_allclose(power, expected, rtol=0.05)
    slope = np.polyfit(np.log(frequencies[1:]), np.log(power[1:]), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.05)


@pytest.mark.parametrize("exponent", [0.0, 2.0])
def test_noise_has_deviation_one_at_every_step_and_mean_zero(exponent):
    noise = coloured_noise(np.random.default_rng(1), 20000, 10, 2, exponent)
    np.testing.assert_allclose(noise.std(axis=0), 1.0, atol=0.03)
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=0.03)


def test_noise_of_different_dimensions_is_independent():
    noise = coloured_noise(np.random.default_rng(2), 20000, 8, 2, 2.0)
    assert abs(np.mean(noise[..., 0] * noise[..., 1])) < 0.02


def test_white_noise_is_what_the_generator_draws():
    noise = coloured_noise(np.random.default_rng(3), 2, 4, 3, 0.0)
    np.testing.assert_array_equal(noise, np.random.default_rng(3).standard_normal((2, 4, 3), dtype=np.float32))


# ---- held actions


@given(horizon=st.integers(1, 20), repeat=st.integers(1, 25))
def test_block_means_undo_holding(horizon, repeat):
    blocks = np.random.default_rng(horizon).normal(size=(3, num_blocks(horizon, repeat), 2))
    held = hold(blocks, repeat, horizon)
    assert held.shape == (3, horizon, 2)
    np.testing.assert_allclose(block_means(held, repeat), blocks, atol=1e-12)


def test_block_means_of_actions_that_are_not_held():
    actions = np.arange(5.0)[:, None]
    np.testing.assert_allclose(block_means(actions, 2), [[0.5], [2.5], [4.0]])


# ---- shifting


def test_shift_drops_what_was_executed_and_fills_up():
    actions = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(shift(actions, 1), [[2, 3], [4, 5], [6, 7], [6, 7]])
    np.testing.assert_array_equal(shift(actions, 2, fill="zero"), [[4, 5], [6, 7], [0, 0], [0, 0]])
    np.testing.assert_array_equal(shift(actions, 1, fill=np.array([9, 8])), [[2, 3], [4, 5], [6, 7], [9, 8]])
    tail = np.array([[9, 8], [7, 6]])
    np.testing.assert_array_equal(shift(actions, 2, fill=tail), [[4, 5], [6, 7], [9, 8], [7, 6]])
    np.testing.assert_array_equal(shift(actions, 9), [[6, 7]] * 4)


@given(first=st.integers(0, 6), second=st.integers(0, 6))
def test_shifting_twice_is_shifting_by_the_sum(first, second):
    actions = np.random.default_rng(0).normal(size=(3, 5, 2))
    np.testing.assert_array_equal(shift(shift(actions, first), second), shift(actions, first + second))


def test_shift_returns_a_copy():
    actions = np.zeros((3, 1))
    shift(actions, 0)[0] = 1.0
    assert actions[0] == 0.0


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"steps": -1}, "at least 0, got -1"),
        ({"steps": 1, "fill": "mean"}, "'hold', 'zero' or an array"),
        ({"steps": 1, "fill": np.zeros(3)}, r"fill must have shape \[2\] or \[1, 2\], got \[3\]"),
    ],
)
def test_shift_refuses(given_, message):
    with pytest.raises(ValueError, match=message):
        shift(np.zeros((4, 2)), **given_)


def test_shift_refuses_a_single_action():
    with pytest.raises(ValueError, match=r"\[..., H, A\]"):
        shift(np.zeros(4), 1)


# ---- rollout


def some_rollout(num_candidates=3):
    rng = np.random.default_rng(0)
    return Rollout(
        actions=rng.normal(size=(num_candidates, 4, 2)).astype(np.float32),
        frames=rng.random((num_candidates, 4, 5, 6, 3), np.float32),
        states=rng.normal(size=(num_candidates, 4, 3)).astype(np.float32),
        pixel_distributions=rng.random((num_candidates, 4, 2, 5, 6), np.float32),
        pixels=rng.random((num_candidates, 4, 2, 2), np.float32),
    )


@pytest.mark.parametrize(
    ("indices", "kept"), [([2, 0], [2, 0]), (1, [1]), (slice(1, None), [1, 2]), (np.array([True, False, True]), [0, 2])]
)
def test_select_keeps_the_chosen_candidates_of_every_field(indices, kept):
    rollout = some_rollout()
    chosen = rollout.select(indices)
    assert chosen.num_candidates == len(kept)
    assert chosen.horizon == 4
    for name in ("actions", "frames", "states", "pixel_distributions", "pixels"):
        np.testing.assert_array_equal(getattr(chosen, name), getattr(rollout, name)[kept])


def test_select_leaves_missing_fields_missing_and_refuses_others():
    rollout = Rollout(np.zeros((3, 4, 2)))
    assert rollout.select([0]).frames is None
    with pytest.raises(IndexError):
        rollout.select([3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, "needs actions"),
        ({"actions": np.zeros((3, 2))}, r"Rollout.actions has shape \[3, 2\]"),
        ({"frames": np.zeros((3, 4, 5, 6))}, r"expected \[3, 4, any, any, 3\]"),
        ({"frames": np.zeros((2, 4, 5, 6, 3))}, "Rollout.frames"),
        ({"states": np.zeros((3, 5, 2))}, r"Rollout.states has shape \[3, 5, 2\], expected \[3, 4, any\]"),
        ({"pixel_distributions": np.zeros((3, 4, 5, 6))}, "Rollout.pixel_distributions"),
        ({"pixels": np.zeros((3, 4, 1, 3))}, r"expected \[3, 4, any, 2\]"),
    ],
)
def test_rollout_refuses_shapes_that_do_not_fit(changes, message):
    arrays = {"actions": np.zeros((3, 4, 2)), **changes}
    with pytest.raises(ValueError, match=message):
        Rollout(**arrays)


class Leaping:
    """Shows a still robot after every third step."""

    stride = 3

    def start(self, frames, actions, states, *, pixels=None):
        """Nothing to encode."""

    def rollout(self, start, actions, outputs=("states",), every=1):
        """States of zero."""
        return Rollout(actions=actions, states=np.zeros((*actions.shape[:2], 2)), every=every)


@pytest.mark.parametrize("horizon", [3, 4, 5])
def test_terms_of_actions_cost_alone_what_they_cost_in_a_sum(horizon):
    """Plans that are no whole leaps end with standing still, for each of their terms."""
    candidates = np.random.default_rng(horizon).uniform(-1, 1, (4, horizon, 2))
    alone = cost_function(Leaping(), None, ActionSmoothness())(candidates)
    terms = {"place": RobotState([0.0, 0.0]), "smooth": ActionSmoothness()}
    np.testing.assert_allclose(cost_function(Leaping(), None, WeightedSum(terms))(candidates), alone, atol=1e-5)
    explained = imagine(ActionSmoothness(), Leaping(), None, candidates)
    np.testing.assert_allclose(ActionSmoothness()(explained), alone, rtol=1e-6)
