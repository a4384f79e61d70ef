"""One self-contained HTML page about control: no other file, no network, no script from elsewhere.

Every picture is a `data:` address, every chart inline SVG. Without JavaScript the film strips and charts remain; with
it a player lets the reader walk through the steps and look along each plan.
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from html import escape
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight import pictures
from visual_foresight.charts import Line, line_chart
from visual_foresight.control_record import ControlRecord, Decision, summarize
from visual_foresight.video_files import MARK, data_uri, png_bytes, write_text
from visual_foresight.wording import counted, distance_text, fact_text

NUM_FILM_FRAMES = 8


def write_report(
    path: str | os.PathLike,
    records: Sequence[ControlRecord],
    *,
    settings: Mapping[str, Any],
    title: str = "Visual Foresight: planned pushes",
    animation: Path | None = None,
) -> Path:
    """Write the report of some episodes of control.

    Args:
        path: of the page, for example "demo/report.html".
        records: the episodes, one at least.
        settings: name -> value of what was run; shown as a table.
        title: heading of the page.
        animation: a GIF that is carried inside the page, or None.

    Returns:
        The path.

    Raises:
        ValueError: when there is no episode.
    """
    summary = summarize(records)
    body = [_heading(title, summary, records)]
    if animation is not None:
        gif = data_uri(Path(animation).read_bytes(), "image/gif")
        body.append(
            f'<p><img class="animation" src="{gif}" alt="The first episode: on the left the camera, on the right what '
            'the plan expects, below the distance to the goal"></p>'
        )
    if len(records) > 1:
        body.append(_episode_table(records))
    # The first decision of a run may have to build and compile the model.
    body.extend(
        episode_section(record, anchor=f"episode-{index}", first_builds=index == 0)
        for index, record in enumerate(records)
    )
    body.append(fact_table("Settings", settings))
    body.append(fact_table("Versions", versions()))
    return write_text(path, whole_page(title, "\n".join(body)))


def versions() -> dict[str, str]:
    """Return what a result depends on: system, processor, and versions by distribution name; "-": not installed."""
    names = ("visual-foresight", "keras", "tensorflow", "jax", "mujoco-core", "gymnasium", "numpy")
    found = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
    }
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "-"
    return found


def processor_name() -> str:
    """Return the processor's model as the system names it; the architecture alone where it names none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # not Linux
        lines = []
    named = (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name")
    return next((name for name in named if name), platform.processor() or platform.machine())


def whole_page(title: str, body: str) -> str:
    """Return a page from its body (HTML), with style and script inside."""
    folder = resources.files("visual_foresight") / "page"
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="{MARK}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n"
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _heading(title: str, summary: Mapping[str, Any], records: Sequence[ControlRecord]) -> str:
    low, high = summary["success_interval_95"]
    figures = {"goals reached": f"{summary['num_successes']} of {summary['num_episodes']}"}
    if summary["num_episodes"] > 1:
        figures["95 % interval (Wilson)"] = f"{100 * low:.0f} to {100 * high:.0f} %"
    mean = ", mean" if len(records) > 1 else ""
    tolerance = records[0].tolerance
    figures[f"distance at the start{mean}"] = distance_text(summary["first_distance_px_mean"], tolerance)
    figures[f"distance at the end{mean}"] = distance_text(summary["last_distance_px_mean"], tolerance)
    if "decision_seconds" in summary:
        figures["a decision (median)"] = f"{summary['decision_seconds']['p50']:.2f} s"
    items = "".join(f"<li><b>{escape(value)}</b><span>{escape(name)}</span></li>" for name, value in figures.items())
    return (
        f"<h1>{escape(title)}</h1>\n"
        '<p class="soft">The robot is told which point (red cross) should come to which place (green ring). At every '
        "decision it imagines what the camera would see after many candidate action sequences, and follows the best."
        f'</p>\n<ul class="figures">{items}</ul>'
    )


def _episode_table(records: Sequence[ControlRecord]) -> str:
    rows = "".join(
        f'<tr><td><a href="#episode-{index}">{escape(record.name)}</a></td><td>{_badge(record)}</td>'
        f"<td>{_distance(record, 0)}</td><td>{_distance(record, -1)}</td><td>{record.num_steps}</td></tr>"
        for index, record in enumerate(records)
    )
    return (
        '<h2>Episodes</h2><div class="scroll"><table><tr><th>task</th><th>result</th><th>start</th>'
        f"<th>end</th><th>steps</th></tr>{rows}</table></div>"
    )


def _badge(record: ControlRecord) -> str:
    kind, word = ("yes", "reached") if record.success else ("no", "not reached")
    return f'<span class="badge {kind}">{word}</span>'


def _distance(record: ControlRecord, step: int) -> str:
    return distance_text(record.distances[step], record.tolerance)


def episode_section(record: ControlRecord, *, anchor: str, first_builds: bool = False) -> str:
    """Return one episode as a section of a page: player, film strips, charts.

    Args:
        record: the episode.
        anchor: id of the section.
        first_builds: whether its first decision may have built the model, so that the chart of times says so.
    """
    parts = [
        f'<section id="{escape(anchor)}"><h2>{escape(record.name)} {_badge(record)}</h2>',
        f"<p>{_distance(record, 0)} from the goal at the start, {_distance(record, -1)} after "
        f"{counted(record.num_steps, 'step')}; within {record.tolerance:g} px counts as reached.</p>",
        _player(record),
        _film(record),
        f'<div class="charts">{_charts(record, first_builds)}</div></section>',
    ]
    return "\n".join(parts)


def _player(record: ControlRecord) -> str:
    if not any(decision.frames is not None for decision in record.decisions):
        return ""
    content = {
        "size": list(record.frames.shape[1:3]),
        "real": data_uri(png_bytes(pictures.strip(record.frames))),
        "pixels": np.asarray(record.pixels).round(2).tolist(),
        "goal": np.asarray(record.goal).round(2).tolist(),
        "tolerance": float(record.tolerance),
        "distances": record.distances.round(3).tolist(),
        "decisions": [_player_decision(decision) for decision in record.decisions],
    }
    names = ("Camera now", "Imagined", "Where the point should be", "Camera then")
    views = "".join(
        f'<figure class="view"><svg role="img" aria-label="{name}"></svg><figcaption>{name}</figcaption></figure>'
        for name in names
    )
    # "<" cannot stand inside a script element: a name could close it.
    plain = json.dumps(content).replace("<", "\\u003c")
    return (
        f'<div class="player" hidden><div class="views">{views}</div>'
        '<label><span></span><input type="range" min="0" value="0" aria-label="step"></label>'
        '<label><span></span><input type="range" min="0" value="0" aria-label="steps ahead"></label>'
        f'<button type="button">Play</button><script type="application/json">{plain}</script></div>'
    )


def _player_decision(decision: Decision) -> dict[str, Any]:
    content: dict[str, Any] = {"step": decision.step, "count": 0}
    if decision.frames is not None:
        content["count"] = len(decision.frames)
        content["frames"] = data_uri(png_bytes(pictures.strip(decision.frames)))
        if decision.distributions is not None:
            content["heat"] = data_uri(png_bytes(pictures.strip(_heated(decision))))
    if decision.pixels is not None:
        content["pixels"] = np.asarray(decision.pixels).round(2).tolist()
    return content


def _heated(decision: Decision) -> np.ndarray:
    frames, maps = decision.frames, decision.distributions
    if frames is None or maps is None:
        raise ValueError("the decision holds no expected pictures or no probability maps")
    return np.stack([pictures.overlay_heat(frame, each, dim=True) for frame, each in zip(frames, maps, strict=True)])


def _film(record: ControlRecord) -> str:
    """Real frames over the steps, then the first plan's imagined ones and its probability maps, as one still.

    The rows cover different steps, so each picture has its own number.
    """
    steps = _spread(record.num_steps + 1)
    rows = [("what the camera saw, over the episode", [_numbered(_marked(record, step), step) for step in steps])]
    first = record.decisions[0] if record.decisions else None
    if first is not None and first.frames is not None:
        rows.append(("what the first plan expected to see", _expected(record, first, first.frames)))
        if first.distributions is not None:
            rows.append(("where it expected the designated point", _expected(record, first, _heated(first))))
    sheets = [pictures.titled(pictures.beside(images, gap=2), text, size=22) for text, images in rows]
    image = data_uri(png_bytes(pictures.above(sheets, gap=6)))
    alt = "; ".join(text for text, _ in rows)
    return f'<p class="wide"><img class="film" src="{image}" alt="Film strips: {escape(alt)}"></p>'


def _expected(record: ControlRecord, decision: Decision, frames: np.ndarray) -> list[np.ndarray]:
    return [_numbered(_goal_marked(record, frames[i]), decision.step + i + 1) for i in _spread(len(frames))]


def _numbered(image: np.ndarray, step: int) -> np.ndarray:
    return pictures.caption(image, f"step {step}", size=16)


def _spread(count: int) -> list[int]:
    return [int(index) for index in np.linspace(0, count - 1, min(NUM_FILM_FRAMES, count)).round()]


def _goal_marked(record: ControlRecord, frame: np.ndarray, scale: int = 3) -> np.ndarray:
    large = pictures.upscale(frame, scale)
    return pictures.mark_goal(large, record.goal, scale=scale, radius=record.tolerance, flag=False)


def _marked(record: ControlRecord, step: int, scale: int = 3) -> np.ndarray:
    return pictures.mark_cross(_goal_marked(record, record.frames[step], scale), record.pixels[step], scale=scale)


def _charts(record: ControlRecord, first_builds: bool) -> str:
    charts = [
        line_chart(
            [Line(record.distances)],
            title="Distance to the goal",
            x_label="step",
            y_label="pixels",
            threshold=(record.tolerance, "reached"),
        )
    ]
    searched = [decision for decision in record.decisions if len(decision.elite_costs) > 1]
    if searched:
        lines = [Line(decision.elite_costs, kind="faint") for decision in searched[1:-1]]
        lines.append(Line(searched[0].elite_costs, name="first decision", kind="second"))
        if len(searched) > 1:
            lines.append(Line(searched[-1].elite_costs, name="last", kind="main"))
        charts.append(
            line_chart(
                lines, title="Mean cost of the elites while planning", x_label="iteration of the search", y_label="cost"
            )
        )
    steps = [decision.step for decision in record.decisions]
    charts.append(
        line_chart(
            [Line([decision.cost for decision in record.decisions], positions=steps)],
            title="Expected cost of the chosen plan",
            x_label="step",
            y_label="cost",
        )
    )
    charts.append(
        line_chart(
            [Line(record.decision_seconds, positions=steps, kind="second")],
            title="Time of a decision" + (" (the first one may include building the model)" if first_builds else ""),
            x_label="step",
            y_label="seconds",
        )
    )
    return "".join(charts)


def fact_table(title: str, values: Mapping[str, Any]) -> str:
    """Return names and values as a table under a heading."""
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(fact_text(value))}</td></tr>" for name, value in values.items()
    )
    return f'<h2>{escape(title)}</h2><div class="scroll"><table>{rows}</table></div>'
