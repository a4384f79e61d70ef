"""What TensorFlow's threads spend on rollouts of a predictor and on the original network, by kinds of operation.

TensorFlow's own profiler writes an event for each operation of each thread; an event's time is its own, without that of
events inside it. Needs TensorFlow; the machine should be quiet.

    python benchmarks/operations.py --output operations.json
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.backend import import_tensorflow
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.report import versions
from visual_foresight.simulator import LearnedSimulator
from visual_foresight.speed import imagining
from visual_foresight.video_files import write_text

# The first that fits an operation's name says its kind.
KINDS = {
    "convolutions": "Conv2D",
    "products": "MatMul|ynn",
    "loops of XLA": "fusion|^known|Executable|Thunk",
    "copies, joins, casts": "ranspose|Slice|oncat|Cast|Broadcast|Pack|Split|Reshape|Pad|Tile|Gather",
    "starting and waiting": "Executor|ParallelFor|BlockUntil|FunctionRun|Kernel|Run|Schedule|Wait",
    "sums, ReLUs, norms, softmax": "",
}
# The thread that called, and only waits for those that compute.
WAITING = "KernelAndDeviceFunc"
WARMUP, TIMED = 4, 15


def own_times(line: Any, names: dict[int, str]) -> Iterator[tuple[str, float]]:
    """Name and own time [ms] of each event of a thread: nested events count once, as themselves."""
    found: list[list[Any]] = []
    open_events: list[tuple[int, int]] = []  # where they end, and their place in `found`
    for event in sorted(line.events, key=lambda event: (event.offset_ps, -event.duration_ps)):
        while open_events and open_events[-1][0] <= event.offset_ps:
            open_events.pop()
        if open_events:
            found[open_events[-1][1]][1] -= event.duration_ps
        open_events.append((event.offset_ps + event.duration_ps, len(found)))
        found.append([names[event.metadata_id], event.duration_ps])
    for name, picoseconds in found:
        yield name, picoseconds / 1e9


def kind_of(name: str) -> str:
    """Kind of an operation by its name."""
    return next(kind for kind, pattern in KINDS.items() if re.search(pattern, name))


def profile(work: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Time of `work` on the clock, and what threads spend on it [ms], by kind and for the dearest operations."""
    tensorflow = import_tensorflow()
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    seconds = []
    for index in range(WARMUP + TIMED):
        begun = time.perf_counter()
        work()
        if index >= WARMUP:
            seconds.append(time.perf_counter() - begun)
    with tempfile.TemporaryDirectory() as folder:
        with tensorflow.profiler.experimental.Profile(folder):
            for _ in range(rounds):
                work()
        (written,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(written.read_bytes())
    operations: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        if "CPU" not in plane.name:
            continue
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for line in plane.lines:
            for name, milliseconds in own_times(line, names):
                if not name.startswith(WAITING):
                    operations[re.sub(r"_\d+", "", name)] += milliseconds / rounds
    kinds = collections.Counter(dict.fromkeys(KINDS, 0.0))
    for name, milliseconds in operations.items():
        kinds[kind_of(name)] += milliseconds
    total = kinds.total()
    return {
        "clock_ms": round(1e3 * statistics.median(seconds), 2),
        "thread_ms": round(total, 1),
        "shares": {kind: round(value / total, 3) for kind, value in kinds.most_common()},
        "dearest_ms": {name[:100]: round(value, 2) for name, value in operations.most_common(12)},
    }


def rollouts(preset: str, candidates: int, horizon: int) -> Callable[[], Any]:
    """Rollouts of a predictor in bfloat16, with the map of one point, as a planner asks for them."""
    simulator = LearnedSimulator.from_preset(preset, dtype="mixed_bfloat16")
    start = imagining.scene(simulator)
    actions = np.random.default_rng(0).uniform(-1, 1, (candidates, horizon, simulator.predictor.config.action_size))
    return lambda: imagining.imagine(simulator, start, actions.astype(np.float32))


def original(dtype: str, batch_size: int = 32, length: int = 10) -> Callable[[], Any]:
    """The original network on one batch, with random weights."""
    config = PredictorConfig()
    predictor, rng = imagining.seed_predictor(config, dtype=dtype), np.random.default_rng(0)
    frames = rng.random((batch_size, length, *config.image_size, 3), np.float32)
    actions = rng.normal(size=(batch_size, length - 1, config.action_size)).astype(np.float32)
    states = rng.normal(size=(batch_size, length, config.state_size)).astype(np.float32)
    return lambda: predictor.predict_frames(frames, actions, states)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="push_fast")
    parser.add_argument("--candidates", type=int, nargs="+", default=[32, 64, 200])
    parser.add_argument("--horizon", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5, help="calls that are profiled")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()

    works = {
        f"{args.preset}, {count} candidates x {args.horizon} steps": rollouts(args.preset, count, args.horizon)
        for count in args.candidates
    }
    works |= {f"seed, batch 32, 10 frames, {dtype}": original(dtype) for dtype in ("float32", "mixed_bfloat16")}
    report: dict[str, Any] = {"date": datetime.date.today().isoformat(), "rounds": args.rounds, "works": {}}
    for name, work in works.items():
        report["works"][name] = found = profile(work, args.rounds)
        print(f"{name}: {found['clock_ms']} ms on the clock, {found['thread_ms']} ms of threads")
        for kind, share in found["shares"].items():
            print(f"  {share:6.1%}  {kind}")
    if args.output:
        write_text(args.output, json.dumps({**report, "versions": versions()}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
