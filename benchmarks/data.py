"""How many frames a second the data pipeline gives: `python benchmarks/data.py [--seconds 5]`.

Windows of 10 frames of 64 x 64 in batches of 32, from episodes of 20 frames. CPU seconds are given beside wall seconds,
because another process on the machine changes only the latter.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.formats import write_episodes
from visual_foresight.pipeline import WindowSource, stream_windows

LENGTH, BATCH, FRAMES, EPISODES = 10, 32, 20, 256


def synthetic_episodes(count: int) -> Iterator[Episode]:
    """Smooth pictures with a moving block: they compress about as pictures of the environment do."""
    rows, columns = np.mgrid[:64, :64]
    rng = np.random.default_rng(0)
    for _ in range(count):
        base = np.stack([rows * 2, columns * 2, rows + columns], axis=-1) + rng.integers(0, 60, 3)
        frames = np.repeat(base[None], FRAMES, axis=0)
        frames = frames + rng.integers(0, 3, frames.shape)  # sensor noise
        for step in range(FRAMES):
            frames[step, 20 + step : 32 + step, 20:32] = rng.integers(0, 255, 3)
        actions = rng.normal(size=(FRAMES - 1, 2))
        yield Episode(np.clip(frames, 0, 255).astype(np.uint8), actions, rng.normal(size=(FRAMES, 2)))


def rate(next_batch: Callable[[], object], seconds: float) -> dict[str, float]:
    """Frames for each second of wall time and of CPU time."""
    for _ in range(3):
        next_batch()
    wall, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < seconds:
        next_batch()
        count += BATCH * LENGTH
    return {
        "frames_per_wall_second": count / (time.perf_counter() - wall),
        "frames_per_cpu_second": count / (time.process_time() - cpu),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="time for each measurement")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results = {}
    windows = {"sequence_length": LENGTH, "batch_size": BATCH, "seed": 0}
    source = WindowSource(synthetic_episodes(EPISODES), **windows)
    indices = iter(range(10**9))
    results["WindowSource.batch"] = rate(lambda: source.batch(next(indices)), args.seconds)
    with tempfile.TemporaryDirectory() as folder:
        for name, format, suffix in (("npz", "npz", ".npz"), ("push, PNG", "push", ".tfrecord")):
            place = Path(folder) / format
            place.mkdir()
            for shard in range(4):
                write_episodes(place / f"{shard}{suffix}", synthetic_episodes(EPISODES // 4), format=format)
            stream = iter(stream_windows(place, **windows))
            results[f"stream_windows ({name})"] = rate(lambda stream=stream: next(stream), args.seconds)
    if args.json:
        print(json.dumps({"cores": os.cpu_count(), "results": results}))
        return
    print(f"{os.cpu_count()} cores; windows of {LENGTH} frames of 64 x 64, batches of {BATCH}")
    for name, found in results.items():
        wall, cpu = found["frames_per_wall_second"], found["frames_per_cpu_second"]
        print(f"{name:28} {wall:10.0f} frames/s {cpu:10.0f} frames per CPU second")


if __name__ == "__main__":
    main()
