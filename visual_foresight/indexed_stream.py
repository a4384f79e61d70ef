"""Windows out of push records of the encoding "raw": read where they lie, without decoding and without a queue.

What is shuffled are references to episodes, so the order is a permutation of the whole data set at the price of a few
bytes an episode, and any batch can be computed without those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.calls import counted
from visual_foresight.formats.raw_records import RawRecord, index_shard, read_window
from visual_foresight.formats.record import Fault, ReadOptions
from visual_foresight.formats.resize import resize_frames

__all__ = ["WindowIndex", "batches_dataset", "index_windows"]

OnFault = Callable[[Fault], None]


def index_windows(
    shards: Iterable[Path],
    options: ReadOptions,
    *,
    seed: int,
    shuffle: bool,
    random_start: bool,
    skip_bad: bool,
    on_fault: OnFault | None,
) -> WindowIndex | None:
    """Look for the episodes of shards; None where a shard is of another encoding than "raw".

    Every fault of structure is found here. Frames are checked as they are read; with `skip_bad` once before, because
    whoever passes over damaged records wants the order to be that of the rest.

    Raises:
        ValueError: A record is damaged or too short (names file and record), or no episode is left.
    """
    listings = []
    for shard in shards:
        listing = index_shard(shard)
        if listing is None:
            return None
        listings.append(listing)
    index = WindowIndex(options, seed, shuffle, random_start)
    for listing in listings:
        for found in listing:
            problem = found if isinstance(found, Fault) else index.objection(found, verify=skip_bad)
            if problem is None and isinstance(found, RawRecord):
                index.records.append(found)
            elif not skip_bad:
                raise ValueError(f"{problem} (read with skip_bad=True to pass over such records)")
            elif on_fault is not None and problem is not None:
                on_fault(problem)
    if not index.records:
        raise ValueError(f"no episode of at least {options.max_frames} frames in the files")
    return index


@dataclass(frozen=True)
class WindowIndex:
    """The episodes of some shards, and the order in which windows are drawn from them: one of each in an epoch.

    Args:
        options: How frames are read; `max_frames` is the length of a window, T.
        seed: Of the order and of the first frames.
        shuffle: Whether episodes come in an order of each epoch's own.
        random_start: Whether first frames are drawn; else each window begins with its episode.
        action_size: A of the zeros where there are no actions.
        state_size: S, likewise.
        records: The episodes.
    """

    options: ReadOptions
    seed: int
    shuffle: bool
    random_start: bool
    action_size: int = 0
    state_size: int = 0
    records: list[RawRecord] = field(default_factory=list)
    _epochs: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def length(self) -> int:
        """Frames in a window, T."""
        return self.options.max_frames or 1

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the frames of a window."""
        return self.records[0].image_size if self.options.preprocess == "none" else self.options.image_size

    def row_size(self, kind: str) -> int | None:
        """Number of dimensions of the data's "actions" or "states"; None without any, or when not asked for."""
        rows = getattr(self.records[0], kind)
        return None if rows is None or not self.options.use_state else rows.shape[1]

    def sized(self, action_size: int, state_size: int) -> WindowIndex:
        """Return the index with sizes for the zeros of data without actions or states."""
        return replace(self, action_size=action_size, state_size=state_size)

    def objection(self, record: RawRecord, *, verify: bool = False) -> Fault | None:
        """Return why no window can be drawn from an episode, beside the ones there are; None if there is no reason.

        Args:
            record: The episode.
            verify: Also read every frame and check it.
        """
        message = None
        if record.num_frames < self.length:
            message = f"has {record.num_frames} frames, fewer than the sequence_length {self.length}"
        elif self.records:
            first = self.records[0]
            if self.options.preprocess == "none" and record.image_size != first.image_size:
                message = f"has frames of {record.image_size}, the first episode {first.image_size}"
            for kind in ("actions", "states") if self.options.use_state else ():
                sizes = [
                    None if each is None else each.shape[1] for each in (getattr(record, kind), getattr(first, kind))
                ]
                if sizes[0] != sizes[1]:
                    message = f"has {kind} of size {sizes[0]}, the first episode of size {sizes[1]}"
        if message is None and verify:
            try:
                read_window(record, 0, np.empty((record.num_frames, *record.image_size, 3), np.uint8))
            except ValueError as error:
                message = str(error).split(": ", 1)[1]
        return None if message is None else Fault(record.file, record.record, message)

    def batch(self, index: int, batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return frames `[B, T, H, W, 3]`, actions `[B, T-1, A]` and states `[B, T, S]` of batch `index`.

        Raises:
            ValueError: A frame is damaged; names file and record.
        """
        length, count = self.length, len(self.records)
        frames = np.empty((batch_size, length, *self.image_size, 3), np.uint8)
        actions = np.zeros((batch_size, length - 1, self.row_size("actions") or self.action_size), np.float32)
        states = np.zeros((batch_size, length, self.row_size("states") or self.state_size), np.float32)
        for row in range(batch_size):
            epoch, place = divmod(index * batch_size + row, count)
            order, starts = self._epoch(epoch)
            record, start = self.records[order[place]], int(starts[place])
            self._read(record, start, frames[row])
            if self.options.use_state and record.actions is not None:
                actions[row] = record.actions[start : start + length - 1]
            if self.options.use_state and record.states is not None:
                states[row] = record.states[start : start + length]
        return frames, actions, states

    def _read(self, record: RawRecord, start: int, frames: np.ndarray) -> None:
        if record.image_size == frames.shape[1:3]:
            read_window(record, start, frames)
            return
        stored = np.empty((len(frames), *record.image_size, 3), np.uint8)
        read_window(record, start, stored)
        frames[:] = resize_frames(stored, self.options.preprocess, self.options.image_size)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Order of the episodes and the first frame of each window (in that order) of an epoch."""
        known = self._epochs.get(epoch)
        if known is None:
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch]))
            count = len(self.records)
            order = rng.permutation(count) if self.shuffle else np.arange(count)
            choices = np.array([self.records[each].num_frames - self.length + 1 for each in order])
            starts = rng.integers(0, choices) if self.random_start else np.zeros(count, np.int64)
            # A batch touches two epochs at most, and threads may be a few batches apart.
            for old in [each for each in list(self._epochs) if abs(each - epoch) > 2]:
                self._epochs.pop(old, None)
            self._epochs[epoch] = known = (order, starts)
        return known


def batches_dataset(
    index: WindowIndex, spec: dict[str, Any], batch_size: int, *, first: int, num_batches: int, num_parallel: int
) -> Any:
    """Return the `tf.data.Dataset` of batches from `first` up to, not including, `num_batches`."""
    from visual_foresight.backend import import_tensorflow

    tf = import_tensorflow()

    @counted
    def gather(number: np.ndarray) -> tuple[np.ndarray, ...]:
        return index.batch(int(number), batch_size)

    def load(number: Any) -> dict[str, Any]:
        parts = tf.numpy_function(gather, [number], [each.dtype for each in spec.values()], stateful=False)
        return {name: tf.ensure_shape(part, spec[name].shape) for name, part in zip(spec, parts, strict=True)}

    numbers = tf.data.Dataset.range(min(first, num_batches), num_batches)
    return numbers.map(load, num_parallel_calls=num_parallel, deterministic=True)
