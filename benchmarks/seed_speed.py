"""Measures the `seed` CDNA network against the same layers written plainly: inference and training steps.

All variants run in one process, in turns, so that a busy machine slows all of them alike; processor time is given
beside the time on the wall, because only it is comparable where other programs run. From the root of the repository:

    python benchmarks/seed_speed.py --output benchmarks/results/seed_speed.json

Results are written after each part; `--parts training-32`, the longest, measures one alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from plain_seed import PlainSeed

from visual_foresight import backend
from visual_foresight.cli.doctor import usable_cores
from visual_foresight.report import processor_name

LENGTH, CONTEXT, SIZE = 10, 2, 5
# A round of training at batch 32 takes four times as long as one at 8, and is averaged over four times as many frames.
LARGE_BATCH, LARGE_ROUNDS = 32, 3
VARIANTS = ("plain float32", "float32", "bfloat16")


def make_batch(batch: int) -> dict[str, Any]:
    """Smooth random frames [B, 10, 64, 64, 3], actions and states [B, 10, 5]: arithmetic does not see the content."""
    generator = np.random.default_rng(0)
    frames = generator.random((batch, LENGTH, 8, 8, 3), np.float32).repeat(8, axis=2).repeat(8, axis=3)
    vectors = generator.standard_normal((2, batch, LENGTH, SIZE)).astype(np.float32)
    return {"frames": frames, "actions": vectors[0], "states": vectors[1]}


def make_variants() -> dict[str, tuple[Callable, list]]:
    """Each variant as (frames and states of a batch, its variables); all with the same weights."""
    import keras

    from visual_foresight.predictor import PredictorConfig, VideoPredictor

    keras.utils.set_random_seed(0)
    config = PredictorConfig(action_size=SIZE, state_size=SIZE, context_frames=CONTEXT)
    ours, mixed = VideoPredictor(config), VideoPredictor(config, dtype="mixed_bfloat16")
    mixed.set_weights(ours.get_weights())
    plain = PlainSeed(ours)
    calls = (lambda batch: plain(**batch), lambda batch: ours(batch), lambda batch: mixed(batch))
    variables = (plain.variables, ours.trainable_variables, mixed.trainable_variables)
    return dict(zip(VARIANTS, zip(calls, variables, strict=True), strict=True))


def compile_training(call: Callable, variables: list) -> Callable:
    """One gradient step with Adam; returns the loss."""
    import keras
    import tensorflow

    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(variables)

    def step(batch: dict) -> Any:
        with tensorflow.GradientTape() as tape:
            predicted = call(batch)
            frames = batch["frames"][:, CONTEXT:] - predicted["frames"][:, CONTEXT - 1 :]
            states = batch["states"][:, CONTEXT:] - predicted["states"][:, CONTEXT - 1 :]
            loss = tensorflow.reduce_mean(frames**2) + 1e-4 * tensorflow.reduce_mean(states**2)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return loss

    return tensorflow.function(step, autograph=False, jit_compile=backend.device_kind() != "cpu")


def measure(runs: dict[str, Callable], rounds: int, frames: int) -> dict[str, dict[str, float]]:
    """Medians per predicted frame [ms] over rounds in which every variant runs once, and ratios to the first."""
    for run in runs.values():
        run()
    seconds: dict[str, list] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - processor))
    table = {name: np.median(values, axis=0) * 1e3 / frames for name, values in seconds.items()}
    first = table[next(iter(table))]
    return {
        name: {
            "wall_ms_per_frame": round(float(row[0]), 3),
            "processor_ms_per_frame": round(float(row[1]), 3),
            "speedup_wall": round(float(first[0] / row[0]), 3),
            "speedup_processor": round(float(first[1] / row[1]), 3),
        }
        for name, row in table.items()
    }


def measure_inference(batch: int, rounds: int) -> dict[str, Any]:
    """Unrolled prediction of 9 frames, and how far the variants' frames are from one another."""
    inputs = {name: backend.import_tensorflow().constant(array) for name, array in make_batch(batch).items()}
    compiled = {name: backend.compile_function(call) for name, (call, _) in make_variants().items()}
    frames = {name: np.asarray(call(inputs)["frames"]) for name, call in compiled.items()}
    plain, ours, mixed = (frames[name] for name in VARIANTS)
    truth = make_batch(batch)["frames"][:, 1:]
    table = measure(
        {name: lambda call=call: np.asarray(call(inputs)["states"]) for name, call in compiled.items()},
        rounds,
        batch * (LENGTH - 1),
    )
    return {
        "speed": table,
        "largest_difference_plain_float32": float(np.abs(plain - ours).max()),
        "psnr_bfloat16_to_float32_db": psnr(mixed, ours),
        "psnr_to_truth_db": {"float32": psnr(ours, truth), "bfloat16": psnr(mixed, truth)},
    }


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    """Of the pooled error [dB]."""
    return round(float(-10 * np.log10(np.mean((found - expected) ** 2))), 2)


def measure_training(batch: int, rounds: int, variants: tuple[str, ...]) -> dict[str, Any]:
    """Forward, backward and Adam on windows of 10 frames."""
    inputs = {name: backend.import_tensorflow().constant(array) for name, array in make_batch(batch).items()}
    made = make_variants()
    runs = {}
    for name in variants:
        step = compile_training(*made[name])
        runs[name] = lambda step=step: float(step(inputs))
    if batch >= LARGE_BATCH:
        rounds = min(rounds, LARGE_ROUNDS)
    table = measure(runs, rounds, batch * (LENGTH - 1))
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"rounds": rounds, "speed": table, "largest_memory_gib": round(largest, 2)}


def main() -> None:
    """Measure what the arguments ask for and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="+", default=["inference-32", "training-8", "training-32"])
    parser.add_argument(
        "--variants", nargs="+", default=list(VARIANTS), help="for training; the first is the yardstick"
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    tensorflow = backend.import_tensorflow()
    results: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "device": f"{usable_cores()} cores, {processor_name()}",
        "tensorflow": tensorflow.__version__,
        "rounds": arguments.rounds,
        "load_average_before": os.getloadavg()[0],
        "length": LENGTH,
    }
    for part in arguments.parts:
        kind, batch = part.split("-")
        if kind == "inference":
            results[part] = measure_inference(int(batch), arguments.rounds)
        else:
            results[part] = measure_training(int(batch), arguments.rounds, tuple(arguments.variants))
        print(json.dumps({part: results[part]}, indent=1), flush=True)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
