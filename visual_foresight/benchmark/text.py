"""Results for a person at a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from visual_foresight.benchmark.judging import RANK_NOTE
from visual_foresight.wording import aligned, counted

Figures = Mapping[str, Any]

DISTANCES = ("first_distance_px", "final_distance_px", "final_distance_cm")
"""Figures that cannot be negative, whatever Student's interval says."""


def results_text(results: Mapping[str, Any]) -> str:
    """Return the table of methods, what is missing, strata of the first method, and decision times."""
    figures = results["figures"]
    parts = [method_table(figures)]
    if "missing" in results:
        parts.append(
            "\n".join(f"{part['part']:<10} lacks {_points(part)}  ({part['meaning']})" for part in results["missing"])
        )
    if "shifts" in results:
        parts.extend(shift_table(method, curve) for method, curve in results["shifts"].items())
    several = len({one["shift"] for one in figures}) > 1
    parts.extend(strata_table(one, tell_world=several) for one in figures[:1] if one["num_tasks"] > 1)
    parts.extend(correlation_table(one) for one in figures if "rank_correlation" in one)
    return "\n\n".join(parts)


def method_table(figures: Sequence[Figures]) -> str:
    """Return one line for each method and shift."""
    names = "method, n, within 3 px, 95 %, any time, 4 px, final px, gained px, final cm, gained cm"
    rows = [[*names.split(", "), "Hz", "p50 s", "p95 s", "max s"]]
    with_deadline = any("missed_share" in one.get("decisions", {}) for one in figures)
    if with_deadline:
        rows[0] += ["missed", "iterations"]
    for one in figures:
        name = one["method"] if one["shift"] == "none" else f"{one['method']}, {one['shift']}"
        row = [name, str(one["num_episodes"]), _rate(one["success"]), _interval(one["success"])]
        row += [_rate(one["success_any_time"]), _rate(one["success_4px"])]
        row += [_mean(one, f"{kind}_{unit}") for unit in ("px", "cm") for kind in ("final_distance", "improvement")]
        times = one.get("decisions")
        if times is None:
            row += ["-"] * (6 if with_deadline else 4)
        else:
            row += [f"{times['hertz']:.1f}", *(f"{times[name]:.3f}" for name in ("p50", "p95", "max"))]
            if with_deadline:
                row += [f"{100 * times['missed_share']:.1f} %", f"{times['iterations_mean']:.1f}"]
        rows.append(row)
    return aligned(rows)


def strata_table(figures: Figures, *, tell_world: bool = False) -> str:
    """Return success by direction, shape and distance of one method in one world, and the causes of its failures.

    Args:
        figures: of the method in that world.
        tell_world: whether to say which world it is, because the run has others too.
    """
    world = f" in the {'unshifted' if figures['shift'] == 'none' else figures['shift']} world" if tell_world else ""
    rows = [[f"{figures['method']}{world}, by", "", "n", "within 3 px", "95 %", "final px"]]
    for name, strata in figures["strata"].items():
        for value, one in strata.items():
            row = [name.replace("num_objects", "objects"), value, str(one["of"]), _rate(one), _interval(one)]
            rows.append([*row, f"{one['final_distance_px']:.1f}"])
    text = aligned(rows)
    if figures["causes"]:
        text += f"\nfailures{world}: " + ", ".join(f"{name} {count}" for name, count in figures["causes"].items())
    return text


def shift_table(method: str, curve: Sequence[Figures]) -> str:
    """Return success under each shift and its paired difference from the unshifted world."""
    rows = [[f"{method}, shift", "n", "within 3 px", "95 %", "difference", "95 %"]]
    for point in curve:
        row = [point["shift"], str(point["success"]["of"]), _rate(point["success"]), _interval(point["success"])]
        if "difference" in point:
            found = point["difference"]
            low, high = found["interval_95"]
            row += [f"{100 * found['difference']:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"]
        else:
            row += ["", ""]
        rows.append(row)
    return aligned(rows)


def correlation_table(figures: Figures) -> str:
    """Return the rank correlation of the objective and its terms with the true remaining distance."""
    world = "" if figures["shift"] == "none" else f", {figures['shift']}"
    rows = [[f"{figures['method']}{world}", "rank correlation", "95 %", "decisions"]]
    for name, one in figures["rank_correlation"].items():
        if one["value"] is None:
            rows.append([name, "-", "-", str(one["num_decisions"])])
        else:
            rows.append([name, f"{one['value']:.3f}", _range(one["low"], one["high"]), str(one["num_decisions"])])
    return f"{RANK_NOTE}\n{aligned(rows)}"


def comparison_text(comparison: Mapping[str, Any]) -> str:
    """Return a comparison of two results files."""
    lines = [f"first: {comparison['first']}", f"second: {comparison['second']}"]
    for one in comparison["comparisons"]:
        success, distance = one["success"], one["final_distance_px"]
        low, high = success["interval_95"]
        name = one["first"] if one["first"] == one["second"] else f"{one['first']} and {one['second']}"
        world = "" if one["shift"] == "none" else f", {one['shift']}"
        lines += [
            f"{name}{world}: {counted(one['num_pairs'], 'pair')}, {counted(one['num_tasks'], 'task')}",
            f"  success {100 * success['first']:.1f} % and {100 * success['second']:.1f} %: "
            f"{100 * success['difference']:+.1f} points (95 % {100 * low:+.1f} to {100 * high:+.1f}), "
            f"p = {success['p_value']:.3g} ({success['test']}; only first {success['only_first']}, "
            f"only second {success['only_second']})",
            f"  final distance {distance['difference']:+.2f} px (95 % {distance['interval_95'][0]:+.2f} to "
            f"{distance['interval_95'][1]:+.2f}, {distance['interval']})",
        ]
    return "\n".join(lines)


def _rate(share: Figures) -> str:
    return f"{100 * share['rate']:.1f} %"


def _interval(share: Figures) -> str:
    low, high = share["interval_95"]
    return f"{100 * low:.1f}-{100 * high:.1f}"


def _points(part: Figures) -> str:
    low, high = part["interval_95"]
    return f"{100 * part['share']:5.1f} points (95 % {100 * low:.1f} to {100 * high:.1f})"


def _mean(figures: Figures, name: str) -> str:
    if name not in figures:
        return "-"
    found = figures[name]
    mean = f"{round(found['mean'], 1) + 0.0:.1f}"  # what rounds to nothing has no sign
    if found["interval_95"] is None:
        return mean
    low, high = found["interval_95"]
    if low < 0 and name in DISTANCES:  # there is no distance below 0, so the bounds say it better than "±"
        return f"{mean} (0.0-{high:.1f})"
    half = (high - low) / 2
    return f"{mean} ± {half:.1f}"


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.3f} to {high:.3f}"
