"""Training windows: out of memory, and out of TFRecord shards of either encoding."""

import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.speed import limits
from visual_foresight.speed.measurement import Measurement, timed

_SIDE = 64


def synthetic_episodes(count: int, num_frames: int = 21) -> Iterator[Episode]:
    """Smooth pictures with a moving block and noise: they compress about as pictures of the environment do."""
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    rng = np.random.default_rng(0)
    for _ in range(count):
        base = np.stack([rows * 2, columns * 2, rows + columns], axis=-1) + rng.integers(0, 60, 3)
        frames = base + rng.integers(0, 3, (num_frames, _SIDE, _SIDE, 3))
        for step in range(num_frames):
            frames[step, 20 + step % 30 : 32 + step % 30, 20:32] = rng.integers(0, 255, 3)
        actions, states = rng.normal(size=(num_frames - 1, 2)), rng.normal(size=(num_frames, 2))
        yield Episode(np.clip(frames, 0, 255).astype(np.uint8), actions, states)


def measure_data(
    *, repeats: int, warmup: int, num_episodes: int = 256, window: int = 10, batch_size: int = 32
) -> list[Measurement]:
    """Windows from a `WindowSource`, and streamed from push shards of the encodings raw and png."""
    from visual_foresight.pipeline import WindowSource

    episodes = list(synthetic_episodes(num_episodes))
    source = WindowSource(episodes, sequence_length=window, batch_size=batch_size, seed=0)
    numbers = itertools.count()
    sizes = {"window": window, "batch_size": batch_size, "repeats": repeats, "warmup": warmup}
    measured = [_measure("data, memory", lambda: source.batch(next(numbers)), batches=64, **sizes)]
    with tempfile.TemporaryDirectory() as folder:
        # PNG is a hundred times slower: few batches say as much.
        for encoding, batches in (("raw", 64), ("png", 2)):
            stream = _stream(Path(folder) / encoding, episodes, encoding, window, batch_size)
            measured.append(_measure(f"data, {encoding} shards", stream.__next__, batches=batches, **sizes))
            del stream  # before its files are
    return measured


def _stream(folder: Path, episodes: list[Episode], encoding: str, window: int, batch_size: int) -> Iterator[Any]:
    from visual_foresight.formats import write_episodes
    from visual_foresight.pipeline import stream_windows

    size = -(-len(episodes) // 4)
    for shard in range(0, len(episodes), size):
        write_episodes(folder / f"{shard:05d}.tfrecord", episodes[shard : shard + size], encoding=encoding)
    return iter(stream_windows(folder, sequence_length=window, batch_size=batch_size, seed=0))


def _measure(
    name: str, take: Any, *, batches: int, window: int, batch_size: int, repeats: int, warmup: int
) -> Measurement:
    def take_all() -> None:
        for _ in range(batches):
            take()

    timed(take_all, repeats=0, warmup=max(warmup, 1))
    before = time.process_time()
    seconds = timed(take_all, repeats=repeats, warmup=0)
    spent = time.process_time() - before  # of all threads: another process does not change it much
    frames = batches * batch_size * window
    facts = {"frames_per_processor_second": frames * repeats / max(spent, 1e-9)}
    note = f"shuffled windows of {window} frames, batches of {batch_size}"
    return Measurement(name, "frames", frames, seconds, note, limits.MEMORY_COPY, _SIDE * _SIDE * 3, facts)
