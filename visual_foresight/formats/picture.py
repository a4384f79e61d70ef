"""Colours of a decoded picture file, whatever it stores a pixel as."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["rgb_of"]


def rgb_of(picture: Any) -> np.ndarray:
    """An opened picture of Pillow as `[H, W, 3]` uint8; one with 16 bits a pixel is scaled, not cut off.

    Raises:
        ValueError: its pixels are no colours of 8 or 16 bits.
    """
    if picture.mode.startswith("I;16"):
        grey = np.asarray(picture).astype(np.float64) / 257.0
        return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=-1)
    if picture.mode in ("I", "F"):
        raise ValueError(f"its pixels are numbers of mode {picture.mode!r}, no colours: store it with 8 or 16 bits")
    return np.asarray(picture.convert("RGB"))
