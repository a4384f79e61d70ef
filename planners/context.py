"""What a controller knows when it decides: the last frames, states and actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Context:
    """What the controller knows when it decides.

    Args:
        frames: [C, H, W, 3] uint8, the last one is now.
        actions: [C-1, A], those executed between the frames.
        states: [C, S], or None where observations have none.
        pixels: [P, 2] (row, col) of the designated pixels now, or None.
        pixel_distributions: [P, H, W] their maps, when the controller tracks them itself, or None.
        observation: the last observation as it came.
        decided: [D, A], actions that will be executed before the plan begins; empty where it begins now.
    """

    frames: np.ndarray
    actions: np.ndarray
    states: np.ndarray | None
    pixels: np.ndarray | None
    pixel_distributions: np.ndarray | None
    observation: Mapping[str, Any]
    decided: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))


class History:
    """The last C observations and the actions between them. Empty after a reset, so that nothing leaks over.

    Args:
        length: C.
        action_size: A.
    """

    def __init__(self, length: int, action_size: int) -> None:
        """Begin empty."""
        self.length, self.action_size = length, action_size
        self.observation: Mapping[str, Any] = {}
        self._frames: list[np.ndarray] = []
        self._states: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the last frame."""
        height, width = self._frames[-1].shape[:2]
        return height, width

    def see(self, observation: Mapping[str, Any]) -> None:
        """Add an observation; the oldest is dropped.

        One that no action followed, because `act` raised, is replaced: between two frames there is an action.

        Raises:
            ValueError: it has no image, or is not like those before it; then nothing is added.
        """
        require_image(observation)
        image = np.array(observation["image"])
        state = np.array(observation["state"], np.float32) if "state" in observation else None
        self._check_alike(image, state)
        if len(self._frames) > len(self._actions):
            del self._frames[-1:], self._states[-1:]
        self.observation = observation
        self._frames.append(image)
        if state is not None:
            self._states.append(state)
        for kept in (self._frames, self._states):
            del kept[: -self.length]
        del self._actions[: len(self._actions) - (len(self._frames) - 1)]

    def _check_alike(self, image: np.ndarray, state: np.ndarray | None) -> None:
        """Raises ValueError where an observation is not like the last one."""
        if image.ndim != 3:
            raise ValueError(f"the observation's 'image' must be [H, W, 3], got shape {list(image.shape)}")
        if not self._frames:
            return
        last = self._states[-1] if self._states else None
        for name, new, old in (("image", image, self._frames[-1]), ("state", state, last)):
            shapes = ["absent" if each is None else list(each.shape) for each in (new, old)]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"the observation's {name!r} is {shapes[0]}, it was {shapes[1]} before; call reset() in between"
                )

    def execute(self, action: np.ndarray) -> None:
        """Add the action that follows the last observation."""
        self._actions.append(np.asarray(action, np.float32))

    def context(self, pixels: np.ndarray | None = None, pixel_distributions: np.ndarray | None = None) -> Context:
        """What is known now."""
        actions = np.asarray(self._actions, np.float32).reshape(-1, self.action_size)
        states = np.stack(self._states) if self._states else None
        return Context(np.stack(self._frames), actions, states, pixels, pixel_distributions, self.observation)


def start_simulator(simulator: Any, context: Context) -> Any:
    """The simulator's start from what is known."""
    named = {}
    if context.pixel_distributions is not None:
        named["pixel_distributions"] = context.pixel_distributions
    elif context.pixels is not None:
        named["pixels"] = context.pixels
    return simulator.start(context.frames, context.actions, context.states, **named)


def require_image(observation: Any) -> None:
    """Refuse an observation without a picture.

    Raises:
        ValueError: says what it needs.
    """
    if not isinstance(observation, Mapping) or "image" not in observation:
        raise ValueError("act needs an observation with 'image' [H, W, 3] (and 'state' [S] where there is one)")
