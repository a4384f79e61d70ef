"""Training windows read from disk as they are needed, for data that does not fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from visual_foresight.train.config import TrainingConfig

if TYPE_CHECKING:
    import tensorflow as tf


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

    Raises:
        ImportError: TensorFlow, which reads the stream, is not installed.
    """

    def __init__(
        self, config: TrainingConfig, format: str, files: Sequence[Path], *, sizes: tuple[int, int], skip_bad: bool
    ) -> None:
        """Checks that TensorFlow is there."""
        from visual_foresight.backend import import_tensorflow

        import_tensorflow()
        self._config, self._format, self._files = config, format, list(files)
        self._sizes, self._skip_bad = sizes, skip_bad
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
        return stream_windows(
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
