"""The futures of K candidate action sequences, as a simulator returns them and an objective reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from visual_foresight.frames import check_floats

_TRAILING = {  # trailing shape behind [K, T]; None is any size
    "actions": (None,),
    "frames": (None, None, 3),
    "states": (None,),
    "pixel_distributions": (None, None, None),
    "pixels": (None, 2),
}
_EVERY_STEP = ("actions", "states")


@dataclass(frozen=True, eq=False)
class Rollout:
    """What happens under K candidates, T steps each. Index t is the moment after ``actions[:, t]``.

    A simulator that leaps shows the scene at the ends of its leaps only: then frames, maps and pixels have
    N = T / every entries, and entry n is the moment after control step (n + 1) * every.

    Arrays are NumPy arrays, or tensors of the Keras backend inside a compiled function. Shapes of NumPy arrays are
    checked here; tensors are trusted, because their shapes may be unknown while a graph is traced.

    Args:
        actions: [K, T, A], environment units.
        frames: [K, N, H, W, 3] in [0, 1], or None when the simulator was not asked for it (as below).
        states: [K, T, S], environment units.
        pixel_distributions: [K, N, P, H, W]; each map of a designated pixel sums to 1 over H and W.
        pixels: [K, N, P, 2] as (row, col), floating: exact positions of the designated pixels, or expected ones.
        every: control steps between two entries of frames, maps and pixels; T is a multiple of it.

    Raises:
        ValueError: an array has another number of axes, another K, T or N, or a wrong trailing size; T is no multiple
            of ``every``; or frames are bytes, or floats far outside [0, 1].
    """

    actions: Any
    frames: Any = None
    states: Any = None
    pixel_distributions: Any = None
    pixels: Any = None
    every: int = 1

    def __post_init__(self) -> None:
        """Check every NumPy array against the actions' K and T."""
        if self.actions is None:
            raise ValueError("Rollout needs actions [K, T, A], got None")
        if isinstance(self.actions, np.ndarray) and self.actions.ndim != 3:
            raise ValueError(f"Rollout.actions has shape {list(self.actions.shape)}, expected [K, T, A]")
        if not isinstance(self.every, (int, np.integer)):
            raise ValueError(f"Rollout.every must be a whole number, got {self.every!r}")
        if self.every < 1 or (isinstance(self.actions, np.ndarray) and self.actions.shape[1] % self.every):
            raise ValueError(f"Rollout.every must be a divisor of the number of steps, got {self.every}")
        count, steps = tuple(self.actions.shape[:2]) if isinstance(self.actions, np.ndarray) else (None, None)
        for name, trailing in _TRAILING.items():
            array = getattr(self, name)
            if isinstance(array, np.ndarray):
                length = steps if steps is None or name in _EVERY_STEP else steps // self.every
                _check_shape(name, array.shape, (count, length, *trailing))
        if isinstance(self.frames, np.ndarray):
            check_floats("Rollout.frames", self.frames[:1, :1])  # one stands for all: planners make many rollouts

    @property
    def num_candidates(self) -> int:
        """K, the number of action sequences."""
        return self.actions.shape[0]

    @property
    def horizon(self) -> int:
        """T, the number of steps."""
        return self.actions.shape[1]

    def select(self, indices: int | slice | Sequence[int] | np.ndarray) -> Rollout:
        """Keep some candidates, in the order given.

        Args:
            indices: one index (its axis stays, with length 1), a slice, a list of indices, or a mask [K] of bool.

        Returns:
            A Rollout of the chosen candidates.

        Raises:
            IndexError: an index lies outside K.
        """
        if isinstance(indices, (int, np.integer)):
            indices = [int(indices)]
        chosen = np.atleast_1d(np.arange(self.num_candidates)[indices])
        arrays = {name: getattr(self, name) for name in _TRAILING}
        return replace(self, **{name: _take(array, chosen) for name, array in arrays.items() if array is not None})

    def to_numpy(self) -> Rollout:
        """The same rollout with every tensor as a NumPy array (and so with every shape checked)."""
        arrays = {name: getattr(self, name) for name in _TRAILING}
        numpy_arrays = {name: None if array is None else np.asarray(array) for name, array in arrays.items()}
        return Rollout(**numpy_arrays, every=self.every)


def _check_shape(name: str, shape: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    matches = len(shape) == len(expected) and all(
        wanted is None or size == wanted for size, wanted in zip(shape, expected, strict=True)
    )
    if not matches:
        wanted_text = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"Rollout.{name} has shape {list(shape)}, expected [{wanted_text}] (K and T are the actions')")


def _take(array: Any, chosen: np.ndarray) -> Any:
    if isinstance(array, np.ndarray):
        return array[chosen]
    from keras import ops

    return ops.take(array, chosen, axis=0)
