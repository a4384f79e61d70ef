"""How the learning rate rises at the start of a training and falls to its end."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from visual_foresight.train.config import TrainingConfig

FINAL_LEARNING_RATE = 0.01
"""Where the learning rate ends under a schedule, as a share of the first."""


def timed_share(elapsed: float) -> float:
    """What is left of the learning rate after that share of the time: a cosine from 1 to `FINAL_LEARNING_RATE`."""
    wave = 0.5 * (1 + math.cos(math.pi * min(elapsed, 1.0)))
    return FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * wave


def warm_share(iteration: Any, warmup_iterations: int) -> Any:
    """The share of the learning rate at an iteration, counted from 0: a straight line up to 1; 0 iterations: 1."""
    return ops.minimum(1.0, (ops.cast(iteration, "float32") + 1) / max(1, warmup_iterations))


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, or one rate, times `warm_share`.

    Args:
        rate: what it rises to: a number or a schedule, which counts from the first iteration, too.
        warmup_iterations: until then the rate rises in a straight line; at least 1.
    """

    def __init__(self, rate: Any, warmup_iterations: int) -> None:
        """Stores both."""
        super().__init__()
        self._rate, self._warmup_iterations = rate, warmup_iterations

    def __call__(self, step: Any) -> Any:
        """The learning rate at one iteration, counted from 0."""
        rate = self._rate(step) if callable(self._rate) else self._rate
        return rate * warm_share(step, self._warmup_iterations)

    def get_config(self) -> dict[str, Any]:
        """The settings."""
        return {"rate": self._rate, "warmup_iterations": self._warmup_iterations}


def learning_rate(config: TrainingConfig) -> Any:
    """The learning rate as an optimizer takes it: a number, or a schedule of the iterations.

    The cosine is that of Loshchilov and Hutter (2017), "SGDR", without restarts. A rate that follows the clock begins
    as a number, and whoever runs the training sets it.
    """
    rate: Any = config.learning_rate
    if config.learning_rate_schedule == "timed":
        return rate
    if config.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, config.num_iterations, alpha=FINAL_LEARNING_RATE)
    return WarmUp(rate, config.warmup_iterations) if config.warmup_iterations else rate
