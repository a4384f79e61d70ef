"""Line charts as inline SVG, coloured by the page's style sheet so that they follow light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 460, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 36


@dataclass(frozen=True)
class Line:
    """One line of a chart: `values` over `positions` (their index when None); `kind` names a style sheet class."""

    values: Sequence[float] | np.ndarray
    name: str = ""
    kind: str = "main"
    positions: Sequence[float] | np.ndarray | None = None

    def points(self) -> np.ndarray:
        """Return the finite points [N, 2] (x, y)."""
        positions = range(len(self.values)) if self.positions is None else self.positions
        points = np.array(list(zip(positions, self.values, strict=True)), np.float64).reshape(-1, 2)
        return points[np.isfinite(points).all(axis=1)]


def line_chart(
    lines: Sequence[Line], *, title: str, x_label: str, y_label: str, threshold: tuple[float, str] | None = None
) -> str:
    """Return a chart as an SVG element with a title for readers who cannot see it.

    Args:
        lines: what to draw; later ones lie above.
        title: heading, also the accessible name.
        x_label: name of the horizontal axis, unit included.
        y_label: name of the vertical axis, unit included.
        threshold: a value and its name, drawn as a dashed line.
    """
    points = [line.points() for line in lines]
    every = np.concatenate([*points, np.zeros((0, 2))])
    if len(every) == 0:
        return f'<figure class="chart"><figcaption>{escape(title)}</figcaption><p>No data.</p></figure>'
    low_x, high_x = float(every[:, 0].min()), float(every[:, 0].max())
    low_y, high_y = _vertical_range(every[:, 1], threshold)
    scale = _Scale((low_x, high_x if high_x > low_x else low_x + 1.0), (low_y, high_y))
    parts = [_axes(scale, x_label, y_label)]
    if threshold is not None:
        y = scale.y(threshold[0])
        parts.append(f'<line class="threshold" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="threshold-name" x="{WIDTH - RIGHT}" y="{y - 4:.1f}">{escape(threshold[1])}</text>')
    parts.extend(_drawn(line, scale) for line in lines)
    legend = " ".join(
        f'<span class="key {escape(line.kind)}">{escape(line.name)}</span>' for line in lines if line.name
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)} {legend}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round values (1, 2 or 5 times a power of ten apart) inside [low, high]."""
    span = max(high - low, 1e-12)
    power = 10.0 ** np.floor(np.log10(span / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span / count * 0.999)
    first = np.ceil(low / step - 1e-9) * step
    return [float(value) + 0.0 for value in np.arange(first, high + step * 1e-6, step)]  # + 0.0 turns -0 into 0


@dataclass(frozen=True)
class _Scale:
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)


def _vertical_range(values: np.ndarray, threshold: tuple[float, str] | None) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if threshold is not None:
        low, high = min(low, threshold[0]), max(high, threshold[0])
    if 0 <= low <= 0.6 * high:  # a chart of positive values starts at 0 unless that would flatten it
        low = 0.0
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return (low if low == 0.0 else low - margin), high + margin


def _axes(scale: _Scale, x_label: str, y_label: str) -> str:
    parts = []
    for value in ticks(*scale.y_range):
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick y" x="{LEFT - 6}" y="{y + 3.5:.1f}">{value:.6g}</text>')
    for value in ticks(*scale.x_range, count=6):
        if abs(value - round(value)) < 1e-9:
            parts.append(f'<text class="tick x" x="{scale.x(value):.1f}" y="{HEIGHT - BOTTOM + 15}">{value:.6g}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}">{escape(x_label)}</text>')
    parts.append(f'<text class="axis" transform="translate(12 {middle}) rotate(-90)">{escape(y_label)}</text>')
    return "".join(parts)


def _drawn(line: Line, scale: _Scale) -> str:
    points = line.points()
    if len(points) == 0:
        return ""
    places = [(scale.x(x), scale.y(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    return (
        f'<polyline class="line {escape(line.kind)}" points="{path}"/>'
        f'<circle class="dot {escape(line.kind)}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    )
