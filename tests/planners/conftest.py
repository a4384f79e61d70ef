"""A world small enough to be exact: a finger that pushes a disc on a table, seen from above, in pixels."""

import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from visual_foresight.planners.objectives.maps import checked_pixels
from visual_foresight.rollout import Rollout

sys.path.insert(0, str(Path(__file__).parent))  # modules of cases beside the tests are imported by name
from disc_task import START  # noqa: E402


class DiscWorld:
    """A finger (a point with a radius) moves by actions in [-1, 1]^2 times `reach` pixels; a disc gives way to it.

    State of one world: finger (row, col) and disc (row, col). Frictionless: the disc is pushed along the line of
    centres, so that a glancing touch makes it slip aside, as round things do.
    """

    size = 64
    reach = 3.2
    contact = 5.0  # radius of the finger plus radius of the disc
    num_substeps = 8

    def __init__(self, finger, disc):
        self.finger, self.disc = np.array(finger, float), np.array(disc, float)
        self.num_rollouts = 0
        self.num_starts = 0

    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def move(self, finger, disc, actions):
        """One control step of K worlds: [K, 2], [K, 2], [K, 2] to the next finger and disc."""
        for _ in range(self.num_substeps):
            finger = np.clip(finger + actions * self.reach / self.num_substeps, 0.0, self.size - 1.0)
            apart = disc - finger
            length = np.maximum(np.linalg.norm(apart, axis=-1, keepdims=True), 1e-9)
            disc = disc + apart / length * np.maximum(self.contact - length, 0.0)
        return finger, disc

    def step(self, action):
        self.finger, self.disc = (
            values[0] for values in self.move(self.finger[None], self.disc[None], np.asarray(action)[None])
        )
        return self.observation()

    def observation(self):
        image = np.zeros((self.size, self.size, 3), np.uint8)
        row, col = np.clip(np.round(self.disc), 0, self.size - 1).astype(int)
        image[row, col] = 255
        return {"image": image, "state": self.finger.astype(np.float32)}

    # ---- the simulator's two methods: the state comes from the observation, the disc from the pixels

    def start(self, frames, actions, states, *, pixels):
        self.num_starts += 1
        return np.array(states[-1], float), checked_pixels("pixels", pixels)[0].astype(float)

    def rollout(self, start, actions, outputs=("states", "pixels")):
        self.num_rollouts += 1
        finger, disc = (np.broadcast_to(part, (len(actions), 2)) for part in start)
        fingers, discs = [], []
        for time in range(actions.shape[1]):
            finger, disc = self.move(finger, disc, actions[:, time])
            fingers.append(finger)
            discs.append(disc)
        pixels = np.stack(discs, axis=1)[:, :, None].astype(np.float32)
        return Rollout(np.asarray(actions), states=np.stack(fingers, axis=1).astype(np.float32), pixels=pixels)


@pytest.fixture
def disc_world():
    return DiscWorld


@pytest.fixture
def world(disc_world):
    """The disc world at the start of the controllers' task."""
    return disc_world(**START)


@pytest.fixture
def simulator(disc_world):
    """A copy of the world that is never stepped: what it knows comes from observations and pixels alone."""
    return disc_world(finger=(0.0, 0.0), disc=(0.0, 0.0))
