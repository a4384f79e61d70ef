"""The push format: TFRecords with the keys of Google's robot pushing data, as the original trainer reads them.

One `tf.train.Example` is one episode of T frames. For each step i from 0:

- `move/{i}/image/encoded`: JPEG (640 x 512 in the published data) or PNG;
- `move/{i}/commanded_pose/vec_pitch_yaw`: the action, 5 numbers there, any size here;
- `move/{i}/endeffector/vec_pitch_yaw`: the state, likewise.

The published records hold T actions, one commanded after the last frame: it is read as the extra `final_action`. Where
an episode has none, no key is written for the last step (nothing is invented), and the original's reader can take its
first T-1 frames. Keys of ours, which that reader ignores: `visual_foresight/metadata` (JSON) and
`visual_foresight/extras/{name}` (the bytes of a `.npy` file).

The encoding "raw" stores whole arrays under keys of ours instead (see `raw_records`): the fastest to train from.

Source: tensorflow/models research/video_prediction, prediction_input.py.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.episode import FINAL_ACTION, Episode, cut_extras
from visual_foresight.formats.raw_records import FRAMES_KEY, PREFIX, load_array, raw_features, store_array
from visual_foresight.formats.record import Fault, ReadOptions
from visual_foresight.formats.resize import move_pixels, preprocess_episode
from visual_foresight.formats.tfrecord import (
    ExampleWriter,
    Features,
    decode_frame,
    first_record,
    read_records,
    tfrecord_files,
)

__all__ = ["ACTION_KEY", "IMAGE_KEY", "ORIGINAL_SIZE", "STATE_KEY", "PushFormat"]

IMAGE_KEY = "move/{}/image/encoded"
ACTION_KEY = "move/{}/commanded_pose/vec_pitch_yaw"
STATE_KEY = "move/{}/endeffector/vec_pitch_yaw"
METADATA_KEY = "visual_foresight/metadata"
EXTRAS_PREFIX = "visual_foresight/extras/"

ORIGINAL_SIZE = (512, 640)
"""Height and width of the published pictures; the original's reader takes no others."""


class PushFormat:
    """TFRecords with the keys of Google's robot pushing data."""

    name = "push"
    description = "TFRecords with the keys of the original push data"
    settings: tuple[str, ...] = ()
    encodings = ("png", "jpeg", "original", "raw")
    suffix = ".tfrecord"

    def shards(self, path: Path) -> list[Path]:
        """Return the TFRecord files at `path`, sorted."""
        return tfrecord_files(path)

    def recognises(self, shard: Path) -> bool:
        """Whether the first record has the keys."""
        record = first_record(shard)
        return IMAGE_KEY.format(0).encode() in record or FRAMES_KEY.encode() in record

    def read(self, shard: Path, options: ReadOptions) -> Iterator[Episode | Fault]:
        """Read the records of one file."""
        yield from read_records(shard, lambda record: parse_episode(record, options))

    def open_writer(self, path: Path, *, encoding: str, quality: int) -> PushWriter:
        """Open a new file.

        Args:
            path: The file.
            encoding: "png" (exact) or "jpeg" at the size of the frames, or "original": JPEG of 640 x 512, which the
                original's unchanged reader takes (square frames whose side divides 512, or frames of that size), or
                "raw": uncompressed arrays, the fastest to read (see `raw_records`).
            quality: JPEG quality, 1 to 100.
        """
        return PushWriter(path, encoding, quality)


def parse_episode(record: bytes, options: ReadOptions) -> Episode:
    """Return the episode of one record.

    Raises:
        KeyError, ValueError, TypeError: The record is damaged; the message says what is wrong.
    """
    features = Features(record)
    if FRAMES_KEY in features:
        return _raw_episode(features, options)
    stored = features.num_steps(IMAGE_KEY)
    start, stop = options.bounds(stored)
    actions = states = None
    if options.use_state:
        actions = _actions(features, stored)
        states = features.rows(STATE_KEY, stored)
    extras = cut_extras(_extras(features), stored, start, stop)
    if actions is not None and len(actions) >= stop:
        extras[FINAL_ACTION] = actions[stop - 1]
    elif not options.use_state:
        extras.pop(FINAL_ACTION, None)
    frames, stored_size = decode_steps(features, range(start, stop), options)
    return Episode(
        frames,
        None if actions is None else actions[start : stop - 1],
        None if states is None else states[start:stop],
        move_pixels(extras, stored_size, options),
        _metadata(features),
    )


def _raw_episode(features: Features, options: ReadOptions) -> Episode:
    rows = {
        name: load_array(features.bytes_at(PREFIX + name))
        for name in ("actions", "states")
        if options.use_state and PREFIX + name in features
    }
    extras = _extras(features)
    if not options.use_state:
        extras.pop(FINAL_ACTION, None)
    frames = load_array(features.bytes_at(FRAMES_KEY))
    return preprocess_episode(Episode(frames, **rows, extras=extras, metadata=_metadata(features)), options)


