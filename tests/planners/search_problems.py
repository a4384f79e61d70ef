"""Costs with known answers, with and without gradients, for what is particular to one planner."""

import numpy as np
from gymnasium import spaces

BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)
HORIZON = 15


def reach(candidates):
    """A point moves by 0.1 of each action and should be at a goal, early."""
    places = np.cumsum(0.1 * candidates, axis=1)
    return np.linalg.norm(places - np.array([0.8, -0.5]), axis=-1).mean(axis=1)


def two_valleys(candidates):
    """The mean action has two good places; the better one is at (0.5, 0.5)."""
    mean = candidates.mean(axis=1)
    good = np.square(mean - 0.5).sum(axis=-1)
    decoy = np.square(mean + 0.5).sum(axis=-1) + 0.2
    return np.minimum(good, decoy) + 0.05 * candidates.var(axis=1).sum(axis=-1)


def wall(candidates):
    """The optimum lies outside the Box: the best is its corner."""
    return np.square(candidates - np.array([1.5, -2.0])).mean(axis=(1, 2))


def quadratic(candidates):
    return np.square(candidates - np.array([0.4, -0.3])).mean(axis=(1, 2))


class Recorder:
    """A cost function that remembers every candidate and its cost, by the candidate's bytes."""

    def __init__(self, cost_fn):
        self.cost_fn, self.batches, self.times_seen = cost_fn, [], {}

    def __call__(self, candidates):
        self.batches.append(candidates.copy())
        for candidate in candidates:
            self.times_seen[candidate.tobytes()] = self.times_seen.get(candidate.tobytes(), 0) + 1
        return self.cost_fn(candidates)


class Squares:
    """Squared distance to a target, with its gradient."""

    def __init__(self, target, weights=1.0):
        self.target, self.weights = target, weights

    def __call__(self, candidates):
        return (self.weights * np.square(candidates - self.target)).sum(axis=(1, 2))

    def gradient(self, candidates):
        return self(candidates), 2.0 * self.weights * (candidates - self.target)
