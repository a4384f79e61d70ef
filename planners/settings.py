"""Checks shared by the planners' settings, made when a planner is built and not when it is used."""

from __future__ import annotations

import math
from numbers import Integral


def require_count(name: str, value: int, minimum: int = 1) -> None:
    """Raise unless ``value`` is a whole number of at least ``minimum``.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")


def require_number(name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Raise unless ``value`` is a number in [low, high], or in (low, high] with ``open_low``.

    Raises:
        ValueError: it is not, or is NaN.
    """
    try:
        inside = (low < value if open_low else low <= value) and value <= high and math.isfinite(value)
    except TypeError:
        inside = False
    if not inside:
        raise ValueError(f"{name} must lie in {'(' if open_low else '['}{low}, {high}], got {value!r}")


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
