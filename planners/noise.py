"""Gaussian noise over time, white or coloured, and actions held for several steps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def coloured_noise(
    rng: np.random.Generator, num_candidates: int, num_steps: int, action_size: int, exponent: float = 0.0
) -> np.ndarray:
    """Draw stationary Gaussian noise whose power falls as ``1 / f**exponent`` along time.

    Every value has deviation 1 before any clipping, whatever the exponent. 0 is white noise, 1 pink, 2 Brownian: the
    larger, the smoother and the further a candidate travels.

    Timmer & Koenig 1995, "On generating power law noise", as used by iCEM (Pinneri et al. 2020, equation 2).
    Differs from: some planners divide each sample by its own deviation, which changes the law; here the filter is
    normalised once, so the expected power at each frequency is exactly the power law. The constant component takes
    the power of the lowest frequency, ``f = 1 / num_steps``.

    Args:
        rng: consumed by ``num_candidates * num_steps * action_size`` normal draws, whatever the exponent.
        num_candidates: K.
        num_steps: T.
        action_size: A.
        exponent: at least 0.

    Returns:
        [K, T, A] float32.
    """
    white = rng.standard_normal((num_candidates, num_steps, action_size), dtype=np.float32)
    if exponent == 0.0:
        return white
    return np.einsum("st,kta->ksa", _colour_filter(num_steps, float(exponent)), white, optimize=True)


@lru_cache(maxsize=64)
def _colour_filter(num_steps: int, exponent: float) -> np.ndarray:
    """[T, T] circulant matrix that gives white noise the spectrum ``f**-exponent`` and deviation 1."""
    frequencies = np.abs(np.fft.fftfreq(num_steps))
    amplitudes = np.maximum(frequencies, 1.0 / num_steps) ** (-exponent / 2.0)
    amplitudes /= np.sqrt(np.mean(amplitudes**2))  # Parseval: the mean power over frequencies is the variance
    impulse = np.fft.ifft(amplitudes).real
    lags = (np.arange(num_steps)[:, None] - np.arange(num_steps)[None, :]) % num_steps
    matrix = impulse[lags].astype(np.float32)
    matrix.flags.writeable = False  # shared by all callers through the cache
    return matrix


def hold(blocks: np.ndarray, action_repeat: int, horizon: int) -> np.ndarray:
    """Hold each macro action for ``action_repeat`` steps: [..., M, A] to [..., H, A]; the last block may be cut."""
    if action_repeat == 1:
        return blocks
    return np.repeat(blocks, action_repeat, axis=-2)[..., :horizon, :]


def block_means(actions: np.ndarray, action_repeat: int) -> np.ndarray:
    """Macro actions nearest to given ones: mean over each block, [..., H, A] to [..., M, A]; undoes ``hold``."""
    if action_repeat == 1:
        return actions
    starts = np.arange(0, actions.shape[-2], action_repeat)
    lengths = np.diff(np.append(starts, actions.shape[-2]))
    return np.add.reduceat(actions, starts, axis=-2) / lengths[:, None].astype(actions.dtype)


def block_sums(gradients: np.ndarray, action_repeat: int) -> np.ndarray:
    """Gradient by macro actions from that by actions, [..., H, A] to [..., M, A]: the transpose of ``hold``."""
    if action_repeat == 1:
        return gradients
    return np.add.reduceat(gradients, np.arange(0, gradients.shape[-2], action_repeat), axis=-2)


def num_blocks(horizon: int, action_repeat: int) -> int:
    """M, the number of macro actions that cover the horizon."""
    return -(-horizon // action_repeat)
