"""The predictor as a simulator: one scene encoded once, many action sequences rolled out from it.

Letters: C context frames, K candidates, T steps, A action size, S state size, P designated pixels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.frames import to_float
from visual_foresight.rollout import Rollout

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor

OUTPUTS = ("frames", "states", "pixel_distributions", "pixels")

# Bytes of float32 work in flight per pixel and candidate, over all channels of one step. Beyond a few tens of MB the
# temporaries leave the caches and page faults cost more than larger batches gain.
_BYTES_PER_PIXEL = 4 * 64


@dataclass(frozen=True, eq=False)
class SimulatorStart:
    """Encoded scenes: where rollouts begin. Made by `LearnedSimulator.start` (N = 1), `stack` and `advance`.

    Args:
        carry: what the predictor carries from step to step, leading axis N.
        frame: [N, H, W, 3] float32 in [0, 1], the last context frame.
        state: [N, S] float32, the robot state that the next step sees.
        pixel_distributions: [N, H, W, P] float32, where the designated pixels are in `frame`; None without any.
    """

    carry: Any
    frame: np.ndarray
    state: np.ndarray
    pixel_distributions: np.ndarray | None = None

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
            ValueError: nothing to stack, or scenes with different numbers of designated pixels.
        """
        from keras import tree

        if not starts:
            raise ValueError("there is no scene to stack")
        if len({start.num_pixels for start in starts}) > 1:
            raise ValueError(
                f"scenes have different numbers of designated pixels: {[start.num_pixels for start in starts]}"
            )

        def join(*arrays: Any) -> np.ndarray:
            return np.concatenate([np.asarray(array) for array in arrays])

        maps = None if starts[0].pixel_distributions is None else join(*(one.pixel_distributions for one in starts))
        return SimulatorStart(
            tree.map_structure(join, *(start.carry for start in starts)),
            join(*(start.frame for start in starts)),
            join(*(start.state for start in starts)),
            maps,
        )

    def select(self, index: int) -> SimulatorStart:
        """One of the scenes, as a start with N = 1."""
        from keras import tree

        def pick(array: Any) -> np.ndarray:
            return np.asarray(array)[index : index + 1]

        maps = None if self.pixel_distributions is None else pick(self.pixel_distributions)
        return SimulatorStart(tree.map_structure(pick, self.carry), pick(self.frame), pick(self.state), maps)


