"""tf.data pipelines: `WindowSource.dataset`, and windows streamed from shards that do not fit in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.backend import import_tensorflow
from visual_foresight.calls import counted, counted_generator
from visual_foresight.episode import Episode
from visual_foresight.formats import Fault, ReadOptions, find_shards, read_shard
from visual_foresight.indexed_stream import batches_dataset, index_windows

if TYPE_CHECKING:
    from visual_foresight.pipeline import WindowSource

Dataset = Any
"""A `tf.data.Dataset`; TensorFlow is not imported for its name."""

__all__ = ["element_spec", "source_dataset", "stream_windows"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def element_spec(
    batch_size: int | None, length: int, image_size: tuple[int, int], action_size: int, state_size: int
) -> dict[str, Any]:
    """Return the `tf.TensorSpec` of each part of a batch (of one window where `batch_size` is None)."""
    tf = import_tensorflow()
    batch = () if batch_size is None else (batch_size,)
    return {
        "frames": tf.TensorSpec((*batch, length, *image_size, 3), tf.uint8),
        "actions": tf.TensorSpec((*batch, length - 1, action_size), tf.float32),
        "states": tf.TensorSpec((*batch, length, state_size), tf.float32),
    }


def source_dataset(source: WindowSource, start_index: int, prefetch: int) -> Dataset:
    """Return the endless dataset of a source's batches; see `WindowSource.dataset`."""
    tf = import_tensorflow()
    if start_index < 0:
        raise ValueError(f"start_index must not be negative, got {start_index}")
    example = source.batch(start_index)
    spec = {name: tf.TensorSpec(value.shape, value.dtype) for name, value in example.items()}

    def gather(index: np.ndarray) -> tuple[np.ndarray, ...]:
        batch = source.batch(int(index))
        return tuple(batch[name] for name in spec)

    def load(index: Any) -> dict[str, Any]:
        parts = tf.numpy_function(counted(gather), [index], [each.dtype for each in spec.values()], stateful=False)
        return {name: tf.ensure_shape(part, spec[name].shape) for name, part in zip(spec, parts, strict=True)}

    indices = tf.data.Dataset.range(start_index, np.iinfo(np.int64).max)
    return indices.map(load, num_parallel_calls=1, deterministic=True).prefetch(prefetch)


