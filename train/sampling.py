"""Scheduled sampling: which examples of a batch see the true frame, and which the model's own."""

from __future__ import annotations

import math

import numpy as np

# Keeps the mask's random stream apart from those of the data pipeline, which are seeded with the same number.
_STREAM = 0x5C4ED


def ground_truth_count(iteration: int, batch_size: int, k: float) -> int:
    """How many examples of a batch are fed the true frame at `iteration`.

    `int(round_half_even(B * k / (k + exp(iteration / k))))`, the inverse-sigmoid schedule of Bengio et al. (2015,
    "Scheduled Sampling", section 2.4) as the original computes it. With `k = -1` it is 0.

    Differs from: the original evaluates `exp` in float32 and relies on infinity; here large iterations cannot overflow.

    Args:
        iteration: number of gradient steps made so far.
        batch_size: B.
        k: time constant; larger keeps the truth longer (half at `k ln k` iterations).
    """
    if k == -1:
        return 0
    if iteration < 0 or batch_size < 0 or not k > 0:
        raise ValueError(
            f"expected iteration and batch_size from 0 and k above 0 (or -1), got {iteration}, {batch_size} and {k}"
        )
    # k / (k + e^x) = 1 / (1 + e^(x - ln k)), and e^(..) is out of float range far beyond the last example.
    exponent = min(iteration / k - math.log(k), 700.0)
    return int(round(batch_size / (1.0 + math.exp(exponent))))


def ground_truth_mask(iteration: int, batch_size: int, num_steps: int, *, k: float, seed: int) -> np.ndarray:
    """The examples fed with the true frame at every step.

    Each step draws its own random subset of exactly `ground_truth_count` examples, as the original does. A pure
    function of `(seed, iteration)`: a resumed run draws what the uninterrupted one would have drawn.

    Returns:
        `[B, T-1]` bool with `num_steps = T-1`; true where the true frame is fed.
    """
    count = ground_truth_count(iteration, batch_size, k)
    mask = np.zeros((batch_size, num_steps), bool)
    if count == 0:
        return mask
    if count == batch_size:
        return ~mask
    generator = np.random.default_rng([_STREAM, seed, iteration])
    order = generator.random((batch_size, num_steps)).argsort(axis=0)  # [B, T-1], one permutation per step
    return order < count
