"""Objectives beside the benchmark's own: `plan --calibrate` says what each would be worth on the same futures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from visual_foresight.benchmark.simulators import TrueStateSimulator

# Where the goal picture differs by more than this from the present one [brightness, of 1], it matters ...
_DIFFERENCE = 8 / 255
# ... and everywhere else this much: a mask needs some weight, and hidden things may come to light.
_ELSEWHERE = 1e-3


def alternative_costs(environment: Any, controller: Any, task: Any, candidates: np.ndarray) -> dict[str, np.ndarray]:
    """Costs [K] of candidates [K, T, A] by other objectives, all of one rollout.

    Args:
        environment: the real one, unwrapped, at the moment of the decision.
        controller: an MPC that has just decided.
        task: what is asked.
        candidates: what is costed.

    Returns:
        By name: "pixel, no blur" (distance of the map's mean), "pixel, last step" and, where the simulator predicts
        pictures, "goal image" and "goal image, masked" (where it differs from the present one). Empty where positions
        on the table are imagined, not pixels.
    """
    from visual_foresight.planners.objectives import PixelDistance
    from visual_foresight.planners.simulation import pixel_output, rollout_at_stride

    simulator = controller.simulator
    if isinstance(simulator, TrueStateSimulator):
        return {}
    goal, scale = controller.goals[0], environment.camera.height / 64
    objectives: dict[str, Any] = {
        "pixel, no blur": PixelDistance(goal, scale=scale, spread_weight=0.0),
        "pixel, last step": PixelDistance(goal, 1e6, scale=scale),
    }
    outputs = [pixel_output(simulator)]
    if not hasattr(simulator, "env"):  # the physics would have to draw thousands of pictures
        objectives |= _of_pictures(*_pictures(environment, controller, task))
        outputs.append("frames")
    rollout = rollout_at_stride(simulator, controller.last_start, candidates, tuple(outputs)).to_numpy()
    return {name: np.asarray(objective(rollout), np.float64) for name, objective in objectives.items()}


def _of_pictures(present: np.ndarray, goal: np.ndarray) -> Mapping[str, Any]:
    from visual_foresight.planners.objectives import GoalImage

    changed = np.abs(goal.astype(np.float32) - present).max(axis=-1) > 255 * _DIFFERENCE
    mask = np.where(changed, 1.0, _ELSEWHERE)
    return {"goal image": GoalImage(goal), "goal image, masked": GoalImage(goal, mask=mask)}


def _pictures(environment: Any, controller: Any, task: Any) -> tuple[np.ndarray, np.ndarray]:
    """The scene now, and with the object at its goal and all else where it is, as the predictor would see them."""
    from visual_foresight.envs.physics import Physics

    physics = Physics(environment.physics.scene)
    physics.set_state(environment.physics.get_state())
    present = environment.draw(physics)
    first = 2 + 4 * task.object_index
    physics.data.qpos[first : first + 2] = task.goal_position
    physics.refresh()
    goal = environment.draw(physics)
    rectification = getattr(controller, "rectification", None)
    return (present, goal) if rectification is None else (rectification.image(present), rectification.image(goal))
