"""One training step: forward, backward, optimizer."""

from typing import Any

import numpy as np

from visual_foresight.speed import limits
from visual_foresight.speed.imagining import count_step_flops
from visual_foresight.speed.measurement import Measurement, timed_together

_BACKWARD = 3.0  # a step costs about three forward passes: itself, and the gradients of inputs and of weights


def measure_seed_training(*, repeats: int, warmup: int, batch_size: int = 8, length: int = 10) -> list[Measurement]:
    """The seed network's training step in float32 and under the mixed bfloat16 policy, in turns.

    `benchmarks/seed_speed.py` compares both with a plain version of the same layers.
    """
    steps = {dtype: make_step({}, dtype, batch_size, length) for dtype in ("float32", "mixed_bfloat16")}
    times = timed_together([step for step, _ in steps.values()], repeats=repeats, warmup=max(warmup, 1))
    speedup = float(np.median(times[0]) / np.median(times[1]))
    note, work = f"batch {batch_size}, {length} frames", batch_size * (length - 1)
    measured = []
    names = (limits.CONVOLUTION, limits.CONVOLUTION_BFLOAT16)
    for (dtype, (_, predictor)), seconds, limit in zip(steps.items(), times, names, strict=True):
        flops = count_step_flops(predictor)
        facts = {"speedup": speedup} if dtype != "float32" else {}
        title = f"seed training {dtype.removeprefix('mixed_')}, batch {batch_size}"
        measured.append(Measurement(title, "frames", work, seconds, note, limit, flops and _BACKWARD * flops, facts))
    return measured


def measure_fast_training(*, repeats: int, warmup: int, batch_size: int = 32, length: int = 11) -> Measurement:
    """A training step of the fast network that looks at every frame: what a data pipeline must keep up with."""
    step, predictor = make_step({"backbone": "fast", "num_masks": 5, "kernel_size": 9}, "float32", batch_size, length)
    (seconds,) = timed_together([step], repeats=repeats, warmup=max(warmup, 1))
    flops = count_step_flops(predictor)
    work, note = batch_size * (length - 1), f"batch {batch_size}, {length} frames, float32"
    facts = {"consumed_frames_per_second": batch_size * length / float(np.median(seconds))}
    cost = flops and _BACKWARD * flops
    return Measurement("fast training", "frames", work, seconds, note, limits.SMALL_CONVOLUTION, cost, facts)


def make_step(network: dict[str, Any], dtype: str, batch_size: int, length: int) -> tuple[Any, Any]:
    """Return a function that makes one training step on a batch of noise, and the predictor that it trains."""
    model, batch = make_model(network, dtype, batch_size, length)
    return lambda: model.train_on_batch(batch), model.predictor


def make_model(network: dict[str, Any], dtype: str, batch_size: int, length: int) -> tuple[Any, dict[str, Any]]:
    """Return a compiled training model with random weights, and a batch of noise for it."""
    import keras

    from visual_foresight.backend import trains_through_xla
    from visual_foresight.predictor.config import PredictorConfig
    from visual_foresight.predictor.predictor import VideoPredictor
    from visual_foresight.train.config import TrainingConfig
    from visual_foresight.train.model import TrainingModel

    config = PredictorConfig(**network)
    predictor = VideoPredictor(config, dtype=None if dtype == "float32" else dtype)
    settings = TrainingConfig(batch_size=batch_size, sequence_length=length, context_frames=config.context_frames)
    model = TrainingModel(predictor, settings)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=trains_through_xla())
    rng = np.random.default_rng(0)
    batch = {
        "frames": rng.integers(0, 256, (batch_size, length, *config.image_size, 3), dtype=np.uint8),
        "actions": rng.normal(size=(batch_size, length - 1, config.action_size)).astype(np.float32),
        "states": rng.normal(size=(batch_size, length, config.state_size)).astype(np.float32),
        "ground_truth": rng.random((batch_size, length - 1)) < 0.5,
    }
    return model, batch
