"""One recorded episode: what the camera saw, what the robot did, and everything needed to start from any frame."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

__all__ = ["FINAL_ACTION", "Episode", "cut_extras"]

FINAL_ACTION = "final_action"
"""Name of the extra that holds an action commanded after the last frame `[A]` (the original records have one)."""

_EXTRA_NAME = re.compile(r"[A-Za-z0-9_.\-]+")


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode; every format reads and writes this record, and nothing else.

    T frames, image size H x W, A action and S state dimensions. Arrays are kept as read-only views.

    Args:
        frames: `[T, H, W, 3]` uint8; frame 0 is the reset frame.
        actions: `[T-1, A]` float32 in environment units, or None; `actions[t]` leads from frame t to frame t+1.
        states: `[T, S]` float32 in environment units, or None; of no numbers (S or A of 0) they count as None.
        extras: Further arrays by name: boolean, integer or floating. An extra whose first axis is T belongs to the
            frames, one whose first axis is T-1 to the actions, any other to the whole episode (`window` cuts them so).
            `final_action` `[A]` is special: the action commanded after the last frame.
        metadata: JSON-plain facts: seed, environment, versions, policy, scene.

    Raises:
        TypeError: An array has a dtype that cannot be what it claims, or the metadata is not JSON-plain.
        ValueError: A shape or length is wrong, or actions or states hold values that are not finite.
    """

    frames: np.ndarray
    actions: np.ndarray | None = None
    states: np.ndarray | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate every field and freeze the arrays."""
        frames = _check_frames(self.frames)
        num_frames = len(frames)
        actions = _check_rows(self.actions, "actions", num_frames - 1, num_frames)
        states = _check_rows(self.states, "states", num_frames, num_frames)
        object.__setattr__(self, "frames", _frozen(frames))
        object.__setattr__(self, "actions", None if actions is None else _frozen(actions))
        object.__setattr__(self, "states", None if states is None else _frozen(states))
        object.__setattr__(self, "extras", _check_extras(self.extras, actions))
        object.__setattr__(self, "metadata", _check_metadata(self.metadata))

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return len(self.frames)

    @property
    def action_size(self) -> int | None:
        """Number of action dimensions A, or None without actions."""
        return None if self.actions is None else self.actions.shape[1]

    @property
    def state_size(self) -> int | None:
        """Number of state dimensions S, or None without states."""
        return None if self.states is None else self.states.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width (H, W) of the frames in pixels."""
        return self.frames.shape[1], self.frames.shape[2]

    def window(self, start: int, length: int) -> Episode:
        """Return the episode of `length` frames that begins at frame `start`.

        Extras are cut with the frames or the actions they belong to. A `final_action`, where there is one, becomes the
        action commanded after the window's last frame.

        Raises:
            ValueError: The window does not lie inside the episode.
        """
        stop = start + length
        if length < 1 or start < 0 or stop > self.num_frames:
            raise ValueError(
                f"window(start={start}, length={length}) does not lie inside this episode of {self.num_frames} frames: "
                f"choose 1 <= length <= {self.num_frames} and 0 <= start <= {self.num_frames} - length"
            )
        extras = cut_extras(self.extras, self.num_frames, start, stop)
        if FINAL_ACTION in extras and self.actions is not None and stop < self.num_frames:
            extras[FINAL_ACTION] = self.actions[stop - 1]
        return replace(
            self,
            frames=self.frames[start:stop],
            actions=None if self.actions is None else self.actions[start : stop - 1],
            states=None if self.states is None else self.states[start:stop],
            extras=extras,
        )


def cut_extras(extras: Mapping[str, np.ndarray], num_frames: int, start: int, stop: int) -> dict[str, np.ndarray]:
    """Cut the extras of an episode of `num_frames` frames to the frames from `start` up to, not including, `stop`."""
    cut = {}
    for name, value in extras.items():
        if name != FINAL_ACTION and value.ndim and len(value) == num_frames:
            cut[name] = value[start:stop]
        elif name != FINAL_ACTION and value.ndim and len(value) == num_frames - 1:
            cut[name] = value[start : stop - 1]
        else:
            cut[name] = value
    return cut


