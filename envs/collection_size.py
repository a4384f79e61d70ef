"""Whether a collection can fit the machine at all: asked before the first episode, not when the disk is full."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from visual_foresight.affordable import require_disk, require_memory

if TYPE_CHECKING:
    from visual_foresight.envs.collect import CollectSettings

_COMPRESSED = 20
"""Times; formats that compress make these frames 3 to 7 times smaller. More, so that none that fits is refused."""


def check_room(directory: Path, settings: CollectSettings) -> None:
    """Refuse a collection whose episode cannot fit the memory, or whose files cannot fit the disk.

    Args:
        directory: where its files go, or are already.
        settings: what to collect.

    Raises:
        ValueError: names what is needed and what is there.
    """
    size = settings.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    each = (settings.steps + 1) * height * width * 3  # bytes of the frames of an episode
    sizes = f"{settings.steps:,} steps of {height}x{width} pixels"
    require_memory(f"episodes of {sizes}", each, "lower steps or image_size")
    needed = settings.episodes * each // (1 if settings.encoding == "raw" else _COMPRESSED)
    require_disk(
        directory, f"{settings.episodes:,} episodes of {sizes}", needed, "lower episodes, or collect to another disk"
    )
