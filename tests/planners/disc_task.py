"""Push the disc of `conftest.DiscWorld` to a goal: the task of the controllers."""

from concurrent.futures import Executor, Future
from types import SimpleNamespace

import numpy as np

from visual_foresight.planners import CEM, MPC
from visual_foresight.planners.objectives import Approach, PixelDistance, WeightedSum
from visual_foresight.rollout import Rollout

GOAL = np.array([34.0, 44.0])
START = {"finger": (30.0, 18.0), "disc": (32.0, 30.0)}
SMALL = {"horizon": 8, "num_candidates": 48, "num_iterations": 3, "action_repeat": 2}
SMALLER = CEM(horizon=6, num_candidates=24, num_iterations=2, action_repeat=2)  # where whole maps are computed


def push_to(goal=GOAL):
    approach = Approach(lambda states: states, goal)
    return WeightedSum({"pixel": PixelDistance(goal), "approach": approach}, {"approach": 0.4})


def controller(simulator, planner=None, objective=None, **changes):
    settings = {"action_space": simulator.action_space, "rng": 0, **changes}
    if objective is None and "make_objective" not in changes:
        objective = push_to()
    return MPC(simulator, planner or CEM(**SMALL), objective, **settings)


def play(world, control, num_steps=25, pixels=True):
    """Run the controller; the disc's final distance to the goal."""
    for _ in range(num_steps):
        world.step(control.act(world.observation(), pixels=world.disc[None] if pixels else None))
    return np.linalg.norm(world.disc - GOAL)


class MapWorld:
    """The disc world with maps in place of positions, and a disc that it believes slower than it is."""

    def __init__(self, world, factor=1.0):
        self.world, self.factor, self.calls = world, factor, []
        self.action_space = world.action_space

    def start(self, frames, actions, states, *, pixels=None, pixel_distributions=None):
        if pixel_distributions is not None:
            assert pixels is None
            rows, cols = np.mgrid[: self.world.size, : self.world.size]
            pixels = [[(pixel_distributions[0] * rows).sum(), (pixel_distributions[0] * cols).sum()]]
        self.calls.append(np.array(pixels, float))
        return self.world.start(frames, actions, states, pixels=pixels)

    def rollout(self, start, actions, outputs=("frames", "states", "pixel_distributions")):
        assert "pixels" not in outputs
        exact = self.world.rollout(start, actions)
        places = start[1] + self.factor * (exact.pixels[:, :, 0] - start[1])
        axis = np.arange(self.world.size)
        rows = np.maximum(0.0, 1.0 - np.abs(axis - places[..., :1]))
        cols = np.maximum(0.0, 1.0 - np.abs(axis - places[..., 1:]))
        maps = (rows[..., :, None] * cols[..., None, :])[:, :, None].astype(np.float32)
        return Rollout(np.asarray(actions), states=exact.states, pixel_distributions=maps)


def leaping(simulator, stride):
    """The same simulator, said to leap; with None it itself, which says nothing of leaps."""
    if stride is None:
        return simulator
    parts = {"start": simulator.start, "rollout": simulator.rollout, "action_space": simulator.action_space}
    return SimpleNamespace(stride=stride, **parts)


class ByHand(Executor):
    """Runs what was submitted when the test says so: time under control."""

    def __init__(self, automatic_after=None):
        self.waiting, self.automatic_after, self.age = None, automatic_after, 0

    def submit(self, function, /, *arguments):
        self.waiting, self.age = (Future(), function, arguments), 0
        return self.waiting[0]

    def tick(self):
        """One control step passes."""
        self.age += 1
        if self.automatic_after is not None and self.age >= self.automatic_after:
            self.run()

    def run(self):
        if self.waiting is not None:
            future, function, arguments = self.waiting
            self.waiting = None
            try:
                future.set_result(function(*arguments))
            except Exception as error:
                future.set_exception(error)
