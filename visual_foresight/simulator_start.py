"""Where rollouts begin: encoded scenes, and the maps of designated pixels.

Letters: N scenes, C context frames, P designated pixels, H rows, W columns, A action size, S state size, J stride.
"""

from __future__ import annotations

import hashlib
import json
import operator
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from visual_foresight.frames import to_float
from visual_foresight.given_arrays import check_magnitude, given_array


@dataclass(frozen=True, eq=False)
class Leap:
    """The leap that a scene is in: where it began, and its actions so far. Only predictors that leap have one.

    Args:
        frame: [N, H, W, 3] float32, the frame that the leap began from.
        state: [N, S] float32.
        pixel_distributions: [N, H, W, P] float32, or None without designated pixels.
        actions: [N, J, A] float32, those taken so far, zeros behind them.
        count: [N] int64, how many were taken, below J.
    """

    frame: np.ndarray
    state: np.ndarray
    pixel_distributions: np.ndarray | None
    actions: np.ndarray
    count: np.ndarray


@dataclass(frozen=True, eq=False)
class SimulatorStart:
    """Encoded scenes: where rollouts begin. Made by `LearnedSimulator.start` (N = 1), `stack` and `advance`.

    Args:
        carry: what the predictor carries from step to step, leading axis N; at the beginning of `leap` if there is one.
        frame: [N, H, W, 3] float32 in [0, 1], the last context frame, or the present prediction.
        state: [N, S] float32, the robot state that the next step sees.
        pixel_distributions: [N, H, W, P] float32, where the designated pixels are in `frame`; None without any.
        leap: the leap that the scenes are in.
        made_by: of which predictor, see `identity_of`; "" where that is not known.
    """

    carry: Any
    frame: np.ndarray
    state: np.ndarray
    pixel_distributions: np.ndarray | None = None
    leap: Leap | None = None
    made_by: str = ""

    @property
    def num_pixels(self) -> int:
        """P, the number of designated pixels."""
        return 0 if self.pixel_distributions is None else int(self.pixel_distributions.shape[-1])

    @property
    def num_scenes(self) -> int:
        """N, the number of scenes."""
        return int(self.frame.shape[0])

    @staticmethod
    def stack(starts: Sequence[SimulatorStart]) -> SimulatorStart:
        """Put scenes side by side.

        Raises:
            ValueError: nothing to stack, scenes of several predictors, or with different numbers of designated pixels.
        """
        starts = tuple(starts)
        if not starts:
            raise ValueError("there is no scene to stack")
        if len({(start.made_by, start.frame.shape[1:], start.leap is None) for start in starts}) > 1:
            raise ValueError("the scenes are of several predictors, or of several kinds; stack those of one start(...)")
        if len({start.num_pixels for start in starts}) > 1:
            raise ValueError(
                f"scenes have different numbers of designated pixels: {[start.num_pixels for start in starts]}"
            )
        return _map_arrays(lambda *arrays: np.concatenate([np.asarray(array) for array in arrays]), *starts)

    def select(self, index: int) -> SimulatorStart:
        """One of the scenes, as a start with N = 1; negative numbers count from the end.

        Raises:
            IndexError: there is no such scene.
            TypeError: not a whole number.
        """
        index = operator.index(index)
        if not -self.num_scenes <= index < self.num_scenes:
            raise IndexError(f"there is no scene {index}: the start has {self.num_scenes}")
        index %= self.num_scenes
        return _map_arrays(lambda array: np.asarray(array)[index : index + 1], self)

    def some(self, scenes: slice) -> SimulatorStart:
        """Some of the scenes, where they are."""
        return _map_arrays(lambda array: array[scenes], self)

    def on_device(self) -> SimulatorStart:
        """The same scenes as tensors of the backend, for many calls; only rollouts can begin there."""
        from keras import ops

        return _map_arrays(ops.convert_to_tensor, self.plain())

    def plain(self) -> SimulatorStart:
        """The same scenes as whole leaps see them, from the present moment on; only rollouts can begin there."""
        start = self.rebased()
        base = start.leap or start
        return SimulatorStart(start.carry, base.frame, base.state, base.pixel_distributions, made_by=self.made_by)

    def rebased(self) -> SimulatorStart:
        """The same scenes at the beginning of a leap: the next one starts from the present prediction.

        Its memory is that of the beginning of the leap that is cut short.
        """
        if self.leap is None or not self.leap.count.any():
            return self
        leap = Leap(
            self.frame,
            self.state,
            self.pixel_distributions,
            np.zeros_like(self.leap.actions),
            np.zeros_like(self.leap.count),
        )
        return replace(self, leap=leap)


