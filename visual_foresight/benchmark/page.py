"""The report of a benchmark run: one self-contained page."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.benchmark import gallery
from visual_foresight.benchmark.judging import RANK_NOTE
from visual_foresight.benchmark.methods import METHODS
from visual_foresight.benchmark.summary import group_rows
from visual_foresight.benchmark.text import DISTANCES
from visual_foresight.charts import Line, line_chart
from visual_foresight.report import fact_table, whole_page
from visual_foresight.video_files import write_text

KINDS = ("main", "second", "third", "fourth", "faint", "soft")
TITLE = "Visual Foresight: control benchmark"

Figures = Mapping[str, Any]


def write_benchmark_report(path: str | os.PathLike, results: Figures, *, pictures: Path | None = None) -> Path:
    """Write the report of a run and return its path.

    Args:
        path: of the page.
        results: from `make_results`.
        pictures: folder that `gallery.keep_pictures` filled, or None.
    """
    body = [_heading(results), _methods(results["figures"]), _distance_chart(results["episodes"])]
    if "missing" in results:
        body.append(_missing(results["missing"]))
    body.extend(_shifts(method, curve) for method, curve in results.get("shifts", {}).items())
    body.append(_strata(results["figures"]))
    body.extend(_correlations(one) for one in results["figures"] if "rank_correlation" in one)
    if pictures is not None:
        body.append(_failures(pictures, results["episodes"]))
        body.append(gallery.played_sections(pictures, results["episodes"]))
    body.append(fact_table("Settings", results["settings"]))
    body.extend(fact_table(f"Method {name}", facts) for name, facts in results["methods"].items() if facts)
    body.append(fact_table("Protocol", results["protocol"]))
    body.append(fact_table("Versions", results["versions"]))
    return write_text(path, whole_page(TITLE, "\n".join(body)))


def _heading(results: Figures) -> str:
    first, protocol = results["figures"][0], results["protocol"]
    low, high = first["success"]["interval_95"]
    figures = {
        f"{first['method']}: within 3 px": f"{100 * first['success']['rate']:.0f} %",
        "95 % interval (Wilson)": f"{100 * low:.0f} to {100 * high:.0f} %",
        "final distance": f"{first['final_distance_px']['mean']:.1f} px",
        "tasks, episodes": f"{first['num_tasks']}, {first['num_episodes']}",
    }
    if "decisions" in first:
        figures["a decision (median)"] = f"{first['decisions']['p50']:.3f} s"
    items = "".join(f"<li><b>{escape(value)}</b><span>{escape(name)}</span></li>" for name, value in figures.items())
    return (
        f"<h1>{TITLE}</h1>\n"
        f'<p class="soft">Tasks {escape(protocol["tasks"]["name"])}: move an object until its centre is at the goal, '
        f"within {protocol['budget_steps']} steps. Success: {escape(protocol['success'])}. "
        f"Protocol {protocol['sha256'][:16]}.</p>\n"
        f'<ul class="figures">{items}</ul>'
    )


def _methods(figures: Sequence[Figures]) -> str:
    names = ["method", "n", "within 3 px", "95 %", "at any time", "within 4 px", "final distance [px]", "gained [px]"]
    names += ["final [cm]", "gained [cm]"]
    rows, times = [], []
    for one in figures:
        row = [_name(one), str(one["num_episodes"]), _rate(one["success"]), _interval(one["success"])]
        row += [f"{_rate(one[kind])} ({_short_interval(one[kind])})" for kind in ("success_any_time", "success_4px")]
        row += [_mean(one, f"{kind}_{unit}") for unit in ("px", "cm") for kind in ("final_distance", "improvement")]
        rows.append(row)
        if "decisions" in one:
            times.append([_name(one), *_times(one["decisions"])])
    meanings = "".join(
        f"<li><b>{escape(name)}</b>: {escape(METHODS[name])}</li>"
        for name in dict.fromkeys(one["method"] for one in figures)
    )
    tables = html_table(names, rows)
    if times:
        tables += html_table(["method", "decisions/s", "p50 [s]", "p95 [s]", "max [s]", "missed deadlines"], times)
    return f"<h2>Methods</h2><div class='tight'>{tables}</div><ul class='soft'>{meanings}</ul>"


def _short_interval(share: Figures) -> str:
    low, high = share["interval_95"]
    return f"{100 * low:.0f} to {100 * high:.0f}"


def _times(times: Figures) -> list[str]:
    missed = f"{100 * times['missed_share']:.1f} %" if "missed_share" in times else "-"
    return [f"{times['hertz']:.1f}", *(f"{times[name]:.3f}" for name in ("p50", "p95", "max")), missed]


def _missing(parts: Sequence[Figures]) -> str:
    rows = []
    for part in parts:
        low, high = part["interval_95"]
        rows.append(
            [part["part"], f"{100 * part['share']:.1f}", f"{100 * low:.1f} to {100 * high:.1f}", part["meaning"]]
        )
    return f"<h2>What is missing to 100 %</h2>{html_table(['of', 'points', '95 %', 'difference of'], rows)}"


def _shifts(method: str, curve: Sequence[Figures]) -> str:
    rows = []
    for point in curve:
        row = [point["shift"], str(point["success"]["of"]), _rate(point["success"]), _interval(point["success"])]
        if "difference" in point:
            low, high = point["difference"]["interval_95"]
            row += [f"{100 * point['difference']['difference']:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"]
        else:
            row += ["", ""]
        rows.append(row)
    names = ["shift", "n", "within 3 px", "95 %", "paired difference [points]", "95 %"]
    return f"<h2>Robustness of {escape(method)}</h2>{html_table(names, rows)}"


def _strata(figures: Sequence[Figures]) -> str:
    """One table for all methods that plan, in the unshifted world."""
    chosen = [one for one in figures if one["shift"] == "none" and "decisions" in one and one["num_tasks"] > 1]
    if not chosen:
        return ""
    rows = []
    for name, strata in chosen[0]["strata"].items():
        for value, first in strata.items():
            found = [one["strata"][name].get(value) for one in chosen]
            cells = ["-" if one is None else f"{_rate(one)} ({_interval(one)})" for one in found]
            rows.append([name.replace("num_objects", "objects"), value, str(first["of"]), *cells])
    table = html_table(["by", "", "n", *(one["method"] for one in chosen)], rows)
    world = " in the unshifted world" if len({one["shift"] for one in figures}) > 1 else ""
    return f"<h2>Which pushes succeed{world}</h2>{table}"


def _correlations(figures: Figures) -> str:
    rows = [
        [name, *("-" if one[key] is None else f"{one[key]:.3f}" for key in ("value", "low", "high"))]
        + [str(one["num_decisions"])]
        for name, one in figures["rank_correlation"].items()
    ]
    table = html_table(["cost", "rank correlation", "low", "high", "decisions"], rows)
    note = f"<p class='soft'>{escape(RANK_NOTE[:1].upper() + RANK_NOTE[1:])}</p>"
    return f"<h2>{escape(_name(figures))}: costs against the true remaining distance</h2>{note}{table}"


def _failures(folder: Path, rows: Sequence[Figures]) -> str:
    parts = []
    for (method, shift), found in group_rows(rows).items():
        gallery_html = (
            gallery.failure_gallery(folder, found) if any(row.get("decision_seconds") for row in found) else ""
        )
        if gallery_html:
            world = "" if shift == "none" else f", {shift}"
            parts.append(f"<h2>Failures of {escape(method + world)}, by cause</h2>{gallery_html}")
    return "\n".join(parts)


def _distance_chart(rows: Sequence[Figures]) -> str:
    """Mean distance to the goal over the steps, a line for each method in the unshifted world."""
    lines: list[Line] = []
    for (method, shift), found in group_rows(rows).items():
        ran = [row["distances_px"] for row in found if "skipped" not in row]
        if shift != "none" or not ran or len(lines) == len(KINDS):
            continue
        length = max(map(len, ran))
        means = np.mean([[*one, *one[-1:] * (length - len(one))] for one in ran], axis=0)
        lines.append(Line(means, name=method, kind=KINDS[len(lines)]))
    chart = line_chart(
        lines, title="Mean distance to the goal", x_label="step", y_label="pixels", threshold=(3.0, "success")
    )
    return f'<div class="charts">{chart}</div>'


def html_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; every cell is text."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _name(figures: Figures) -> str:
    return figures["method"] if figures["shift"] == "none" else f"{figures['method']}, {figures['shift']}"


def _rate(share: Figures) -> str:
    return f"{100 * share['rate']:.1f} %"


def _interval(share: Figures) -> str:
    low, high = share["interval_95"]
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def _mean(figures: Figures, name: str) -> str:
    if name not in figures:
        return "-"
    found = figures[name]
    if found["interval_95"] is None:
        return f"{found['mean']:.1f}"
    low, high = found["interval_95"]
    if name in DISTANCES:
        low = max(low, 0.0)
    return f"{found['mean']:.1f} ({low:.1f} to {high:.1f})"
