"""Objectives taken apart: what counts as the same kind, and that what is put together again costs the same."""

import copy

import numpy as np
import pytest
from objective_cases import CASES, GOALS, TIP, some_rollout

from visual_foresight.backend import compile_function
from visual_foresight.planners.objectives import Approach, Homography, PixelDistance, WeightedSum
from visual_foresight.planners.objectives.parts import take_apart

KNOWN = [name for name in CASES if name != "temporal_distance"]


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_put_together_again_costs_the_same(name):
    """With its own arrays, with others, and with tensors inside of a compiled function."""
    objective, rollout = CASES[name](), some_rollout()
    parts = take_apart(objective)
    np.testing.assert_array_equal(parts.rebuild(parts.values)(rollout), objective(rollout))
    other = [value + 0.25 for value in parts.values]
    expected = parts.rebuild([value.astype(np.float32) for value in other])(rollout)
    assert not parts.values or np.abs(np.asarray(expected) - np.asarray(objective(rollout))).max() > 0
    fields = {name: getattr(rollout, name) for name in ("actions", "frames", "states", "pixel_distributions")}
    compiled = compile_function(lambda values, given: parts.rebuild(values)(type(rollout)(**given)))
    found = compiled(tuple(value.astype(np.float32) for value in other), fields)
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-4)


@pytest.mark.parametrize("name", KNOWN)
def test_twins_are_of_one_kind(name):
    """Made twice, the key is the same; the original is not touched by what is put together."""
    objective, twin = CASES[name](), CASES[name]()
    parts, others = take_apart(objective), take_apart(twin)
    assert parts.key == others.key and hash(parts.key) == hash(others.key)
    before = copy.deepcopy([np.array(value) for value in parts.values])
    parts.rebuild([value + 1 for value in parts.values])
    for value, kept in zip(take_apart(objective).values, before, strict=True):
        np.testing.assert_array_equal(value, kept)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (PixelDistance([1.0, 2.0]), PixelDistance([3.0, 4.0]), True),
        (PixelDistance([1.0, 2.0]), PixelDistance(GOALS), False),
        (PixelDistance(GOALS), PixelDistance(GOALS, smooth=1.0), False),
        (PixelDistance(GOALS, pixel_weights=[1, 2]), PixelDistance(GOALS, pixel_weights=[2, 1]), False),
        (Approach(TIP, [1.0, 2.0]), Approach(Homography(TIP.matrix, indices=TIP.indices), [3.0, 4.0]), True),
        (Approach(TIP, [1.0, 2.0]), Approach(Homography(2 * TIP.matrix), [1.0, 2.0]), False),
        (Approach(abs, [1.0, 2.0]), Approach(abs, [2.0, 2.0]), True),
        (WeightedSum({"a": PixelDistance(GOALS)}), WeightedSum({"b": PixelDistance(GOALS)}), False),
        (
            WeightedSum({"a": PixelDistance(GOALS), "b": Approach(TIP, [1.0, 2.0])}, {"b": 1.0}),
            WeightedSum({"a": PixelDistance(GOALS), "b": Approach(TIP, [1.0, 2.0])}, {"b": 2.0}),
            False,
        ),
    ],
)
def test_what_makes_a_kind(first, second, same):
    """Goals do not; settings, weights, the number of goals and the camera do."""
    assert (take_apart(first).key == take_apart(second).key) is same


def test_what_was_compiled_does_not_change():
    """A setting that is changed later makes another kind; what was taken apart before keeps the old one."""
    objective, rollout = PixelDistance(GOALS), some_rollout()
    parts, before = take_apart(objective), np.asarray(objective(rollout))
    objective.terminal_weight = 3.0
    assert take_apart(objective).key != parts.key
    np.testing.assert_array_equal(parts.rebuild(parts.values)(rollout), before)
    assert np.abs(objective(rollout) - before).max() > 0


class Unknown:
    """An objective that says nothing of its inputs."""

    outputs = ()
    explain = None

    def __call__(self, rollout):
        return rollout.actions.sum(axis=(1, 2))


def test_unknown_objectives_are_not_taken_apart():
    """Alone, in a sum, or with a setting that cannot be compared."""
    assert take_apart(Unknown()) is None
    assert take_apart(WeightedSum({"unknown": Unknown()})) is None
    assert take_apart(CASES["temporal_distance"]()) is None
    objective = PixelDistance(GOALS)
    objective.setting = {1, 2}
    assert take_apart(objective) is None


def test_the_number_of_values_is_checked():
    """One too many is an error, and not another objective's."""
    parts = take_apart(PixelDistance(GOALS))
    with pytest.raises(ValueError, match="more values"):
        parts.rebuild([*parts.values, np.zeros(2)])