def _map_arrays(function: Any, *starts: SimulatorStart) -> SimulatorStart:
    """Apply a function to each array of a start, or to those of several side by side."""
    from keras import tree

    def gather(values: list[Any]) -> Any:
        return None if values[0] is None else function(*values)

    def join(records: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
        return {name: gather([getattr(record, name) for record in records]) for name in names}

    carry = tree.map_structure(function, *(start.carry for start in starts))
    present = join(starts, ("frame", "state", "pixel_distributions"))
    if starts[0].leap is None:
        return SimulatorStart(carry, **present, made_by=starts[0].made_by)
    names = ("frame", "state", "pixel_distributions", "actions", "count")
    leap = Leap(**join([start.leap for start in starts], names))
    return SimulatorStart(carry, **present, leap=leap, made_by=starts[0].made_by)


def pixel_maps(pixels: Sequence[tuple[float, float]] | np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Probability maps [P, H, W] of designated pixels, bilinear: the expected position of each is the pixel.

    Args:
        pixels: [P, 2] (row, col), floating; pixel centres are whole numbers.
        image_size: (H, W).

    Raises:
        ValueError: a wrong shape, or a pixel outside the image.
    """
    points = given_array("pixels", pixels, np.float64)
    height, width = image_size
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"pixels must be [P, 2] as (row, col), got shape {list(points.shape)}")
    limits = np.array([height, width]) - 0.5
    if not np.isfinite(points).all() or (points < -0.5).any() or (points > limits).any():
        raise ValueError(f"designated pixels {points.tolist()} must lie inside the {height}x{width} image")
    points = np.clip(points, 0.0, [height - 1, width - 1])
    rows = np.maximum(0.0, 1.0 - np.abs(points[:, :1] - np.arange(height)))  # [P, H]
    columns = np.maximum(0.0, 1.0 - np.abs(points[:, 1:] - np.arange(width)))  # [P, W]
    return (rows[:, :, None] * columns[:, None, :]).astype(np.float32)


def checked_maps(distributions: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Probability maps [P, H, W] as float32 with sum 1 each.

    Raises:
        ValueError: a wrong shape, a value that is negative or not finite, or a map without mass.
    """
    height, width = image_size
    maps = given_array("pixel_distributions", distributions)
    if maps.ndim != 3 or maps.shape[1:] != (height, width) or len(maps) == 0:
        raise ValueError(f"pixel_distributions must be [P, {height}, {width}], got {list(maps.shape)}")
    mass = maps.sum(axis=(1, 2), keepdims=True, dtype=np.float64)
    if not np.isfinite(maps).all() or maps.min() < 0 or (mass <= 0).any():
        raise ValueError("pixel_distributions must be finite, not negative, and each must have some mass")
    return (maps / mass).astype(np.float32)


def designated_maps(pixels: Any, distributions: np.ndarray | None, image_size: tuple[int, int]) -> np.ndarray | None:
    """[1, H, W, P] from either way of naming designated pixels; None where none are named.

    Raises:
        ValueError: both ways, or what `pixel_maps` and `checked_maps` refuse.
    """
    if pixels is not None and distributions is not None:
        raise ValueError("give designated pixels either as pixels or as pixel_distributions, not both")
    if pixels is None and distributions is None:
        return None
    maps = checked_maps(distributions, image_size) if distributions is not None else pixel_maps(pixels, image_size)
    return np.moveaxis(maps, 0, -1)[None]


def checked_frames(frames: Any, image_size: tuple[int, int]) -> np.ndarray:
    """Context frames [C, H, W, 3] as float32 in [0, 1].

    Raises:
        ValueError: a wrong shape, dtype or range, or a value that is not finite.
    """
    try:
        frames = np.asarray(frames)
    except ValueError as error:
        raise ValueError("frames must be an array [C, H, W, 3], got lists of different lengths or depths") from error
    height, width = image_size
    if frames.ndim != 4 or frames.shape[1:] != (height, width, 3) or len(frames) < 1:
        raise ValueError(
            f"frames must be [C, {height}, {width}, 3] (the predictor's image size), got {list(frames.shape)}"
        )
    if frames.dtype == np.uint8:
        return to_float(frames)
    if frames.dtype.kind in "biucmMOSU":
        raise ValueError(f"frames must be uint8, or float in [0, 1], got {frames.dtype}; bytes with astype(np.uint8)")
    frames = frames.astype(np.float32)
    if not np.isfinite(frames).all() or frames.min() < -0.01 or frames.max() > 1.01:
        raise ValueError("frames must be uint8, or float with finite values in [0, 1]; divide bytes by 255")
    return frames


_IDENTITIES: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def identity_of(predictor: Any) -> str:
    """What tells predictors apart: a hash of sizes, normalisation and weights. Copies of one are the same.

    Of the weights as they were when this was first asked for: a predictor that learns on stays itself.
    """
    if predictor not in _IDENTITIES:
        _IDENTITIES[predictor] = _hash_of(predictor)
    return _IDENTITIES[predictor]


def _hash_of(predictor: Any) -> str:
    found = hashlib.sha256(json.dumps([predictor.config.to_json(), predictor.statistics.to_json()]).encode())
    for weight in predictor.get_weights():
        found.update(np.ascontiguousarray(weight).tobytes())
    return found.hexdigest()


def check_start(start: Any, config: Any, identity: str, *, leaping: bool) -> None:
    """Refuse what no simulator of this predictor can go on from.

    Args:
        start: what a caller handed in.
        config: the predictor's.
        identity: the predictor's.
        leaping: whether it must know the leap that it is in, as a start that is moved step by step must.

    Raises:
        TypeError: no start.
        ValueError: one of another predictor.
    """
    if not isinstance(start, SimulatorStart):
        raise TypeError(f"expected a start from this simulator's start(...), got {type(start).__name__}")
    found = (*start.frame.shape[1:3], start.state.shape[1])
    expected = (*config.image_size, config.state_size)
    if tuple(found) != expected or (start.leap is not None and config.stride == 1):
        leaps = "one that leaps" if start.leap is not None else "one that does not leap"
        raise ValueError(
            f"the start is of another predictor: {found[0]}x{found[1]} pixels, {found[2]} states, {leaps}; this has "
            f"{expected[0]}x{expected[1]}, {expected[2]} states and a stride of {config.stride}"
        )
    if start.made_by not in ("", identity):
        raise ValueError(
            "the start is of another predictor, or of other weights: what it encoded means nothing to this one; encode "
            "the scene with this simulator's start(...)"
        )
    if leaping and start.leap is None and config.stride > 1:
        raise ValueError(f"the start knows no leap, but this predictor leaps {config.stride} steps; use start(...)")


def checked_array(array: Any, shape: tuple[int, ...], name: str, meaning: str) -> np.ndarray:
    """An array as float32.

    Raises:
        ValueError: it is missing, has another shape, or is not finite or absurdly large.
    """
    if array is None:
        if shape[0] == 0:
            return np.zeros(shape, np.float32)
        raise ValueError(f"{name} {list(shape)} are needed: {meaning}")
    array = given_array(name, array)
    if array.shape != shape:
        raise ValueError(f"{name} must be {list(shape)} ({meaning}), got {list(array.shape)}")
    check_magnitude(name, array)
    return array