def _metadata(features: Features) -> Any:
    return json.loads(features.bytes_at(METADATA_KEY)) if METADATA_KEY in features else {}


def decode_steps(features: Features, steps: range, options: ReadOptions) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the frames `[T, H, W, 3]` of some steps of a record, and the stored (height, width).

    Raises:
        ValueError: A picture cannot be decoded or differs in size from the first; the message names its key.
    """
    frames: list[np.ndarray] = []
    first_size = None
    for step in steps:
        key = IMAGE_KEY.format(step)
        try:
            frame, stored_size = decode_frame(features.bytes_at(key), options.preprocess, options.image_size)
        except ValueError as error:
            raise ValueError(f"the key {key!r}: {error}") from None
        if first_size is None:
            first_size = stored_size
        elif stored_size != first_size:
            raise ValueError(f"the key {key!r} holds a picture of {stored_size}, step {steps[0]} one of {first_size}")
        frames.append(frame)
    if first_size is None:
        raise ValueError("has no frame")
    return np.stack(frames), first_size


def _actions(features: Features, num_frames: int) -> np.ndarray | None:
    has_final = ACTION_KEY.format(num_frames - 1) in features
    if num_frames == 1 and not has_final:
        return None
    return features.rows(ACTION_KEY, num_frames if has_final else num_frames - 1)


def _extras(features: Features) -> dict[str, np.ndarray]:
    extras = {}
    for key in features:
        if key.startswith(EXTRAS_PREFIX):
            stream = io.BytesIO(features.bytes_at(key))
            extras[key.removeprefix(EXTRAS_PREFIX)] = np.lib.format.read_array(stream, allow_pickle=False)
    return extras


class PushWriter:
    """Writes episodes as push records."""

    def __init__(self, path: Path, encoding: str, quality: int) -> None:
        """Open the file."""
        self._writer = ExampleWriter(path)
        self._encoding, self._quality = encoding, quality

    def add(self, episode: Episode) -> None:
        """Append one episode.

        Raises:
            ValueError: The "original" encoding cannot hold frames of this size.
        """
        raw = self._encoding == "raw"
        features = raw_features(episode) if raw else self._steps(episode)
        for name, value in episode.extras.items():
            if name != FINAL_ACTION or episode.actions is None or raw:
                features[EXTRAS_PREFIX + name] = store_array(value)
        if episode.metadata:
            features[METADATA_KEY] = json.dumps(episode.metadata).encode()
        self._writer.write(features)

    def _steps(self, episode: Episode) -> dict[str, bytes | np.ndarray]:
        """Return the original's keys, one of each kind for each step."""
        features: dict[str, bytes | np.ndarray] = {}
        for step, frame in enumerate(episode.frames):
            features[IMAGE_KEY.format(step)] = encode_frame(frame, self._encoding, self._quality)
        for step, action in enumerate(_all_actions(episode)):
            features[ACTION_KEY.format(step)] = action
        for step, state in enumerate(episode.states if episode.states is not None else ()):
            features[STATE_KEY.format(step)] = state
        return features

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


def _all_actions(episode: Episode) -> Any:
    if episode.actions is None:
        return ()
    final = episode.extras.get(FINAL_ACTION)
    return episode.actions if final is None else [*episode.actions, final]


def encode_frame(frame: np.ndarray, encoding: str, quality: int) -> bytes:
    """Encode one frame `[H, W, 3]` as PNG or JPEG."""
    from PIL import Image

    if encoding == "original":
        frame = _as_original(frame)
    stream = io.BytesIO()
    if encoding == "png":
        # Level 1: camera frames deflate hardly better at higher levels, which take several times as long.
        Image.fromarray(frame).save(stream, "PNG", compress_level=1)
    else:
        Image.fromarray(frame).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def _as_original(frame: np.ndarray) -> np.ndarray:
    """Enlarge a square frame to 512 x 512 by repeating pixels, with its border columns repeated to a width of 640."""
    height, width = ORIGINAL_SIZE
    if frame.shape[:2] == ORIGINAL_SIZE:
        return frame
    side = frame.shape[0]
    if frame.shape[1] != side or height % side:
        raise ValueError(
            f"encoding 'original' holds frames of {ORIGINAL_SIZE} or square ones whose side divides {height}, "
            f"got {frame.shape[:2]}: use 'png' or 'jpeg', or another image_size"
        )
    square = frame.repeat(height // side, axis=0).repeat(height // side, axis=1)
    margin = (width - height) // 2
    return np.pad(square, ((0, 0), (margin, margin), (0, 0)), mode="edge")
