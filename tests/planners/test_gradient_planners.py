"""Planners that descend the gradient of the cost."""

import numpy as np
import pytest
from gymnasium import spaces
from search_problems import BOX, HORIZON, Recorder, Squares, quadratic

from visual_foresight.planners import (
    CEM,
    CEMGradient,
    GradientDescent,
)


def test_a_cost_function_without_a_gradient_is_refused_at_once():
    for planner in (GradientDescent(), CEMGradient()):
        recorder = Recorder(quadratic)
        with pytest.raises(ValueError, match="the cost function has none"):
            planner.plan(recorder, BOX, rng=np.random.default_rng(0))
        assert not recorder.batches


def test_gradients_of_another_shape_are_refused():
    cost_fn = Squares(np.zeros(2))
    cost_fn.gradient = lambda c: (cost_fn(c), np.zeros((len(c), 2)))
    with pytest.raises(ValueError, match=r"gradients of shape \[16, 2\], expected \[16, 15, 2\]"):
        GradientDescent().plan(cost_fn, BOX, rng=np.random.default_rng(0))


@pytest.mark.parametrize("repeat", [1, 4])
def test_descent_is_adam_written_out(repeat):
    """One start, an ill-conditioned quadratic, the algorithm of the paper in a loop; held actions share a gradient."""
    weights, target = np.array([30.0, 0.2]), np.array([0.2, -0.4])
    box = spaces.Box(np.array([-1.0, -0.3]), np.array([1.0, 0.5]), dtype=np.float64)
    recorder = Recorder(Squares(target, weights))
    recorder.gradient = lambda c: (recorder(c), recorder.cost_fn.gradient(c)[1])
    planner = GradientDescent(horizon=6, num_candidates=1, num_iterations=8, learning_rate=0.3, action_repeat=repeat)
    incumbent = np.tile([0.9, 0.4], (6, 1))
    planner.plan(recorder, box, rng=np.random.default_rng(0), incumbent=incumbent)

    blocks = [range(start, min(start + repeat, 6)) for start in range(0, 6, repeat)]
    scale, lengths = np.array([1.0, 0.4]), np.array([[len(block)] for block in blocks])
    point, first, second = np.tile([0.9, 0.4], (len(blocks), 1)), 0.0, 0.0
    unit = None
    for iteration in range(8):
        expected = np.concatenate([np.repeat(point[[index]], len(block), axis=0) for index, block in enumerate(blocks)])
        np.testing.assert_allclose(recorder.batches[iteration][0], expected, atol=1e-5)
        gradient = 2.0 * weights * (point - target) * lengths * scale
        unit = np.abs(gradient / scale).max() if unit is None else unit
        gradient = gradient / unit
        first, second = 0.9 * first + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
        corrected = first / (1 - 0.9 ** (iteration + 1)), second / (1 - 0.99 ** (iteration + 1))
        rate = 0.3 * 0.5 * (1 + np.cos(np.pi * iteration / 7))
        point = np.clip(point - rate * scale * corrected[0] / (np.sqrt(corrected[1]) + 1e-8), box.low, box.high)


def test_steps_do_not_know_the_unit_of_the_cost():
    plans = [
        GradientDescent(horizon=4).plan(Squares(np.array([0.3, 0.1]), unit), BOX, rng=np.random.default_rng(0))
        for unit in (1.0, 2.0**40, 2.0**-40)
    ]
    for plan in plans[1:]:
        np.testing.assert_allclose(plan.actions, plans[0].actions, atol=1e-4)


def test_only_the_cheapest_starts_go_on():
    recorder = Recorder(Squares(np.zeros(2)))
    recorder.gradient = lambda c: (recorder(c), np.zeros(c.shape))  # so that candidates stay where they are
    planner = GradientDescent(horizon=3, num_candidates=(20, 20, 5, 1), num_iterations=4)
    planner.plan(recorder, BOX, rng=np.random.default_rng(0))
    first = recorder.batches[0]
    order = np.argsort(recorder.cost_fn(first))
    np.testing.assert_array_equal(recorder.batches[2], first[order[:5]])
    np.testing.assert_array_equal(recorder.batches[3], first[order[:1]])
    with pytest.raises(ValueError, match="must not rise"):
        GradientDescent(num_candidates=(5, 6), num_iterations=2)


def test_a_start_whose_gradient_is_not_finite_stays_where_it_is():
    recorder = Recorder(Squares(np.zeros(2)))

    def gradient(candidates):
        costs, gradients = recorder.cost_fn.gradient(candidates)
        gradients[0, 1, 0] = np.nan
        return recorder(candidates), gradients

    recorder.gradient = gradient
    GradientDescent(horizon=3, num_candidates=4, num_iterations=2).plan(recorder, BOX, rng=np.random.default_rng(0))
    first, second = recorder.batches
    moved = [not any(np.array_equal(start, after) for after in second) for start in first]
    assert moved == [False, True, True, True]


def test_the_gradient_polishes_what_cem_found():
    """Same seed, same CEM iterations; the elites descend further than sampling at its floor can."""
    cost_fn = Squares(np.array([0.35, -0.6]))
    cem = CEM(horizon=HORIZON).plan(cost_fn, BOX, rng=np.random.default_rng(0))
    both = CEMGradient(horizon=HORIZON, num_gradient_steps=15).plan(cost_fn, BOX, rng=np.random.default_rng(0))
    assert both.history[:3] == cem.history
    assert both.cost < 0.2 * cem.cost
    assert both.num_evaluations == 600 + 16 * 10
