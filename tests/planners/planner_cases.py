"""Every registered planner, small, and a cost function that any of them can search."""

import numpy as np
import pytest
from gymnasium import spaces

from visual_foresight.planners import PLANNERS

SMALL = {"horizon": 6, "num_candidates": 24, "num_iterations": 3}
TARGET = np.array([0.3, -0.2], np.float32)
BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)
every_planner = pytest.mark.parametrize("name", sorted(PLANNERS))


def make(name, **changes):
    few = {"num_gradient_steps": 2} if name == "cem_gradient" else {}
    return PLANNERS[name](**{**SMALL, **few, **changes})


def num_iterations(planner):
    """How many iterations a search without a deadline records."""
    return planner.num_iterations + (planner.num_gradient_steps + 1 if hasattr(planner, "num_gradient_steps") else 0)


class Sloped:
    """A cost function with a gradient for planners that want one; what they promise holds for any, also a wrong one."""

    def __init__(self, cost_fn, gradient_fn=lambda candidates: candidates):
        self.cost_fn, self.gradient_fn = cost_fn, gradient_fn

    def __call__(self, candidates):
        return self.cost_fn(candidates)

    def gradient(self, candidates):
        return self.cost_fn(candidates), self.gradient_fn(candidates)


def quadratic(candidates):
    return np.square(candidates - TARGET).sum(axis=(1, 2))
