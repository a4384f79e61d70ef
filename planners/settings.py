"""Checks shared by the planners' settings, made when a planner is built and not when it is used."""

from __future__ import annotations

import math
from dataclasses import fields
from numbers import Integral
from typing import Any

import numpy as np

_COUNTS = {"horizon": 1, "action_repeat": 1, "num_elites": 1, "num_gradient_steps": 1}

_NUMBERS: dict[str, tuple[float, float, bool]] = {  # lowest, highest, whether the lowest itself is excluded
    "unbounded_scale": (0.0, math.inf, True),
    "initial_deviation": (0.0, math.inf, True),
    "deviation_floor": (0.0, math.inf, False),
    "deviation": (0.0, math.inf, True),
    "deviation_decay": (0.0, 1.0, True),
    "smoothing": (0.0, 0.999, False),
    "noise_exponent": (0.0, 100.0, False),
    "keep_fraction": (0.0, 1.0, False),
    "temperature": (0.0, math.inf, True),
    "learning_rate": (0.0, math.inf, True),
}


def check_settings(planner: Any) -> None:
    """Check every setting of a planner's record by its name: the same word has the same range everywhere.

    Raises:
        ValueError: a setting outside its range.
    """
    for field in fields(planner):
        if field.name in _COUNTS:
            require_count(field.name, getattr(planner, field.name), _COUNTS[field.name])
        elif field.name in _NUMBERS:
            low, high, open_low = _NUMBERS[field.name]
            require_number(field.name, getattr(planner, field.name), low, high, open_low=open_low)
        elif isinstance(field.default, bool) and not isinstance(getattr(planner, field.name), bool):
            raise ValueError(f"{field.name} must be True or False, got {getattr(planner, field.name)!r}")


def require_count(name: str, value: int, minimum: int = 1) -> None:
    """Raise unless ``value`` is a whole number of at least ``minimum``.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")


def generator_of(rng: np.random.Generator | int) -> np.random.Generator:
    """A generator from itself or from a seed.

    Raises:
        ValueError: None, with which no run could be repeated.
    """
    if rng is None:
        raise ValueError("rng must be a seed or a numpy.random.Generator: without one no run could be repeated")
    return np.random.default_rng(rng)


def require_number(name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Raise unless ``value`` is a finite number in [low, high], or in (low, high] with ``open_low``.

    Raises:
        ValueError: it is not, or is NaN.
    """
    try:
        inside = (low < value if open_low else low <= value) and value <= high and math.isfinite(value)
    except TypeError:
        inside = False
    if inside:
        return
    if low == -math.inf and high == math.inf:
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    left, right = "(" if open_low else "[", ")" if high == math.inf else "]"
    raise ValueError(f"{name} must lie in {left}{low}, {high}{right}, got {value!r}")


def schedule(num_candidates: int | tuple[int, ...], num_iterations: int, decay: float, minimum: int) -> tuple[int, ...]:
    """Candidates per iteration.

    A tuple is taken as it is. A number N becomes ``max(N * decay**-i, minimum)``, never more than N.

    Raises:
        ValueError: not whole positive numbers, or a tuple of another length than the iterations.
    """
    require_count("num_iterations", num_iterations)
    require_number("decay", decay, 1.0)
    if isinstance(num_candidates, (tuple, list)):
        if len(num_candidates) != num_iterations:
            raise ValueError(
                f"num_candidates gives {len(num_candidates)} iterations {tuple(num_candidates)}, but num_iterations is "
                f"{num_iterations}"
            )
        for count in num_candidates:
            require_count("each of num_candidates", count)
        return tuple(int(count) for count in num_candidates)
    require_count("num_candidates", num_candidates)
    decayed = (int(num_candidates * decay**-i) for i in range(num_iterations))
    return tuple(min(int(num_candidates), max(count, minimum)) for count in decayed)
