"""The BAIR robot pushing format: softmotion TFRecords with raw pictures of two cameras.

One `tf.train.Example` is one episode. For each step t from 0: `{t}/image_main/encoded` and `{t}/image_aux1/encoded`
(raw uint8 bytes, 64 x 64 x 3), `{t}/action` (4 numbers), `{t}/endeffector_pos` (3 numbers, the state). There is an
action for every frame: the last is read as the extra `final_action`. `{t}/object_pos`, which only simulated variants
have, becomes the extra `object_pos`.

Source: the readers of alexlee-gk/video_prediction and febert/visual_mpc.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.formats.raw_frames import raw_frames, step_actions
from visual_foresight.formats.record import Fault, ReadOptions
from visual_foresight.formats.resize import preprocess_episode
from visual_foresight.formats.tfrecord import Features, first_record, read_records, tfrecord_files

__all__ = ["CAMERAS", "BairFormat"]

CAMERAS = ("image_aux1", "image_main", "image_view0")
"""Known cameras, the default first: the one that the literature reports on. Simulated variants have `image_view0`."""

STORED_SIZE = (64, 64)


class BairFormat:
    """Softmotion TFRecords."""

    name = "bair"
    description = "BAIR softmotion TFRecords"
    settings = ("camera", "stored_size")

    def shards(self, path: Path) -> list[Path]:
        """Return the TFRecord files at `path`, sorted."""
        return tfrecord_files(path)

    def recognises(self, shard: Path) -> bool:
        """Whether the first record has a picture of a known camera."""
        record = first_record(shard)
        # With its tag and length, so that a longer key that ends alike does not match.
        keys = [f"0/{camera}/encoded".encode() for camera in CAMERAS]
        return any(b"\n" + bytes([len(key)]) + key in record for key in keys)

    def read(self, shard: Path, options: ReadOptions) -> Iterator[Episode | Fault]:
        """Read the records of one file.

        Settings: `camera` ("image_aux1" unless told), `stored_size` (height, width) of the raw pictures, (64, 64)
        unless told.
        """
        yield from read_records(shard, lambda record: parse_episode(record, options))


def parse_episode(record: bytes, options: ReadOptions) -> Episode:
    """Return the episode of one record.

    Raises:
        KeyError, ValueError: The record is damaged, or lacks the camera.
    """
    features = Features(record)
    camera = options.settings.get("camera", CAMERAS[0])
    pattern = f"{{}}/{camera}/encoded"
    if pattern.format(0) not in features:
        found = sorted({key.split("/")[1] for key in features if key.endswith("/encoded")})
        raise ValueError(f"has no camera {camera!r}: its cameras are {', '.join(found) or 'none'}")
    frames = raw_frames(features, pattern, options.settings.get("stored_size", STORED_SIZE))
    actions = states = None
    extras: dict[str, np.ndarray] = {}
    if options.use_state:
        actions, extras = step_actions(features, "{}/action", len(frames))
        states = features.rows("{}/endeffector_pos", len(frames))
    objects = features.rows("{}/object_pos", len(frames))
    if objects is not None:
        extras["object_pos"] = objects
    return preprocess_episode(Episode(frames, actions, states, extras, {"camera": camera}), options)
