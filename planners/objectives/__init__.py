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
from visual_foresight.planners.objectives.robot_state import RobotState
from visual_foresight.planners.objectives.weighted_sum import WeightedSum

__all__ = [
    "ActionMagnitude",
    "ActionSmoothness",
    "Approach",
    "GoalImage",
    "Homography",
    "Objective",
    "PixelDistance",
    "RobotState",
    "WeightedSum",
    "array_namespace",
    "expected_distances",
    "expected_pixels",
    "way_around",
]
