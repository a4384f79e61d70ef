"""What every registered objective promises: arrays, tensors and compiled functions agree, and gradients are finite."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from objective_cases import CASES, IMAGE_LIKE, K, T, arrays_of, difficult_rollout, some_rollout

from visual_foresight.planners.objectives import OBJECTIVES, Objective, PixelDistance, WeightedSum
from visual_foresight.planners.objectives.objective import step_weights
from visual_foresight.rollout import Rollout

every_objective = pytest.mark.parametrize("name", CASES)
every_stride = pytest.mark.parametrize("every", [1, 3])


def test_there_is_a_case_for_every_registered_objective():
    assert {name.split(",")[0] for name in CASES} == set(OBJECTIVES)
    assert all(type(make()) is OBJECTIVES[name.split(",")[0]] for name, make in CASES.items())


@every_objective
@every_stride
@pytest.mark.parametrize("maps", [True, False], ids=["maps", "pixels"])
def test_costs_terms_and_contributions_belong_together(name, every, maps):
    """Image-like terms have T // every steps, others T; contributions sum to the cost; every term has a unit."""
    rollout, objective = some_rollout(every, maps), CASES[name]()
    assert isinstance(objective, Objective)
    costs, terms, explained = objective(rollout), objective.terms(rollout), objective.explain(rollout)
    assert costs.shape == (K,)
    assert costs.dtype == np.float32
    assert terms.keys() == explained.keys() == objective.units.keys()
    assert all(objective.units.values())
    for term in terms:
        assert terms[term].shape == explained[term].shape
        assert terms[term].shape[1] in (T, T // every)
    total = sum(values.sum(axis=1) for values in explained.values())
    np.testing.assert_allclose(total, costs, rtol=1e-5, atol=1e-7)


@every_objective
@every_stride
def test_a_candidates_cost_does_not_depend_on_its_company(name, every):
    rollout, objective = some_rollout(every), CASES[name]()
    np.testing.assert_allclose(objective(rollout.select([2])), objective(rollout)[[2]], rtol=1e-6)


def at_every(rollout, every):
    """The same future seen more rarely."""
    fields = arrays_of(rollout)
    seen = {name: array[:, every - 1 :: every] if name in IMAGE_LIKE else array for name, array in fields.items()}
    return Rollout(**seen, every=every)


@every_objective
def test_a_future_that_stands_still_costs_the_same_however_often_it_is_seen(name):
    """What is seen once in n steps stands for n of them; a constant future shows it."""
    still = {field: np.repeat(array[:, :1], T, axis=1) for field, array in arrays_of(some_rollout()).items()}
    rollout, objective = Rollout(**still), CASES[name]()
    np.testing.assert_allclose(objective(at_every(rollout, 3)), objective(rollout), rtol=1e-5)


def test_rare_moments_carry_the_weight_of_the_steps_they_stand_for():
    np.testing.assert_allclose(step_weights(3, 10.0, 5) * 24.0, [5.0, 5.0, 14.0])
    np.testing.assert_allclose(step_weights(15, 10.0) * 24.0, [1.0] * 14 + [10.0])


# ---- tensors


def as_tensors(rollout):
    from keras import ops

    return Rollout(**{name: ops.convert_to_tensor(a) for name, a in arrays_of(rollout).items()}, every=rollout.every)


@every_objective
@every_stride
@pytest.mark.parametrize("maps", [True, False], ids=["maps", "pixels"])
def test_tensors_and_compiled_functions_give_the_same_costs_and_finite_gradients(name, every, maps):
    """One trace for any number of candidates, as in a compiled simulator; the gradient reaches what counts."""
    tf = pytest.importorskip("tensorflow")
    objective, rollout = CASES[name](), some_rollout(every, maps)
    fields = arrays_of(rollout)
    traces = []

    @tf.function(input_signature=[{field: tf.TensorSpec([None, *array.shape[1:]]) for field, array in fields.items()}])
    def cost_and_gradient(tensors):
        traces.append(1)
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            costs = objective(Rollout(**tensors, every=every))
        return costs, tape.gradient(costs, tensors, unconnected_gradients="zero")

    costs, gradients = cost_and_gradient(fields)
    expected = objective(rollout)
    np.testing.assert_allclose(costs, expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(np.asarray(objective(as_tensors(rollout))), expected, rtol=2e-5, atol=1e-5)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients.values())
    assert any(np.any(np.asarray(gradient) != 0.0) for gradient in gradients.values())
    cost_and_gradient({field: array[:2] for field, array in fields.items()})
    assert len(traces) == 1


@every_objective
def test_gradients_are_finite_where_distances_vanish(name):
    """The tip in the object's centre and the object at its goal: no length has a direction there."""
    tf = pytest.importorskip("tensorflow")
    objective, rollout = CASES[name](), difficult_rollout()
    tensors = {field: tf.constant(array) for field, array in arrays_of(rollout).items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        costs = objective(Rollout(**tensors))
    np.testing.assert_allclose(costs, objective(rollout), rtol=1e-4, atol=1e-4)
    for gradient in tape.gradient(costs, tensors, unconnected_gradients="zero").values():
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("name", ["approach", "pixel_distance, weighted", "goal_image", "robot_state", "weighted_sum"])
def test_gradients_are_those_of_finite_differences(name):
    tf = pytest.importorskip("tensorflow")
    objective, rollout = CASES[name](), some_rollout(every=3, maps=False, seed=3)
    arrays = arrays_of(rollout)
    tensors = {field: tf.constant(array) for field, array in arrays.items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        costs = objective(Rollout(**tensors, every=3))
    gradients = tape.gradient(costs, tensors, unconnected_gradients="zero")
    rng = np.random.default_rng(0)
    for field in ("states", "pixels", "frames", "actions"):
        direction = rng.normal(size=arrays[field].shape)
        direction[1] = 0.0  # candidate 1 stands on a kink
        ahead, behind = (
            objective(Rollout(**{**arrays, field: (arrays[field] + step * direction).astype(np.float64)}, every=3))
            for step in (2e-3, -2e-3)
        )
        slope = (ahead.astype(np.float64) - behind) / 4e-3
        found = np.sum(np.asarray(gradients[field], np.float64) * direction, axis=tuple(range(1, direction.ndim)))
        np.testing.assert_allclose(found[[0, 2]], slope[[0, 2]], rtol=0.05, atol=5e-3)


JAX_SCRIPT = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import jax
from objective_cases import CASES, arrays_of, difficult_rollout, some_rollout
from visual_foresight.rollout import Rollout
answers, difficult = {}, difficult_rollout()
for name, make in CASES.items():
    objective = make()
    worst, finite = 0.0, True
    for rollout in (some_rollout(3), difficult):
        def total(fields):
            costs = objective(Rollout(**fields, every=rollout.every))
            return costs.sum(), costs
        (_, costs), gradients = jax.jit(jax.value_and_grad(total, has_aux=True))(arrays_of(rollout))
        expected = objective(rollout)
        if rollout is not difficult:  # where nothing has a direction, rounding chooses one
            worst = max(worst, float(np.max(np.abs(costs - expected) / (1e-3 + np.abs(expected)))))
        finite = finite and all(bool(np.isfinite(gradient).all()) for gradient in gradients.values())
    answers[name] = [worst, finite]
import keras
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
print(json.dumps(answers))
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed (pip install jax)")
def test_objectives_run_inside_jax_functions_with_finite_gradients():
    """All of them in one process of its own, because the backend is chosen once."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", JAX_SCRIPT, str(Path(__file__).parent)]
    answer = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout.splitlines()[-1])
    assert set(found) == set(CASES)
    for name, (error, finite) in found.items():
        assert error < 1e-4, name
        assert finite, name


# ---- several pixels, weights, units


def test_pixel_weights_are_shares_and_a_pixel_without_weight_may_be_anywhere():
    rollout = some_rollout(maps=False)
    goals = rollout.pixels[0, 0] + 1.0
    alike = PixelDistance(goals)(rollout)
    np.testing.assert_allclose(PixelDistance(goals, pixel_weights=[3.0, 3.0])(rollout), alike, rtol=1e-6)
    first = PixelDistance(goals[0], indices=[0])(rollout)
    second = PixelDistance(goals[1], indices=[1])(rollout)
    mixed = PixelDistance(goals, pixel_weights=[1.0, 3.0])(rollout)
    np.testing.assert_allclose(mixed, 0.25 * first + 0.75 * second, rtol=1e-5)
    lost = some_rollout()
    maps = lost.pixel_distributions.copy()
    maps[:, :, 1] = 0.0  # without mass its distance is infinite
    lost = Rollout(lost.actions, pixel_distributions=maps)
    assert np.all(np.isfinite(PixelDistance(goals, pixel_weights=[1.0, 0.0])(lost)))
    assert np.all(np.isinf(PixelDistance(goals)(lost)))
    for wrong in ([1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="pixel_weights must be 2 non-negative"):
            PixelDistance(goals, pixel_weights=wrong)


def test_a_scale_divides_terms_and_names_the_unit_so_that_weights_are_exchange_rates():
    rollout = some_rollout(maps=False)
    goals = rollout.pixels[0, 0] + 1.0
    plain, scaled = PixelDistance(goals), PixelDistance(goals, scale=4.0)
    np.testing.assert_allclose(4.0 * scaled.terms(rollout)["pixel_distance"], plain.terms(rollout)["pixel_distance"])
    assert (plain.units, scaled.units) == ({"pixel_distance": "px"}, {"pixel_distance": "4 px"})
    total = WeightedSum({"near": scaled, "exact": plain}, {"near": 4.0})
    assert total.units == {"near": "4 px", "exact": "px"}
    np.testing.assert_allclose(total(rollout), 2.0 * plain(rollout), rtol=1e-5)
