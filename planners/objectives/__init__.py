"""Objectives: what a future costs, written once for NumPy arrays and backend tensors."""

from __future__ import annotations

from visual_foresight.planners.objectives.arrays import array_namespace
from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.objectives.pixel_distance import PixelDistance
from visual_foresight.planners.objectives.weighted_sum import WeightedSum

__all__ = ["Objective", "PixelDistance", "WeightedSum", "array_namespace"]
