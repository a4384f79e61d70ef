"""Figures of many episodes, with intervals, from their rows; everything JSON-plain."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from visual_foresight.benchmark.comparison import compare_rows
from visual_foresight.benchmark.judging import rank_correlations
from visual_foresight.benchmark.methods import METHODS
from visual_foresight.benchmark.statistics import mean_interval, share_interval

Rows = Sequence[Mapping[str, Any]]

SUCCESSES = ("success", "success_any_time", "success_4px")
DISTANCES = ("first_distance_px", "final_distance_px", "improvement_px", "final_distance_cm", "improvement_cm")
STRATA = ("direction", "shape", "distance", "num_objects")


def summarize_method(rows: Rows) -> dict[str, Any]:
    """Return the figures of one method in one world.

    Shares have Wilson intervals, means Student's t; with several planner seeds both count tasks, not episodes, as
    independent (`benchmark.statistics`).

    Raises:
        ValueError: no row.
    """
    ran = [row for row in rows if "skipped" not in row]
    if not ran:
        raise ValueError("there is no episode to summarize")
    tasks = [row["task"] for row in ran]
    summary: dict[str, Any] = {
        "num_tasks": len(set(tasks)),
        "num_episodes": len(ran),
        "num_skipped": len(rows) - len(ran),
        "planner_seeds": sorted({row["planner_seed"] for row in ran}),
    }
    summary |= {name: _share([row[name] for row in ran], tasks) for name in SUCCESSES}
    summary |= {name: _mean([row[name] for row in ran], tasks) for name in DISTANCES if name in ran[0]}
    summary["strata"] = {name: _stratum(ran, name) for name in STRATA}
    summary["causes"] = dict(Counter(row["cause"] for row in ran if row["cause"]).most_common())
    decisions = decision_statistics(ran)
    if decisions is not None:
        summary["decisions"] = decisions
    correlations = rank_correlations(ran)
    if correlations is not None:
        summary["rank_correlation"] = correlations
    return summary


def decision_statistics(rows: Rows) -> dict[str, Any] | None:
    """Return times and iterations over all decisions of rows; None where nothing was decided.

    `hertz` is decisions per second of deciding (1 / mean), what the loop reaches if nothing else takes time.
    """
    seconds = np.array([value for row in rows for value in row["decision_seconds"]])
    if not len(seconds):
        return None
    iterations = np.array([value for row in rows for value in row["decision_iterations"]])
    statistics: dict[str, Any] = {
        "num": len(seconds),
        "hertz": float(1 / max(seconds.mean(), 1e-9)),
        "p50": float(np.percentile(seconds, 50)),
        "p95": float(np.percentile(seconds, 95)),
        "max": float(seconds.max()),
        "iterations_mean": float(iterations.mean()),
        "iterations_min": int(iterations.min()),
    }
    if all("missed_deadlines" in row for row in rows):
        missed = sum(row["missed_deadlines"] for row in rows)
        statistics["missed"] = missed
        statistics["missed_share"] = missed / len(seconds)
    return statistics


def what_is_missing(rows: Rows) -> list[dict[str, Any]] | None:
    """Split what the learned model lacks to 100 % into planner, objective and model; None unless two oracles are there.

    Each part is the paired difference of two methods on the same tasks, in the unshifted world. An episode of a method
    with fewer planner seeds stands beside several of the other; intervals count tasks.
    """
    by_method = group_rows(rows)
    oracle, pixel, learned = (by_method.get((name, "none")) for name in ("true-state", "true", "learned"))
    if oracle is None or pixel is None:
        return None
    best = summarize_method(oracle)["success"]
    low, high = best["interval_95"]
    parts = [
        {
            "part": "planner",
            "meaning": "100 % - oracle with true state",
            "share": 1 - best["rate"],
            "interval_95": [1 - high, 1 - low],
        },
        _part("objective", "oracle with true state - oracle with pixels", pixel, oracle),
    ]
    if learned is not None:
        parts.append(_part("model", "oracle with pixels - learned model", learned, pixel))
    return parts


def shift_curve(rows: Rows, method: str) -> list[dict[str, Any]]:
    """Return success under each shift, and its paired difference from the unshifted world; the unshifted one first."""
    groups = {shift: found for (name, shift), found in group_rows(rows).items() if name == method}
    curve = []
    for shift in sorted(filter(lambda name: has_run(groups[name]), groups), key=lambda name: (name != "none", name)):
        point: dict[str, Any] = {"shift": shift, "success": summarize_method(groups[shift])["success"]}
        if shift != "none" and "none" in groups:
            difference = compare_rows(groups["none"], groups[shift], across_shifts=True)
            point["difference"] = difference["success"]
        curve.append(point)
    return curve


def has_run(rows: Rows) -> bool:
    """Whether any episode was run; in a shifted world there may be no room for a single task."""
    return any("skipped" not in row for row in rows)


def group_rows(rows: Rows) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Return rows by (method, shift), methods in the order of `METHODS`."""
    order = list(METHODS)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (order.index(row["method"]), row["shift"] != "none", row["shift"])):
        groups.setdefault((row["method"], row["shift"]), []).append(row)
    return groups


def _part(name: str, meaning: str, lesser: Rows, greater: Rows) -> dict[str, Any]:
    seeds = max((_planner_seeds(rows) for rows in (lesser, greater)), key=len)
    found = compare_rows(_for_seeds(lesser, seeds), _for_seeds(greater, seeds))["success"]
    return {"part": name, "meaning": meaning, "share": found["difference"], "interval_95": found["interval_95"]}


def _planner_seeds(rows: Rows) -> list[int]:
    return sorted({row["planner_seed"] for row in rows if "skipped" not in row})


def _for_seeds(rows: Rows, seeds: Sequence[int]) -> Rows:
    """Rows for all the seeds; where there are fewer, each in turn stands for several."""
    own = _planner_seeds(rows)
    stands_for: dict[int, list[int]] = {}
    for index, seed in enumerate(seeds):
        stands_for.setdefault(seed if seed in own else own[index % len(own)], []).append(seed)
    return [
        {**row, "planner_seed": seed}
        for row in rows
        if "skipped" not in row
        for seed in stands_for.get(row["planner_seed"], [])
    ]


def _share(outcomes: Sequence[bool], tasks: Sequence[Any]) -> dict[str, Any]:
    low, high = share_interval(outcomes, tasks)
    return {
        "num": int(sum(outcomes)),
        "of": len(outcomes),
        "rate": float(np.mean(outcomes)),
        "interval_95": [low, high],
    }


def _mean(values: Sequence[float], tasks: Sequence[Any]) -> dict[str, Any]:
    low, high = mean_interval(values, tasks)
    interval = [low, high] if np.isfinite(low) else None
    return {"mean": float(np.mean(values)), "median": float(np.median(values)), "interval_95": interval}


def _stratum(rows: Rows, name: str) -> dict[str, Any]:
    values = sorted({row[name] for row in rows})
    chosen = {str(value): [row for row in rows if row[name] == value] for value in values}
    return {
        value: {
            **_share([row["success"] for row in found], [row["task"] for row in found]),
            "final_distance_px": float(np.mean([row["final_distance_px"] for row in found])),
        }
        for value, found in chosen.items()
    }
