"""The RoboNet format: one HDF5 file for each episode, cameras as MP4 or JPEG.

```
/file_version
/env                  attributes n_cams, cam_encoding ("mp4" or "jpeg")
/env/cam{n}_video/frames      the bytes of an MP4 (attributes shape, T, image_format)
/env/cam{n}_video/frame{t}    or the bytes of one JPEG for each frame (attributes shape, image_format)
/env/state            [T, S]
/env/low_bound, /env/high_bound   limits of the state, by row
/policy/actions       [T-1, A]
/misc/*, /metadata    facts
```

The bounds become the extras `state_low` and `state_high`, plain facts become metadata; `meta_data.pkl` is never opened.

As in RoboNet's own loader, an episode is cut to the shortest of its pictures, states, and actions plus one; where that
cuts anything, the metadata say so under `stored_lengths`.

Source: robonet/datasets/util/hdf5_loader.py and metadata_helper.py of SudeepDasari/RoboNet.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.formats.picture import rgb_of
from visual_foresight.formats.record import Fault, ReadOptions, attempt
from visual_foresight.formats.resize import preprocess_episode
from visual_foresight.formats.video import video_from_bytes

__all__ = ["RoboNetFormat"]

_SUFFIXES = (".hdf5", ".h5")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class RoboNetFormat:
    """RoboNet HDF5 files."""

    name = "robonet"
    description = "RoboNet HDF5, one file for each episode"
    settings = ("camera",)

    def shards(self, path: Path) -> list[Path]:
        """Return the HDF5 files at `path`, sorted."""
        if path.is_dir():
            return sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
        return [path] if path.suffix in _SUFFIXES else []

    def recognises(self, shard: Path) -> bool:
        """Whether the file begins as HDF5 does; what it lacks of RoboNet is told when it is read."""
        with open(shard, "rb") as stream:
            return stream.read(len(_SIGNATURE)) == _SIGNATURE

    def read(self, shard: Path, options: ReadOptions) -> Iterator[Episode | Fault]:
        """Read the one episode of a file. Setting: `camera` (a number, 0 unless told)."""
        if not shard.exists():
            raise FileNotFoundError(f"{shard} does not exist")
        yield attempt(shard, None, partial(_read, shard, options))


def _read(shard: Path, options: ReadOptions) -> Episode:
    import h5py

    camera = int(str(options.settings.get("camera", 0)).removeprefix("cam"))
    with h5py.File(shard, "r") as file:
        for name in ("env", "policy/actions"):
            if name not in file:
                raise ValueError(f"has no /{name}: it is not a RoboNet file (or it is incomplete)")
        environment = file["env"]
        if f"cam{camera}_video" not in environment:
            found = sorted(name for name in environment if name.endswith("_video"))
            raise ValueError(f"has no camera {camera}: its cameras are {', '.join(found) or 'none'}")
        frames = _camera_frames(environment[f"cam{camera}_video"])
        states = environment["state"][()] if "state" in environment else None
        actions = file["policy/actions"][()]
        extras = {
            extra: np.atleast_2d(environment[name][()])[0]
            for name, extra in (("low_bound", "state_low"), ("high_bound", "state_high"))
            if name in environment
        }
        metadata = _facts(file) | {"camera": camera}
    lengths = {"frames": len(frames), "actions": len(actions)} | ({} if states is None else {"states": len(states)})
    num_frames = min(lengths["frames"], lengths["actions"] + 1, lengths.get("states", len(frames)))
    if num_frames != lengths["frames"] or lengths["actions"] + 1 != num_frames:
        metadata["stored_lengths"] = lengths
    episode = Episode(
        frames[:num_frames],
        actions[: num_frames - 1] if options.use_state else None,
        states[:num_frames] if states is not None and options.use_state else None,
        extras,
        metadata,
    )
    return preprocess_episode(episode, options)


def _camera_frames(group: Any) -> np.ndarray:
    if "frames" in group:
        stored = group["frames"]
        frames = video_from_bytes(stored[()].tobytes())
        expected = stored.attrs.get("T")
        if expected is not None and len(frames) != int(expected):
            raise ValueError(f"the video of {group.name} holds {len(frames)} frames, its attribute T says {expected}")
        if not frames:
            raise ValueError(f"the video of {group.name} holds no frame")
        # Without the attribute the pictures are as a decoder gives them.
        return _ordered(np.stack(frames), stored.attrs.get("image_format", "RGB"), "RGB", group.name)
    if "frame0" not in group:
        raise ValueError(f"{group.name} has neither frames (MP4) nor frame0 (JPEG)")
    missing = next((step for step in range(len(group)) if f"frame{step}" not in group), None)
    if missing is not None:
        raise ValueError(f"{group.name} has {len(group)} pictures but lacks frame{missing}")
    pictures = [_picture(group[f"frame{step}"]) for step in range(len(group))]
    # RoboNet wrote and read these with OpenCV, which takes any picture to be blue-green-red: one that it calls RGB
    # has its colours swapped inside the JPEG.
    return _ordered(np.stack(pictures), group["frame0"].attrs.get("image_format", "BGR"), "BGR", group.name)


def _picture(stored: Any) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(stored[()].tobytes())) as picture:
            return rgb_of(picture)
    except (OSError, ValueError) as error:
        raise ValueError(f"{stored.name} cannot be decoded: {error}") from None


def _ordered(frames: np.ndarray, stored: Any, plain: str, name: str) -> np.ndarray:
    """Swap the colours unless they are stored in the order in which decoding already gives red, green, blue."""
    stored = stored.decode() if isinstance(stored, bytes) else str(stored)
    if stored not in ("RGB", "BGR"):
        raise ValueError(f"the image_format of {name} must be RGB or BGR, it is {stored!r}")
    return frames if stored == plain else np.ascontiguousarray(frames[..., ::-1])


def _facts(file: Any) -> dict[str, Any]:
    """Return what can be said in JSON of /metadata, /misc and /file_version."""
    facts: dict[str, Any] = {}
    if "metadata" in file:
        facts |= {name: _plain(value) for name, value in file["metadata"].attrs.items()}
    if "misc" in file:
        facts |= {name: _plain(value[()]) for name, value in file["misc"].items() if hasattr(value, "shape")}
    if "file_version" in file:
        facts["file_version"] = _plain(file["file_version"][()])
    return {name: value for name, value in facts.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = [_plain(each) for each in value.tolist()]
        return value if value and all(each is not None for each in value) else None
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    is_finite = not isinstance(value, float) or np.isfinite(value)
    return value if isinstance(value, str | int | float | bool) and is_finite else None
