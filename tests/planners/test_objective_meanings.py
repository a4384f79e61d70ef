"""What distances mean, what sums do with their terms, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from objective_cases import GOAL_FRAME, GOALS, TIP, A, H, T, W, some_rollout

from visual_foresight.planners.objectives import (
    ActionMagnitude,
    ActionSmoothness,
    Approach,
    GoalImage,
    PixelDistance,
    RobotState,
    WeightedSum,
)
from visual_foresight.rollout import Rollout


def test_expected_distance_counts_how_spread_out_a_map_is():
    sharp, blurred = np.zeros((2, 1, 1, 1, 9, 9), np.float32)
    sharp[..., 4, 4] = 1.0
    blurred[..., 3:6, 3:6] = 1.0
    objective = PixelDistance([4, 4])
    costs = [objective(Rollout(np.zeros((1, 1, 2)), pixel_distributions=maps))[0] for maps in (sharp, blurred)]
    assert costs[0] == pytest.approx(0.0, abs=1e-6)
    assert costs[1] == pytest.approx((4 + 4 * np.sqrt(2)) / 9, rel=1e-5)


@given(scale=st.floats(1e-3, 1e3))
def test_maps_need_not_be_normalised(scale):
    rollout = some_rollout()
    scaled = Rollout(rollout.actions, pixel_distributions=rollout.pixel_distributions * np.float32(scale))
    np.testing.assert_allclose(PixelDistance(GOALS)(scaled), PixelDistance(GOALS)(rollout), rtol=1e-4)


def test_a_map_without_mass_never_wins():
    """The pixel has left the picture: its distance is infinite, not zero."""
    maps = some_rollout().pixel_distributions.copy()
    maps[1, 2, 0] = 0.0
    rollout = Rollout(some_rollout().actions, states=some_rollout().states, pixel_distributions=maps)
    costs = PixelDistance(GOALS)(rollout)
    assert np.isinf(costs[1])
    assert np.all(np.isfinite(np.delete(costs, 1)))
    nowhere = Rollout(
        rollout.actions, states=rollout.states, pixel_distributions=np.zeros_like(rollout.pixel_distributions)
    )
    assert np.all(Approach(TIP, [2.0, 9.0])(nowhere) > 1e5)


def test_only_the_last_step_counts_as_its_weight_grows():
    rollout = some_rollout(maps=False)
    objective = PixelDistance(GOALS, terminal_weight=1e6)
    np.testing.assert_allclose(objective(rollout), objective.terms(rollout)["pixel_distance"][:, -1], rtol=1e-4)


def test_a_mask_hides_what_does_not_matter():
    goal, frames = np.zeros((H, W, 3)), np.zeros((1, T, H, W, 3), np.float32)
    frames[..., 0, 0, :] = 1.0
    mask = np.ones((H, W))
    mask[0, 0] = 0.0
    rollout = Rollout(np.zeros((1, T, A)), frames=frames)
    assert GoalImage(goal, mask=mask)(rollout)[0] == 0.0
    assert GoalImage(goal)(rollout)[0] == pytest.approx(1.0 / (H * W))


def test_weights_scale_their_terms_and_names_stay():
    rollout = some_rollout()
    inner = WeightedSum({"size": ActionMagnitude(), "change": ActionSmoothness()}, {"change": 2.0})
    outer = WeightedSum({"pixel": PixelDistance(GOALS), "actions": inner}, {"actions": 0.5})
    assert list(outer.terms(rollout)) == ["pixel", "actions/size", "actions/change"]
    np.testing.assert_allclose(
        outer.explain(rollout)["actions/change"], ActionSmoothness().terms(rollout)["action_smoothness"] / T, rtol=1e-6
    )
    np.testing.assert_allclose(
        outer.terms(rollout)["actions/change"], ActionSmoothness().terms(rollout)["action_smoothness"]
    )
    assert set(outer.outputs) == {"pixels"}


def test_a_term_without_weight_is_neither_computed_nor_asked_for():
    objective = WeightedSum({"pixel": PixelDistance(GOALS), "image": GoalImage(GOAL_FRAME)}, {"image": 0.0})
    assert objective.outputs == ("pixels",)
    rollout = Rollout(some_rollout().actions, pixels=some_rollout().pixels)  # no frames
    np.testing.assert_allclose(objective(rollout), PixelDistance(GOALS)(rollout))
    with pytest.raises(ValueError, match="every weight is 0"):
        WeightedSum({"pixel": PixelDistance(GOALS)}, {"pixel": 0.0})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PixelDistance([1, 2], spread_weight=1.5), r"spread_weight must lie in \[0.0, 1.0\], got 1.5"),
        (lambda: PixelDistance([[1, 2, 3]]), r"goals must be finite pixels \[P, 2\]"),
        (lambda: PixelDistance([[1, np.nan]]), "goals must be finite"),
        (lambda: PixelDistance(GOALS, terminal_weight=0.0), "terminal_weight must lie in"),
        (
            lambda: WeightedSum({"a": PixelDistance(GOALS)}, {"a": np.inf}),
            "weight of 'a' must be a finite number, got inf",
        ),
        (lambda: PixelDistance(GOALS, scale=np.inf), r"scale must lie in \(0.0, inf\), got inf"),
        (lambda: PixelDistance(GOALS, indices=[0]), "one pixel for each of 2 goals"),
        (lambda: Approach(TIP, GOALS), "got 2 goals"),
        (lambda: Approach(TIP, [1, 2], offset=3.0), "clearance must lie in"),
        (lambda: Approach(TIP, [1, 2], index=-1), "index must be"),
        (lambda: GoalImage(np.zeros((4, 4))), r"an image \[H, W, 3\]"),
        (lambda: GoalImage(np.full((4, 4, 3), 7.0)), r"floating in \[0, 1\]"),
        (lambda: GoalImage(GOAL_FRAME, mask=np.zeros((H, W))), "positive sum"),
        (lambda: GoalImage(GOAL_FRAME, mask=np.ones((2, 2))), "mask must be non-negative"),
        (lambda: RobotState([[1.0]]), r"finite state \[D\]"),
        (lambda: RobotState([1.0], indices=[0, 1]), "must name 1 entries"),
        (lambda: RobotState([1.0], scale=0.0), "scale must be positive"),
        (lambda: ActionMagnitude(scale=-1.0), "scale must lie in"),
        (lambda: ActionSmoothness(previous=[np.inf]), "finite action"),
        (lambda: WeightedSum({}), "the terms are"),
        (lambda: WeightedSum({"a": ActionMagnitude()}, {"b": 1.0}), r"unknown terms \['b'\]; the terms are \['a'\]"),
        (lambda: WeightedSum({"a": ActionMagnitude()}, {"a": np.nan}), "weight of 'a'"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_tip_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="tip_pixels must be a function"):
        Approach([0.0, 1.0], [1, 2])


@pytest.mark.parametrize(
    ("objective", "changes", "message"),
    [
        (PixelDistance(GOALS), {"pixel_distributions": None, "pixels": None}, "lacks; ask the simulator for 'pixels'"),
        (PixelDistance(GOALS[:1]), {}, "follows 2 pixels, the objective has 1 goals"),
        (PixelDistance(GOALS[:1], indices=[2]), {}, "follows 2 pixels, indices are"),
        (GoalImage(np.zeros((4, 4, 3))), {}, "frames are"),
        (GoalImage(GOAL_FRAME), {"frames": None}, "ask the simulator for 'frames'"),
        (RobotState([1.0], indices=[3]), {}, "reads entry 3"),
        (Approach(TIP, [1, 2]), {"states": None}, "ask the simulator for 'states'"),
    ],
)
def test_rollouts_that_do_not_fit_are_refused(objective, changes, message):
    rollout = some_rollout()
    fields = {name: getattr(rollout, name) for name in ("frames", "states", "pixel_distributions", "pixels")}
    with pytest.raises(ValueError, match=message):
        objective(Rollout(rollout.actions, **{**fields, **changes}))
