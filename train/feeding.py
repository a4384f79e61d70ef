"""Batches for `fit`, from a given iteration on: windows and the scheduled-sampling mask that belongs to them."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from visual_foresight.backend import backend_name, import_tensorflow
from visual_foresight.calls import counted, counted_generator
from visual_foresight.pipeline import WindowSource
from visual_foresight.train.config import TrainingConfig
from visual_foresight.train.sampling import ground_truth_mask
from visual_foresight.train.streaming import StreamedWindows

# An accelerator takes a step of a small network in less time than one thread needs for its batch.
_MOST_THREADS = 8


def training_batches(source: WindowSource | StreamedWindows, config: TrainingConfig, start: int) -> Any:
    """Endless batches from iteration `start` on; batch i depends on the seed and i alone.

    Returns:
        On TensorFlow a `tf.data.Dataset` that prepares batches ahead in a thread, on JAX a generator of tuples of one
        batch, as Keras wants them, which threads prepare ahead. Each batch is what `WindowSource.batch` gives and,
        unless `schedsamp_k` is -1, "ground_truth" `[B, T-1]` bool.
    """
    if backend_name() == "tensorflow":
        return _dataset(source, config, start)
    if isinstance(source, StreamedWindows):
        return ((batch,) for batch in _dataset(source, config, start).as_numpy_iterator())
    return _generator(source, config, start)


def validation_batches(source: WindowSource, num_batches: int) -> list[dict[str, np.ndarray]]:
    """The batches of every validation: the first `num_batches`, fewer where the data is small; no truth is fed."""
    return [source.batch(index) for index in range(min(num_batches, source.batches_per_epoch))]


class Batches:
    """A list of batches as Keras' `evaluate` wants it: an iterator made anew each time."""

    def __init__(self, batches: list[dict[str, np.ndarray]]) -> None:
        """Keeps the batches."""
        self._batches = batches

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._batches)

    @property
    def first(self) -> dict[str, np.ndarray]:
        """The first batch."""
        return self._batches[0]

    def stream(self) -> Any:
        """The batches once, as a dataset or a generator."""
        if backend_name() != "tensorflow":
            return ((batch,) for batch in self._batches)
        tensorflow = import_tensorflow()
        first = self._batches[0]
        spec = {name: tensorflow.TensorSpec(value.shape, value.dtype) for name, value in first.items()}
        batches = counted_generator(lambda: iter(self._batches))
        return tensorflow.data.Dataset.from_generator(batches, output_signature=spec).prefetch(1)


def _mask(config: TrainingConfig, iteration: int) -> np.ndarray:
    return ground_truth_mask(iteration, config.batch_size, config.num_fed, k=config.schedsamp_k, seed=config.seed)


def _generator(source: WindowSource, config: TrainingConfig, start: int) -> Iterator[tuple[dict[str, np.ndarray]]]:
    def make(iteration: int) -> tuple[dict[str, np.ndarray]]:
        batch = source.batch(iteration)
        if config.schedsamp_k != -1:
            batch["ground_truth"] = _mask(config, iteration)
        return (batch,)

    num_threads = min(_MOST_THREADS, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="batches")
    try:
        waiting: deque[Future] = deque()
        for iteration in itertools.count(start):
            waiting.append(pool.submit(make, iteration))
            if len(waiting) > 2 * num_threads:
                yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _dataset(source: WindowSource | StreamedWindows, config: TrainingConfig, start: int) -> Any:
    tensorflow = import_tensorflow()
    windows = source.dataset(start)
    if config.schedsamp_k == -1:
        return windows
    shape = (config.batch_size, config.num_fed)

    @counted
    def mask_of(iteration: np.ndarray) -> np.ndarray:
        return _mask(config, int(iteration))

    def with_mask(iteration: Any, batch: dict[str, Any]) -> dict[str, Any]:
        mask = tensorflow.numpy_function(mask_of, [iteration], tensorflow.bool)
        return {**batch, "ground_truth": tensorflow.ensure_shape(mask, shape)}

    return windows.enumerate(start).map(with_mask, num_parallel_calls=1).prefetch(1)
