"""One kind of work, timed: whole repetitions after a warm-up, so that the spread between them is seen."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measurement:
    """Times of one kind of work.

    Args:
        name: of the work.
        unit: of `work`, as in "frames"; a rate is then frames per second.
        work: done in one repetition, in units.
        seconds: of each repetition.
        note: sizes, for the reader.
        limit: name of the measurement that bounds this one.
        cost: what one unit costs in units of the limit: floating point operations, or bytes.
        facts: further figures by name, JSON-plain.
    """

    name: str
    unit: str
    work: float
    seconds: tuple[float, ...]
    note: str = ""
    limit: str | None = None
    cost: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Median time of a repetition [s]."""
        return float(np.median(self.seconds))

    @property
    def rate(self) -> float:
        """Units per second, of the median repetition."""
        return self.work / self.median

    def to_json(self, limits: Mapping[str, float]) -> dict[str, Any]:
        """Return the figures, JSON-plain; with the rate of its limit also the share of it that was used."""
        figures: dict[str, Any] = {
            "name": self.name,
            "unit": self.unit,
            "rate_per_second": self.rate,
            "milliseconds_median": 1e3 * self.median,
            "milliseconds_p95": 1e3 * float(np.percentile(self.seconds, 95)),
            "work": self.work,
            "repeats": len(self.seconds),
            "note": self.note,
        }
        if self.limit is not None and self.limit in limits and self.cost:
            figures |= {"limit": self.limit, "share_of_limit": self.rate * self.cost / limits[self.limit]}
        return figures | ({"facts": dict(self.facts)} if self.facts else {})


def timed(function: Callable[[], Any], *, repeats: int, warmup: int) -> tuple[float, ...]:
    """Return the time [s] of each of `repeats` calls, after `warmup` calls that do not count."""
    return timed_together([function], repeats=repeats, warmup=warmup)[0]


def timed_together(functions: Sequence[Callable[[], Any]], *, repeats: int, warmup: int) -> list[tuple[float, ...]]:
    """Return the times [s] of the calls of each function, taken in turns: other work on the machine hits all alike."""
    for _ in range(warmup):
        for function in functions:
            function()
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [tuple(times) for times in seconds]
