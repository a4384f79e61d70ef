"""Pictures that lossy codecs keep nearly, for files written here in the form of other projects."""

import io

import numpy as np
from PIL import Image


def smooth_frames(count, height=32, width=48, seed=0):
    """Frames that video codecs keep nearly: a colour gradient that brightens from frame to frame."""
    rows, columns = np.mgrid[:height, :width]
    base = np.stack([rows * 3 + 20, columns * 2 + 20, (rows + columns) + 20 * (seed % 3)], axis=-1)
    return np.clip(base[None] + 8 * np.arange(count)[:, None, None, None], 0, 255).astype(np.uint8)


def encoded(frame, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return stream.getvalue()


def close(actual, expected):
    assert actual.shape == expected.shape
    return np.abs(actual.astype(int) - expected).mean() < 4
