"""A trivial world: one bright square on a dark ground, moved by exactly what the action says."""

import numpy as np

from visual_foresight.episode import Episode

SIZE = 16


def moving_square(seed: int, num_frames: int = 8) -> Episode:
    """A 4 x 4 square that each action (rows, columns) in {-1, 0, 1} shifts by a pixel; it stops at the borders."""
    generator = np.random.default_rng(seed)
    place = generator.integers(2, SIZE - 6, 2)
    color = generator.integers(120, 255, 3)
    frames = np.full((num_frames, SIZE, SIZE, 3), 20, np.uint8)
    actions = np.zeros((num_frames - 1, 2), np.float32)
    states = np.zeros((num_frames, 2), np.float32)
    for time in range(num_frames):
        frames[time, place[0] : place[0] + 4, place[1] : place[1] + 4] = color
        states[time] = place
        if time < num_frames - 1:
            shift = np.clip(place + generator.integers(-1, 2, 2), 0, SIZE - 4) - place
            actions[time] = shift
            place = place + shift
    return Episode(frames, actions, states)


def world(num_episodes: int, first_seed: int = 0, num_frames: int = 8) -> list[Episode]:
    """Episodes with seeds `first_seed` and on."""
    return [moving_square(first_seed + index, num_frames) for index in range(num_episodes)]
