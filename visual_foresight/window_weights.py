"""Which windows of an episode are drawn more often than others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from visual_foresight.episode import Episode

__all__ = ["WeightFn", "contact_weights"]

WeightFn = Callable[[Episode, int], np.ndarray]
"""(episode, sequence_length) -> one weight >= 0 for each possible first frame `[T - sequence_length + 1]`."""


def contact_weights(share: float = 0.5, *, extra: str = "contact") -> WeightFn:
    """Return a weight function that favours windows in which something happens.

    Args:
        share: Weight of a window without contact relative to one with, in [0, 1]: 0 draws contact only, 1 all alike.
        extra: Name of the extra `[T]` or `[T-1]` (or `[T, ...]`) that is true or non-zero at contact.

    Raises:
        ValueError: `share` is out of range; later, an episode lacks the extra.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")

    def weigh(episode: Episode, sequence_length: int) -> np.ndarray:
        values = episode.extras.get(extra)
        if values is None or values.ndim < 1 or len(values) not in (episode.num_frames, episode.num_frames - 1):
            raise ValueError(
                f"contact weights need extras[{extra!r}] with one value for each frame or action; "
                f"found the extras {sorted(episode.extras)}"
            )
        happens = np.zeros(episode.num_frames, np.bool_)
        happens[: len(values)] = values.reshape(len(values), -1).astype(np.bool_).any(axis=1)
        counts = np.concatenate([[0], np.cumsum(happens)])
        inside = counts[sequence_length:] - counts[:-sequence_length]
        return np.where(inside > 0, 1.0, share)

    return weigh
