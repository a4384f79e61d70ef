"""The format of the Visual Foresight code of 2018: GZIP TFRecords with raw pictures of numbered cameras.

One `tf.train.Example` is one episode. For each step t from 0: `{t}/env/image_view{c}/encoded` (raw uint8 bytes),
`{t}/env/state`, `{t}/policy/actions`. The size of the pictures stands in `manifest.txt` in the folder above `train`,
`val` and `test` (the text file; `manifest.pkl` beside it is never opened); without one, pass `stored_size`, or square
pictures are assumed. An action of the last step is read as the extra `final_action`.

Source: visual_mpc/agent/utils/record_saver.py of SudeepDasari/visual_foresight.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.formats.raw_frames import raw_frames, step_actions
from visual_foresight.formats.record import Fault, ReadOptions
from visual_foresight.formats.resize import preprocess_episode
from visual_foresight.formats.tfrecord import Features, first_record, read_records, tfrecord_files

__all__ = ["VisualForesightFormat"]

_MANIFEST_LINE = re.compile(r"env/image_view(\d+)/encoded: \((\d+), (\d+), 3\) - Byte")


class VisualForesightFormat:
    """GZIP TFRecords of the Visual Foresight code of 2018."""

    name = "visual_foresight"
    description = "GZIP TFRecords of the Visual Foresight code of 2018"
    settings = ("camera", "stored_size")

    def shards(self, path: Path) -> list[Path]:
        """Return the TFRecord files at `path`, sorted."""
        return tfrecord_files(path)

    def recognises(self, shard: Path) -> bool:
        """Whether the file is compressed and its first record has a picture of a numbered camera."""
        return b"0/env/image_view" in first_record(shard, compression="GZIP")

    def read(self, shard: Path, options: ReadOptions) -> Iterator[Episode | Fault]:
        """Read the records of one file.

        Settings: `camera` (a number, 0 unless told), `stored_size` (height, width) of the raw pictures.
        """
        sizes = _manifest_sizes(shard)
        yield from read_records(shard, lambda record: _parse(record, sizes, options), compression="GZIP")


def _manifest_sizes(shard: Path) -> dict[int, tuple[int, int]]:
    """Return (height, width) by camera from the manifest of the data set, as far as there is one."""
    for folder in (shard.parent, shard.parent.parent):
        manifest = folder / "manifest.txt"
        if manifest.is_file():
            text = manifest.read_text(errors="replace")
            return {int(view): (int(height), int(width)) for view, height, width in _MANIFEST_LINE.findall(text)}
    return {}


def _parse(record: bytes, sizes: dict[int, tuple[int, int]], options: ReadOptions) -> Episode:
    features = Features(record)
    camera = int(str(options.settings.get("camera", 0)).removeprefix("image_view"))
    pattern = f"{{}}/env/image_view{camera}/encoded"
    if pattern.format(0) not in features:
        found = sorted(key.split("/")[2] for key in features if key.startswith("0/env/image_view"))
        raise ValueError(f"has no camera {camera}: its cameras are {', '.join(found) or 'none'}")
    size = options.settings.get("stored_size") or sizes.get(camera) or _square(features.bytes_at(pattern.format(0)))
    frames = raw_frames(features, pattern, size)
    actions = states = None
    extras: dict[str, np.ndarray] = {}
    if options.use_state:
        actions, extras = step_actions(features, "{}/policy/actions", len(frames))
        states = features.rows("{}/env/state", len(frames))
    return preprocess_episode(Episode(frames, actions, states, extras, {"camera": camera}), options)


def _square(encoded: bytes) -> tuple[int, int]:
    side = math.isqrt(len(encoded) // 3)
    if side * side * 3 != len(encoded):
        raise ValueError(
            f"holds pictures of {len(encoded)} bytes that are not square, and there is no manifest.txt to tell their "
            "size: pass the setting stored_size=(height, width)"
        )
    return side, side