def stream_windows(
    paths: Paths,
    *,
    sequence_length: int,
    batch_size: int,
    seed: int,
    start: str = "random",
    format: str | None = None,
    preprocess: str = "seed",
    image_size: tuple[int, int] = (64, 64),
    use_state: bool = True,
    action_size: int | None = None,
    state_size: int | None = None,
    shuffle_buffer: int = 256,
    num_parallel: int = 4,
    num_epochs: int | None = None,
    skip_batches: int = 0,
    prefetch: int = 2,
    skip_bad: bool = False,
    on_fault: Callable[[Fault], None] | None = None,
    **settings: Any,
) -> Dataset:
    """Read windows from shards as they are needed: one window of each episode in each epoch.

    The order of shards, the first frames and the shuffling depend on the seed alone, so the same call yields the same
    batches; `skip_batches` resumes by reading past what was consumed. Only the frames of the window are decoded.

    Push records of the encoding "raw" take a shorter way: no decoding, the whole data set shuffled, any batch reached
    at once. There, what is wrong with a record's structure is found when this is called; `skip_bad` then reads all
    frames once to find the rest.

    Args:
        paths: A file or folder, or files (as `split_files` returns them).
        sequence_length: Frames in a window, T; the pictures' (H, W) is `image_size`.
        batch_size: Windows in a batch, B; a last, incomplete batch is dropped.
        seed: Seed of all order.
        start: "random" first frames, or always the "first" as the original.
        format: Name of the data format; None recognises it from the first path.
        preprocess: "seed", "antialias" or "none" (the stored size).
        image_size: (height, width) in pixels.
        use_state: False gives zeros for actions and states.
        action_size: Number of action dimensions of the zeros for data without actions.
        state_size: The same for states.
        shuffle_buffer: Windows held for shuffling; 0 keeps the order of the files (for validation). "raw" holds none.
        num_parallel: Shards read and decoded side by side.
        num_epochs: Passes over the data; None goes on for ever.
        skip_batches: Batches to pass over.
        prefetch: Batches prepared ahead.
        skip_bad: Pass over damaged records and episodes that are too short, instead of failing.
        on_fault: Called with each `Fault` that is passed over, from tf.data's threads.
        **settings: Settings of the format.

    Returns:
        A dataset of the same elements as `WindowSource.batch`: frames uint8, actions and states float32.

    Raises:
        FileNotFoundError: A path does not exist.
        ValueError: An argument is wrong. What is wrong with a record is found while iterating: tf.data then raises its
            own error, which quotes ours with file and record.
    """
    tf = import_tensorflow()
    if start not in ("random", "first"):
        raise ValueError(f"start must be one of random, first, got {start!r}")
    for name, value in (
        ("sequence_length", sequence_length),
        ("batch_size", batch_size),
        ("num_parallel", num_parallel),
    ):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if seed < 0 or skip_batches < 0 or shuffle_buffer < 0:
        raise ValueError(
            f"seed, skip_batches and shuffle_buffer must not be negative, got {(seed, skip_batches, shuffle_buffer)}"
        )
    options = ReadOptions(preprocess, image_size, use_state, sequence_length, settings=settings)
    format, shards = _all_shards(paths, format)
    if format == "push":
        indexed = _indexed_batches(
            shards,
            options,
            (action_size, state_size),
            batch_size,
            {"seed": seed, "shuffle": shuffle_buffer > 0, "random_start": start == "random"},
            {"skip_bad": skip_bad, "on_fault": on_fault},
            {"first": skip_batches, "num_parallel": num_parallel},
            num_epochs,
        )
        if indexed is not None:
            return indexed.prefetch(prefetch)
    reader = _WindowReader(format, shards, options, seed, start == "random", skip_bad, on_fault)
    reader = reader.sized(action_size, state_size)
    spec = element_spec(None, sequence_length, reader.image_size, reader.action_size, reader.state_size)

    epochs = tf.data.Dataset.range(num_epochs if num_epochs is not None else np.iinfo(np.int64).max)
    jobs = epochs.flat_map(lambda epoch: _jobs_of_epoch(reader, epoch, shuffle_buffer > 0))
    windows_of = counted_generator(reader.windows)
    windows = jobs.interleave(
        lambda job: tf.data.Dataset.from_generator(windows_of, args=(job[0], job[1]), output_signature=spec),
        cycle_length=min(num_parallel, len(reader.shards)),
        num_parallel_calls=min(num_parallel, len(reader.shards)),
        deterministic=True,
    )
    if shuffle_buffer:
        windows = windows.shuffle(shuffle_buffer, seed=seed, reshuffle_each_iteration=False)
    batches = windows.batch(batch_size, drop_remainder=True)
    return batches.skip(skip_batches).prefetch(prefetch)