class LearnedSimulator:
    """Rolls action sequences out through a `VideoPredictor`.

    `start` encodes the context of one scene; `rollout` branches it into K candidates inside one compiled function, in
    chunks that fit the memory budget. A rollout does not depend on the chunk that computes it, and equals stepping
    the gymnasium wrappers `VisualForesight/LearnedPush-v0`.

    Args:
        predictor: a VideoPredictor.
        memory_budget_mb: bound on the working memory of one chunk [MB].

    Raises:
        TypeError: `predictor` is no VideoPredictor (pass `VideoPredictor.from_preset(name)`, not the name).
        ValueError: the memory budget is not positive.
    """

    def __init__(self, predictor: VideoPredictor, *, memory_budget_mb: float = 64.0) -> None:
        if not hasattr(predictor, "initial_carry"):
            raise TypeError(
                f"LearnedSimulator needs a VideoPredictor, got {type(predictor).__name__}; "
                "load one with VideoPredictor.from_preset(...)"
            )
        if not memory_budget_mb > 0:
            raise ValueError(f"memory_budget_mb must be positive, got {memory_budget_mb}")
        self.predictor = predictor
        height, width = predictor.config.image_size
        fitting = max(1, int(memory_budget_mb * 1e6 / (height * width * _BYTES_PER_PIXEL)))
        # A power of two, as the sizes of smaller batches are: few sizes, so few compilations.
        self.chunk_size = 1 << (fitting.bit_length() - 1)
        self._compiled: dict[tuple, Any] = {}

    # ---- the scene --------------------------------------------------------------------------------------------

    def start(
        self,
        frames: np.ndarray,
        actions: np.ndarray | None = None,
        states: np.ndarray | None = None,
        *,
        pixels: Sequence[tuple[float, float]] | np.ndarray | None = None,
        pixel_distributions: np.ndarray | None = None,
    ) -> SimulatorStart:
        """Encode the context frames of one scene, once.

        Args:
            frames: [C, H, W, 3] uint8, or float in [0, 1]; the last one is now. C may be any number from 1.
            actions: [C-1, A], between the frames; needed when C > 1.
            states: [C, S]; zeros where the predictor was trained without.
            pixels: designated pixels (row, col) in the last frame; fractions are spread over the neighbours.
            pixel_distributions: [P, H, W] instead of `pixels`, for example the map of an earlier rollout.

        Raises:
            ValueError: a wrong shape, range or length, or a value that is not finite.
        """
        frames = self._check_frames(frames)
        count = len(frames)
        config = self.predictor.config
        actions = _check_array(actions, (count - 1, config.action_size), "actions", "one between every two frames")
        if states is None and not config.use_state:
            states = np.zeros((count, config.state_size), np.float32)
        states = _check_array(states, (count, config.state_size), "states", "one for each frame")
        maps = self._check_maps(pixels, pixel_distributions)
        arguments = [frames[None], actions[None], states[None]] + ([] if maps is None else [maps])
        carry, state = self._function("start", count, maps is not None)(*arguments)
        return SimulatorStart(carry, frames[None, -1], np.asarray(state), maps)

    def _check_frames(self, frames: np.ndarray) -> np.ndarray:
        frames = np.asarray(frames)
        height, width = self.predictor.config.image_size
        if frames.ndim != 4 or frames.shape[1:] != (height, width, 3) or len(frames) < 1:
            raise ValueError(
                f"frames must be [C, {height}, {width}, 3] (the predictor's image size), got {list(frames.shape)}"
            )
        if frames.dtype == np.uint8:
            return to_float(frames)
        frames = frames.astype(np.float32)
        if not np.isfinite(frames).all() or frames.min() < -0.01 or frames.max() > 1.01:
            raise ValueError("frames must be uint8, or float with finite values in [0, 1]; divide bytes by 255")
        return frames

    def _check_maps(self, pixels: Any, distributions: np.ndarray | None) -> np.ndarray | None:
        """[1, H, W, P] from either way of naming designated pixels."""
        height, width = self.predictor.config.image_size
        if pixels is not None and distributions is not None:
            raise ValueError("give designated pixels either as pixels or as pixel_distributions, not both")
        if distributions is not None:
            maps = np.asarray(distributions, np.float32)
            if maps.ndim != 3 or maps.shape[1:] != (height, width):
                raise ValueError(f"pixel_distributions must be [P, {height}, {width}], got {list(maps.shape)}")
            mass = maps.sum(axis=(1, 2), keepdims=True)
            if not np.isfinite(maps).all() or maps.min() < 0 or (mass <= 0).any():
                raise ValueError("pixel_distributions must be finite, not negative, and each must have some mass")
            return np.moveaxis(maps / mass, 0, -1)[None]
        if pixels is None:
            return None
        return np.moveaxis(pixel_maps(pixels, (height, width)), 0, -1)[None]

    # ---- the futures ------------------------------------------------------------------------------------------

    def advance(self, start: SimulatorStart, actions: np.ndarray) -> SimulatorStart:
        """One step of N scenes at once: one network call.

        Args:
            start: N scenes.
            actions: [N, A], environment units.

        Returns:
            The N scenes one step later; their frames are predictions, not clipped to [0, 1].

        Raises:
            ValueError: a wrong shape or a value that is not finite.
        """
        expected = (start.num_scenes, self.predictor.config.action_size)
        actions = _check_array(actions, expected, "actions", "one for each scene")
        arguments = [start.carry, start.frame, start.state, actions]
        if start.pixel_distributions is not None:
            arguments.append(start.pixel_distributions)
        carry, frame, state, maps = self._function("advance", None, start.num_pixels > 0)(*arguments)
        return SimulatorStart(carry, np.asarray(frame), np.asarray(state), None if maps is None else np.asarray(maps))

    def rollout(
        self,
        start: SimulatorStart,
        actions: np.ndarray,
        outputs: Sequence[str] = ("frames", "states", "pixel_distributions"),
    ) -> Rollout:
        """Predict what happens under K action sequences.

        Args:
            start: from `start`.
            actions: [K, T, A], environment units.
            outputs: what is wanted; what is left out is None in the Rollout and is never copied out of the device.
                "frames" (clipped to [0, 1]), "states", "pixel_distributions", "pixels" (expected positions).

        Raises:
            ValueError: a wrong shape, a value that is not finite, or an unknown output.
        """
        actions = np.asarray(actions, np.float32)
        size = self.predictor.config.action_size
        if actions.ndim != 3 or actions.shape[2] != size or 0 in actions.shape:
            raise ValueError(f"actions must be [K, T, {size}] with K, T >= 1, got {list(actions.shape)}")
        if not np.isfinite(actions).all():
            raise ValueError("actions contain values that are not finite")
        if start.num_scenes != 1:
            raise ValueError(f"a rollout branches one scene, got {start.num_scenes}; pass start.select(index)")
        wanted = _check_outputs(outputs, start)
        pieces = [
            self._roll_chunk(start, actions[low : low + self.chunk_size], wanted)
            for low in range(0, len(actions), self.chunk_size)
        ]
        joined = {name: _join([piece[name] for piece in pieces]) for name in wanted}
        return Rollout(actions=actions, **joined)

    def _roll_chunk(self, start: SimulatorStart, actions: np.ndarray, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
        """One compiled call. K is padded to a few sizes, because each size is compiled once."""
        count = len(actions)
        padded = _padded_size(count, self.chunk_size)
        if padded > count:
            actions = np.concatenate([actions, np.repeat(actions[-1:], padded - count, axis=0)])
        arguments = [start.carry, start.frame, start.state, actions]
        if start.pixel_distributions is not None:
            arguments.append(start.pixel_distributions)
        results = self._function("rollout", wanted, start.num_pixels > 0)(*arguments)
        return {name: np.moveaxis(np.asarray(value), 0, 1)[:count] for name, value in results.items()}  # [K, T, ...]

    # ---- compiled parts ---------------------------------------------------------------------------------------

    def _function(self, kind: str, detail: Any, with_maps: bool) -> Any:
        """The compiled function of that kind; its shapes are compiled as they come."""
        from visual_foresight.backend import compile_function

        key = (kind, detail, with_maps)
        if key not in self._compiled:
            make: dict[str, Any] = {
                "start": self._start_function,
                "advance": self._advance_function,
                "rollout": self._rollout_function,
            }
            self._compiled[key] = compile_function(make[kind](detail), model=self.predictor)
        return self._compiled[key]

    def _start_function(self, count: int) -> Any:
        predictor = self.predictor

        def encode(frames: Any, actions: Any, states: Any, maps: Any = None) -> tuple[Any, Any]:
            carry = predictor.initial_carry(frames[:, 0], states[:, 0], maps)
            state = states[:, 0]
            for time in range(count - 1):
                carry, prediction = predictor.step(carry, frames[:, time], actions[:, time], state)
                true_state = predictor.backbone.state_feedback == "context"
                state = states[:, time + 1] if true_state else prediction.state
            return carry, state

        return encode

    def _advance_function(self, detail: None) -> Any:
        predictor = self.predictor

        def advance(carry: Any, frame: Any, state: Any, actions: Any, maps: Any = None) -> tuple[Any, ...]:
            carry, prediction = predictor.step(carry, frame, actions, state, maps)
            return carry, prediction.frame, prediction.state, prediction.maps

        return advance

    def _rollout_function(self, wanted: tuple[str, ...]) -> Any:
        from keras import ops, tree

        from visual_foresight.backend import scan

        predictor = self.predictor

        def roll(carry: Any, frame: Any, state: Any, actions: Any, maps: Any = None) -> dict[str, Any]:
            count = actions.shape[0]

            def branch(tensor: Any) -> Any:
                return ops.broadcast_to(tensor, (count, *tensor.shape[1:]))

            moment = {"carry": tree.map_structure(branch, carry), "frame": branch(frame), "state": branch(state)}
            if maps is not None:
                moment["maps"] = branch(maps)
            # A compiled loop, because an unrolled one takes tens of seconds to compile for every horizon.
            return scan(advance, moment, ops.transpose(actions, (1, 0, 2)))

        def advance(moment: dict[str, Any], action: Any) -> tuple[dict[str, Any], dict[str, Any]]:
            carry, prediction = predictor.step(
                moment["carry"], moment["frame"], action, moment["state"], moment.get("maps")
            )
            following = {"carry": carry, "frame": prediction.frame, "state": prediction.state}
            if "maps" in moment:
                following["maps"] = prediction.maps
            return following, {name: _read(name, prediction) for name in wanted}

        return roll


def pixel_maps(pixels: Sequence[tuple[float, float]] | np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Probability maps [P, H, W] of designated pixels, bilinear: the expected position of each is the pixel.

    Args:
        pixels: [P, 2] (row, col), floating; pixel centres are whole numbers.
        image_size: (H, W).

    Raises:
        ValueError: a wrong shape, or a pixel outside the image.
    """
    points = np.asarray(pixels, np.float64)
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


def _read(name: str, prediction: Any) -> Any:
    from keras import ops

    if name == "frames":
        return ops.clip(prediction.frame, 0.0, 1.0)
    if name == "states":
        return prediction.state
    maps = prediction.maps  # [K, H, W, P]
    if name == "pixel_distributions":
        return ops.transpose(maps, (0, 3, 1, 2))
    rows = ops.arange(maps.shape[1], dtype="float32")
    columns = ops.arange(maps.shape[2], dtype="float32")
    row = ops.einsum("khwp,h->kp", maps, rows)
    return ops.stack([row, ops.einsum("khwp,w->kp", maps, columns)], axis=-1)


def _check_outputs(outputs: Sequence[str], start: SimulatorStart) -> tuple[str, ...]:
    if isinstance(outputs, str):
        outputs = (outputs,)
    unknown = [name for name in outputs if name not in OUTPUTS]
    if unknown or not outputs:
        raise ValueError(f"unknown rollout outputs {unknown}; valid names are {', '.join(OUTPUTS)}")
    if start.num_pixels:
        return tuple(outputs)
    if "pixels" in outputs:
        raise ValueError("pixels were asked for, but the start has no designated pixels; pass start(..., pixels=...)")
    return tuple(name for name in outputs if name != "pixel_distributions")


def _check_array(array: Any, shape: tuple[int, ...], name: str, meaning: str) -> np.ndarray:
    if array is None:
        if shape[0] == 0:
            return np.zeros(shape, np.float32)
        raise ValueError(f"{name} {list(shape)} are needed: {meaning}")
    array = np.asarray(array, np.float32)
    if array.shape != shape:
        raise ValueError(f"{name} must be {list(shape)} ({meaning}), got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contain values that are not finite")
    return array


def _padded_size(count: int, chunk_size: int) -> int:
    """The next power of two, at most the chunk size."""
    return min(chunk_size, 1 << (count - 1).bit_length())


def _join(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
