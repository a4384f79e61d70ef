"""tf.data pipelines: `WindowSource.dataset`, and windows streamed from shards that do not fit in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.backend import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

    from visual_foresight.pipeline import WindowSource

__all__ = ["source_dataset", "stream_windows"]


def element_spec(
    batch_size: int | None, length: int, image_size: tuple[int, int], action_size: int, state_size: int
) -> dict[str, Any]:
    """Return the `tf.TensorSpec` of each part of a batch."""
    tf = import_tensorflow()
    return {
        "frames": tf.TensorSpec((batch_size, length, *image_size, 3), tf.uint8),
        "actions": tf.TensorSpec((batch_size, length - 1, action_size), tf.float32),
        "states": tf.TensorSpec((batch_size, length, state_size), tf.float32),
    }


def source_dataset(source: WindowSource, start_index: int, prefetch: int) -> tf.data.Dataset:
    """Return the endless dataset of a source's batches; see `WindowSource.dataset`."""
    tf = import_tensorflow()
    if start_index < 0:
        raise ValueError(f"start_index must not be negative, got {start_index}")
    spec = element_spec(
        source.batch_size, source.sequence_length, source.image_size, source.action_size, source.state_size
    )

    def gather(index: np.ndarray) -> tuple[np.ndarray, ...]:
        batch = source.batch(int(index))
        return tuple(batch[name] for name in spec)

    def load(index: tf.Tensor) -> dict[str, tf.Tensor]:
        parts = tf.numpy_function(gather, [index], [each.dtype for each in spec.values()], stateful=False)
        return {name: tf.ensure_shape(part, spec[name].shape) for name, part in zip(spec, parts, strict=True)}

    indices = tf.data.Dataset.range(start_index, np.iinfo(np.int64).max)
    return indices.map(load, num_parallel_calls=1, deterministic=True).prefetch(prefetch)