def _frozen(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


_CHANNELS = "repeat a grey channel three times, drop an alpha channel"


def _check_frames(frames: Any) -> np.ndarray:
    if not isinstance(frames, np.ndarray):
        raise TypeError(f"Episode frames must be a NumPy array [T, H, W, 3] of uint8, got {type(frames).__name__}")
    if frames.dtype != np.uint8:
        way = "visual_foresight.frames.to_uint8" if frames.dtype.kind == "f" else "frames.astype(np.uint8) if in 0..255"
        kind = "floats in [0, 1]" if frames.dtype.kind == "f" else "whole numbers"
        raise TypeError(f"Episode frames must be uint8, got {frames.dtype}: convert {kind} with {way}")
    if frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        first = frames.ndim == 4 and frames.shape[1] == 3
        raise ValueError(
            f"Episode frames must have shape [T, H, W, 3] with at least one frame, got {list(frames.shape)}: "
            + ("move the channels to the end with np.moveaxis(frames, 1, -1)" if first else _CHANNELS)
        )
    return frames


def _check_rows(rows: Any, name: str, expected: int, num_frames: int) -> np.ndarray | None:
    if rows is None:
        return None
    rows = np.asarray(rows)
    if rows.dtype.kind not in "fiu":
        raise TypeError(f"Episode {name} must be real numbers (float32), got dtype {rows.dtype}")
    if rows.ndim != 2:
        raise ValueError(f"Episode {name} must have two axes [{expected}, size], got shape {list(rows.shape)}")
    if len(rows) != expected:
        rule = (
            "one less than frames (actions[t] leads from frame t to t+1)" if name == "actions" else "one for each frame"
        )
        hint = ""
        if name == "actions" and len(rows) == num_frames:
            hint = f"; an action commanded after the last frame belongs in extras[{FINAL_ACTION!r}]"
        raise ValueError(f"Episode of {num_frames} frames needs {expected} {name}, {rule}; got {len(rows)}{hint}")
    rows = rows.astype(np.float32, copy=False)
    bad = ~np.isfinite(rows)
    if bad.any():
        first = np.argwhere(bad)[0]
        raise ValueError(
            f"Episode {name} must be finite, but {int(bad.sum())} of {rows.size} values are not; the first is "
            f"{name}[{first[0]}, {first[1]}] = {rows[tuple(first)]}: repair or drop the episode"
        )
    return rows if rows.shape[1] else None


def _check_extras(extras: Any, actions: np.ndarray | None) -> Mapping[str, np.ndarray]:
    if not isinstance(extras, Mapping):
        raise TypeError(f"Episode extras must map names to arrays, got {type(extras).__name__}")
    checked = {}
    for name, value in extras.items():
        if not isinstance(name, str) or not _EXTRA_NAME.fullmatch(name):
            raise ValueError(f"Episode extras need names of letters, digits, '_', '.' or '-', got {name!r}")
        value = np.asarray(value)
        if value.dtype.kind not in "biuf":
            raise TypeError(f"Episode extras[{name!r}] must be boolean, integer or floating, got dtype {value.dtype}")
        checked[name] = _frozen(value)
    final = checked.get(FINAL_ACTION)
    if final is not None and actions is not None and final.shape != actions.shape[1:]:
        raise ValueError(
            f"Episode extras[{FINAL_ACTION!r}] must have shape {list(actions.shape[1:])} like one action, "
            f"got {list(final.shape)}"
        )
    return checked


def _check_metadata(metadata: Any) -> Mapping[str, Any]:
    if not isinstance(metadata, Mapping):
        raise TypeError(f"Episode metadata must be a mapping, got {type(metadata).__name__}")
    try:
        # The round trip copies it, and makes what is in memory equal to what every format stores.
        return json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Episode metadata must be JSON-plain (dict, list, str, int, finite float, bool, None): {error}; "
            "put arrays into extras, convert NumPy scalars with .item()"
        ) from None
