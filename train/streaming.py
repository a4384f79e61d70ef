"""Training windows read from disk as they are needed, for data that does not fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.calls import counted
from visual_foresight.leaps import jitter_colours, leap_lengths, to_leaps
from visual_foresight.lookalikes import Lookalikes
from visual_foresight.train.config import TrainingConfig

if TYPE_CHECKING:
    import tensorflow as tf


# Keeps these random numbers apart from those of the order of windows.
_STREAM = 0x1EA9


class StreamedWindows:
    """The files that train, as batches through tf.data; the part of `WindowSource` that training needs.

    The order depends on the seed alone. A continued run reads past what was consumed, so it is as exact as one in
    memory, but starts later.

    Args:
        config: of the run.
        format: name of the data format.
        files: those that train.
        sizes: of action and state.
        skip_bad: pass over damaged records and short episodes.
        lookalikes: choose the points that are followed; None: none are.

    Raises:
        ImportError: TensorFlow, which reads the stream, is not installed.
    """

    def __init__(
        self,
        config: TrainingConfig,
        format: str,
        files: Sequence[Path],
        *,
        sizes: tuple[int, int],
        skip_bad: bool,
        lookalikes: Lookalikes | None = None,
    ) -> None:
        """Checks that TensorFlow is there."""
        from visual_foresight.backend import import_tensorflow

        import_tensorflow()
        self._config, self._format, self._files = config, format, list(files)
        self._sizes, self._skip_bad, self.lookalikes = sizes, skip_bad, lookalikes
        self.batch_size = config.batch_size

    @property
    def identity(self) -> str:
        """Names and lengths of the files: what tells one data set from another without reading it."""
        return ";".join(f"{path.name}:{path.stat().st_size}" for path in self._files)

    def dataset(self, start_index: int = 0) -> tf.data.Dataset:
        """Endless batches from `start_index` on, as `WindowSource.dataset`."""
        from visual_foresight.stream import stream_windows

        config = self._config
        action_size, state_size = self._sizes
        windows = stream_windows(
            self._files,
            format=self._format,
            sequence_length=config.sequence_length,
            batch_size=config.batch_size,
            seed=config.seed,
            start=config.window,
            preprocess=config.preprocess,
            image_size=config.image_size,
            use_state=config.use_state,
            action_size=action_size,
            state_size=state_size,
            skip_batches=start_index,
            skip_bad=self._skip_bad,
        )
        if config.stride == 1 and not config.colour_jitter and self.lookalikes is None:
            return windows
        return self._varied(windows, start_index)

    def _varied(self, windows: tf.data.Dataset, start_index: int) -> tf.data.Dataset:
        """Windows as leaps, with points, and in other colours; batch i depends on the seed and i alone."""
        from visual_foresight.backend import import_tensorflow

        tensorflow, config = import_tensorflow(), self._config
        given = ("frames", "actions", "states")
        names = given if self.lookalikes is None else (*given, "points")

        @counted
        def vary(index: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
            batch = dict(zip(given, values, strict=True))
            rng = np.random.default_rng([config.seed, int(index), _STREAM])
            if config.stride > 1:
                lengths = leap_lengths(rng, len(values[0]), config.num_fed, config.stride, config.shorten)
                batch = to_leaps(batch, lengths, config.stride)
            if self.lookalikes is not None:  # which know true colours only
                now = config.context_frames - 1
                seen = batch["frames"][:, now:], batch["states"][:, now:]
                batch["points"] = self.lookalikes.choose_points(*seen, config.follow_points, rng)
            if config.colour_jitter:
                batch["frames"] = jitter_colours(batch["frames"], rng, config.colour_jitter)
            return tuple(batch[name] for name in names)

        def map_batch(index: Any, batch: dict[str, Any]) -> dict[str, Any]:
            types = [batch[name].dtype for name in given] + ["float32"] * (len(names) - len(given))
            values = tensorflow.numpy_function(vary, [index, *(batch[name] for name in given)], types)
            return {
                name: tensorflow.ensure_shape(value, self._shape(name, batch.get(name)))
                for name, value in zip(names, values, strict=True)
            }

        return windows.enumerate(start_index).map(map_batch, num_parallel_calls=1).prefetch(1)

    def _shape(self, name: str, window: Any) -> tuple[int | None, ...]:
        """Shape of an entry of a batch of leaps, from that of windows, which hold no points."""
        config = self._config
        if name == "points":
            return (config.batch_size, config.follow_points, 2)
        shape = tuple(window.shape)
        if config.stride == 1:
            return shape
        if name == "actions":
            return (shape[0], config.num_fed, config.stride, shape[2])
        return (shape[0], config.num_fed + 1, *shape[2:])
