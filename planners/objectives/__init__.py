"""Objectives: what a future costs, written once for NumPy arrays and backend tensors."""

from __future__ import annotations

from visual_foresight.planners.objectives.action_terms import ActionMagnitude, ActionSmoothness
from visual_foresight.planners.objectives.approach import Approach, way_around
from visual_foresight.planners.objectives.arrays import array_namespace
from visual_foresight.planners.objectives.goal_image import GoalImage
from visual_foresight.planners.objectives.homography import Homography
from visual_foresight.planners.objectives.maps import expected_distances, expected_pixels
from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.objectives.pixel_distance import PixelDistance
from visual_foresight.planners.objectives.registration import Registration, RegistrationTracker, register
from visual_foresight.planners.objectives.robot_state import RobotState
from visual_foresight.planners.objectives.temporal_distance import TemporalDistance
from visual_foresight.planners.objectives.weighted_sum import WeightedSum

OBJECTIVES: dict[str, type] = {
    "action_magnitude": ActionMagnitude,
    "action_smoothness": ActionSmoothness,
    "approach": Approach,
    "goal_image": GoalImage,
    "pixel_distance": PixelDistance,
    "robot_state": RobotState,
    "temporal_distance": TemporalDistance,
    "weighted_sum": WeightedSum,
}
"""Objective classes by name; `tests/planners/test_objective_contract.py` holds each to the same contract."""

__all__ = [
    "ActionMagnitude",
    "ActionSmoothness",
    "Approach",
    "GoalImage",
    "Homography",
    "OBJECTIVES",
    "Objective",
    "PixelDistance",
    "Registration",
    "RegistrationTracker",
    "RobotState",
    "TemporalDistance",
    "WeightedSum",
    "array_namespace",
    "expected_distances",
    "expected_pixels",
    "register",
    "way_around",
]
