"""`bench --scale`: the time of a decision against candidates, horizon, image size and environments."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from visual_foresight.benchmark.settings import ControlSettings
from visual_foresight.speed.imagining import scene

SERIES: dict[str, tuple[int, ...]] = {
    "candidates": (64, 128, 256, 512, 1024, 2048, 4096),
    "horizon": (5, 10, 15, 20, 25, 30),
    "image_size": (48, 64, 80, 96, 128),
    "environments": (1, 2, 4, 8, 16, 32, 64),
}
"""Sizes of each series; the others stay as the settings have them (64 pixels, one environment)."""

_MOST_REPEATS = 5
_SHARE = 0.5  # of a point's time that may go into repetitions after the first


def measure_scale(
    args: argparse.Namespace, settings: ControlSettings, series: Mapping[str, Sequence[int]] = SERIES
) -> dict[str, Any]:
    """Time decisions of untrained predictors of the preset's kind: arithmetic does not depend on the weights.

    A series ends after the first point whose decision takes longer than `--point_seconds`.
    """
    from visual_foresight.cli.control import predictor_dtype
    from visual_foresight.predictor.config import PredictorConfig
    from visual_foresight.predictor.presets import preset_directory

    dtype = predictor_dtype(args)
    description = json.loads((preset_directory(args.preset) / "config.json").read_text(encoding="utf-8"))
    config = PredictorConfig.from_json(description["config"])
    base = {
        "candidates": settings.candidates,
        "horizon": settings.horizon,
        "image_size": config.image_height,
        "environments": 1,
    }
    results = {}
    for name, values in series.items():
        points = []
        for value in values:
            sizes = base | {name: value}
            point = time_decision(config, settings, sizes, args.point_seconds, dtype)
            points.append({name: value, **point})
            print(f"{name} {value}: {point['milliseconds_median']:.4g} ms a decision", file=sys.stderr)
            if point["milliseconds_median"] > 1e3 * args.point_seconds:
                break
        results[name] = {"points": points, "left_out": list(values[len(points) :])}
    return {"scale": results, "base": base, "iterations": settings.iterations, "network": config.to_json()}


def time_decision(
    config: Any, settings: ControlSettings, sizes: Mapping[str, int], point_seconds: float, dtype: str | None = None
) -> dict[str, float]:
    """Time a decision for so many environments: their contexts, one search for all of them, all iterations."""
    decide = make_decision(config, settings, sizes, dtype)
    decide()  # compiles
    seconds = [_timed(decide)]
    while len(seconds) < _MOST_REPEATS and sum(seconds) + seconds[-1] < _SHARE * point_seconds:
        seconds.append(_timed(decide))
    return {
        "milliseconds_median": 1e3 * float(np.median(seconds)),
        "milliseconds_largest": 1e3 * max(seconds),
        "repeats": len(seconds),
    }


def make_decision(
    config: Any, settings: ControlSettings, sizes: Mapping[str, int], dtype: str | None = None
) -> Callable[[], Any]:
    """Return a function that makes one decision of `sizes`, with a predictor of that Keras dtype policy."""
    from visual_foresight.benchmark.settings import make_planner
    from visual_foresight.planners import plan_many
    from visual_foresight.planners.objectives import PixelDistance
    from visual_foresight.predictor.predictor import VideoPredictor
    from visual_foresight.simulator import LearnedSimulator, SimulatorStart

    side, count = sizes["image_size"], sizes["environments"]
    predictor = VideoPredictor(dataclasses.replace(config, image_height=side, image_width=side), dtype=dtype)
    simulator: Any = LearnedSimulator(predictor)
    elites = min(settings.elites, sizes["candidates"])
    planner = make_planner(
        dataclasses.replace(settings, candidates=sizes["candidates"], horizon=sizes["horizon"], elites=elites)
    )
    space = spaces.Box(-1.0, 1.0, (config.action_size,), np.float32)
    objective = PixelDistance(np.array([side / 4, side / 4]))

    def decide() -> None:
        starts = SimulatorStart.stack([scene(simulator) for _ in range(count)])
        costs = simulator.cost_function(starts, [objective] * count)
        plan_many(planner, costs, space, rngs=[np.random.default_rng(seed) for seed in range(count)])

    return decide


def _timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def scale_table(results: Mapping[str, Any]) -> str:
    """Return the series as a table."""
    base = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in results["base"].items())
    lines = [f"a decision of {results['iterations']} iterations; where a series does not say otherwise: {base}"]
    for name, series in results["scale"].items():
        for point in series["points"]:
            lines.append(f"{name.replace('_', ' '):<14}{point[name]:>6}{point['milliseconds_median']:>12,.1f} ms")
        if series["left_out"]:
            lines.append(f"{name.replace('_', ' '):<14}left out: {', '.join(map(str, series['left_out']))}")
    return "\n".join(lines)


# ---- charts ------------------------------------------------------------------------------------------------------

_PANEL = (320, 240)  # width and height of one chart
_MARGIN = (72, 14, 26, 46)  # left, right, top, bottom
_MEANINGS = {
    "candidates": "candidates in an iteration",
    "horizon": "horizon [steps]",
    "image_size": "width and height of a frame [pixels]",
    "environments": "environments planned for in step",
}


def check_charts_name(path: Path) -> None:
    """Raises ValueError where the name does not end in .svg."""
    if path.suffix != ".svg":
        raise ValueError(f"--charts writes an SVG picture: end the name in .svg, got {path}")


def write_charts(path: Path, results: Mapping[str, Any]) -> None:
    """Write the series as an SVG picture, logarithmic on both axes: a slope of one is proportional cost.

    Raises:
        ValueError: the name does not end in .svg.
    """
    from visual_foresight.video_files import write_text

    check_charts_name(path)
    write_text(path, charts(results))


def charts(results: Mapping[str, Any]) -> str:
    """Return the picture: one panel for each series, all with the same vertical axis."""
    series = {
        name: [(float(point[name]), point["milliseconds_median"]) for point in each["points"]]
        for name, each in results["scale"].items()
    }
    times = [time for points in series.values() for _, time in points]
    low, high = np.floor(np.log10(min(times))), np.ceil(np.log10(max(times)) + 1e-9)
    width, height = _PANEL
    panels = [
        f'<g transform="translate({index % 2 * width} {index // 2 * height})">{_panel(name, points, low, high)}</g>'
        for index, (name, points) in enumerate(series.items())
    ]
    rows = -(-len(series) // 2)
    style = (
        "text{font:11px sans-serif;fill:#444}.title{font-weight:bold;fill:#111}"
        ".grid{stroke:#ccc}.line{stroke:#1769aa;stroke-width:2;fill:none}.dot{fill:#1769aa}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * width} {rows * height}" role="img" '
        f'aria-label="time of a decision against its size"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(panels)}</svg>\n'
    )


def _panel(name: str, points: Sequence[tuple[float, float]], low: float, high: float) -> str:
    width, height = _PANEL
    left, right, top, bottom = _MARGIN
    first, last = np.log(points[0][0]), np.log(points[-1][0])
    span = max(last - first, 1e-9)

    def x(value: float) -> float:
        return left + (width - left - right) * (np.log(value) - first) / span

    def y(milliseconds: float) -> float:
        return height - bottom - (height - top - bottom) * (np.log10(milliseconds) - low) / max(high - low, 1e-9)

    parts = [f'<text class="title" x="{left}" y="16">{name.replace("_", " ")}</text>']
    for power in range(int(low), int(high) + 1):
        line = y(10.0**power)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{line:.1f}" y2="{line:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{line + 4:.1f}" text-anchor="end">{_seconds(10.0**power)}</text>')
    places = [(x(value), y(time)) for value, time in points]
    for (value, _), (column, _) in zip(points, places, strict=True):
        parts.append(f'<text x="{column:.1f}" y="{height - bottom + 16}" text-anchor="middle">{value:g}</text>')
    path = " ".join(f"{column:.1f},{row:.1f}" for column, row in places)
    dots = "".join(f'<circle class="dot" cx="{column:.1f}" cy="{row:.1f}" r="3"/>' for column, row in places)
    across, down = (left + width - right) / 2, (top + height - bottom) / 2
    parts.append(f'<text x="{across}" y="{height - 10}" text-anchor="middle">{_MEANINGS[name]}</text>')
    parts.append(
        f'<text transform="translate(14 {down}) rotate(-90)" text-anchor="middle">time of a decision [ms or s]</text>'
    )
    return "".join(parts) + f'<polyline class="line" points="{path}"/>{dots}'


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds:g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"