def _indexed_batches(
    shards: list[Path],
    options: ReadOptions,
    sizes: tuple[int | None, int | None],
    batch_size: int,
    order: dict[str, Any],
    faults: dict[str, Any],
    reading: dict[str, Any],
    num_epochs: int | None,
) -> Dataset | None:
    """Return the dataset of batches of raw push records; None where the records are of another encoding."""
    index = index_windows(shards, options, **order, **faults)
    if index is None:
        return None
    index = index.sized(
        _agreed("action", index.row_size("actions"), sizes[0]), _agreed("state", index.row_size("states"), sizes[1])
    )
    spec = element_spec(
        batch_size,
        index.length,
        index.image_size,
        index.row_size("actions") or index.action_size,
        index.row_size("states") or index.state_size,
    )
    epochs = np.iinfo(np.int64).max // len(index.records) if num_epochs is None else num_epochs
    return batches_dataset(index, spec, batch_size, num_batches=epochs * len(index.records) // batch_size, **reading)


def _jobs_of_epoch(reader: _WindowReader, epoch: Any, shuffle: bool) -> Dataset:
    """Return the (epoch, shard) pairs of one epoch in their order."""
    tf = import_tensorflow()

    @counted
    def order(epoch: np.ndarray) -> np.ndarray:
        shards = np.arange(len(reader.shards), dtype=np.int64)
        if shuffle:
            shards = np.random.default_rng(np.random.SeedSequence([reader.seed, int(epoch)])).permutation(shards)
        return np.stack([np.full_like(shards, epoch), shards], axis=1)

    jobs = tf.ensure_shape(tf.numpy_function(order, [epoch], tf.int64, stateful=False), (None, 2))
    return tf.data.Dataset.from_tensor_slices(jobs)


def _all_shards(paths: Paths, format: str | None) -> tuple[str, list[Path]]:
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise ValueError("there is no file to read windows from")
    shards: list[Path] = []
    for path in listed:
        format, found = find_shards(path, format=format)
        shards += found
    return format or "", shards


@dataclass(frozen=True)
class _WindowReader:
    """Reads one window of each episode of a shard."""

    format: str
    shards: list[Path]
    options: ReadOptions
    seed: int
    random_start: bool
    skip_bad: bool
    on_fault: Callable[[Fault], None] | None
    image_size: tuple[int, int] = (0, 0)
    action_size: int = 0
    state_size: int = 0

    def sized(self, action_size: int | None, state_size: int | None) -> _WindowReader:
        """Return the reader with the sizes of the first episode that can be read."""
        first = next(
            (each for shard in self.shards for each in self._episodes(shard, 0) if isinstance(each, Episode)), None
        )
        if first is None:
            raise ValueError(
                f"no episode of at least {self.options.max_frames} frames in {self.shards[0]} and the rest"
            )
        return replace(
            self,
            image_size=first.image_size,
            action_size=_agreed("action", first.action_size, action_size),
            state_size=_agreed("state", first.state_size, state_size),
        )

    def windows(self, epoch: np.ndarray, shard: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
        """Yield the windows of one shard in one epoch."""
        length = self.options.max_frames or 0
        for episode in self._episodes(self.shards[int(shard)], int(epoch)):
            actions, states = episode.actions, episode.states
            yield {
                "frames": episode.frames,
                "actions": np.zeros((length - 1, self.action_size), np.float32) if actions is None else actions,
                "states": np.zeros((length, self.state_size), np.float32) if states is None else states,
            }

    def _episodes(self, shard: Path, epoch: int) -> Iterator[Episode]:
        options = self.options
        if self.random_start:
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch, self.shards.index(shard)]))
            options = replace(options, choose_start=lambda num_starts: int(rng.integers(num_starts)))
        for index, record in enumerate(read_shard(self.format, shard, options)):
            if isinstance(record, Episode) and record.num_frames == options.max_frames:
                yield record
                continue
            fault = record if isinstance(record, Fault) else self._too_short(shard, index, record)
            if not self.skip_bad:
                raise ValueError(f"{fault} (read with skip_bad=True to pass over such records)")
            elif self.on_fault is not None:
                self.on_fault(fault)

    def _too_short(self, shard: Path, index: int, episode: Episode) -> Fault:
        message = f"has {episode.num_frames} frames, fewer than the sequence_length {self.options.max_frames}"
        return Fault(shard, index, message)


def _agreed(kind: str, found: int | None, asked: int | None) -> int:
    if found is not None and asked is not None and found != asked:
        raise ValueError(f"the data has {kind} size {found}, but {kind}_size={asked} was asked for")
    return found if found is not None else (asked or 0)
