"""Pictures of episodes for the report: a strip of every failure, and the first episodes step by step.

They are drawn where the episode ran and kept as files, so that a run that was stopped, or split over processes, has
them all in the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight import pictures
from visual_foresight.benchmark.causes import CAUSES
from visual_foresight.benchmark.methods import METHODS
from visual_foresight.control_record import ControlRecord, Decision
from visual_foresight.report import episode_section
from visual_foresight.video_files import data_uri, write_png, write_text
from visual_foresight.wording import distance_text

NUM_PLAYED = 3  # the first tasks are shown step by step
NUM_PER_CAUSE = 4
NUM_COLUMNS = 8
SCALE = 2
LEAST_WIDTH = 480  # of a strip, so that the titles of its curves find room
_PLAYED_METHODS = ("learned", "true")


def keep_pictures(folder: Path, record: ControlRecord, row: Mapping[str, Any]) -> None:
    """Write what the report may show of an episode into a folder."""
    if row["cause"] and record.decisions:
        write_png(picture_path(folder, row), failure_strip(record))
    if is_played(row):
        anchor = f"episode-{_stem(row)}"
        shift = "" if row["shift"] == "none" else f", {row['shift']}"
        told = replace(record, name=f"{record.name}, {row['method']}, planner seed {row['planner_seed']}{shift}")
        write_text(_section_path(folder, row), episode_section(told, anchor=anchor))


def discard_unfinished(folder: Path) -> None:
    """Delete the temporary files of workers that an interrupt ended."""
    for path in folder.glob(".*-*.*"):
        path.unlink(missing_ok=True)


def discard_pictures(folder: Path) -> None:
    """Delete what `keep_pictures` wrote into a folder, and nothing else."""
    for method in METHODS:
        for path in folder.glob(f"{method}-*-[0-9][0-9][0-9]-*.*"):
            path.unlink(missing_ok=True)


def is_played(row: Mapping[str, Any]) -> bool:
    """Whether an episode is shown step by step."""
    return row["method"] in _PLAYED_METHODS and row["shift"] == "none" and row["task"] < NUM_PLAYED


def picture_path(folder: Path, row: Mapping[str, Any]) -> Path:
    """Return where the strip of a failed episode is kept."""
    return folder / f"{_stem(row)}.png"


def played_sections(folder: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the first episodes of the first planner seed, step by step, as HTML; those whose file is there."""
    first_seed = min(row["planner_seed"] for row in rows)
    chosen = [row for row in rows if "skipped" not in row and is_played(row) and row["planner_seed"] == first_seed]
    paths = [_section_path(folder, row) for row in chosen]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())


def failure_gallery(folder: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return failures grouped by cause, the most frequent cause first, in each the worst first, as HTML."""
    failed = [row for row in rows if row.get("cause")]
    groups = {cause: [row for row in failed if row["cause"] == cause] for cause in CAUSES}
    parts = []
    for cause, found in sorted(groups.items(), key=lambda item: -len(item[1])):
        if not found:
            continue
        parts.append(f"<h3>{escape(cause)}: {len(found)}</h3><p class='soft'>{escape(CAUSES[cause])}</p>")
        worst = sorted(found, key=lambda row: -row["final_distance_px"])[:NUM_PER_CAUSE]
        parts.extend(_failure(folder, row) for row in worst)
    return "\n".join(parts)


def failure_strip(record: ControlRecord, *, columns: int = NUM_COLUMNS, scale: int = SCALE) -> np.ndarray:
    """Draw an episode in rows: the camera; what the plan made then promised for its end, as picture and as map; cost.

    Args:
        record: with at least one decision.
        columns: moments shown, from the first to the last decision.
        scale: factor by which frames are enlarged.

    Returns:
        uint8 [rows, cols, 3].
    """
    chosen = np.unique(np.linspace(0, len(record.decisions) - 1, columns).round().astype(int))
    decisions = [record.decisions[index] for index in chosen]
    rows = [
        ("the camera at the step of the decision", [_camera(record, one.step, scale) for one in decisions]),
        ("what the plan made then expected to see at its end", [_promise(record, one, scale) for one in decisions]),
        ("where it expected the designated point", [_promise(record, one, scale, heat=True) for one in decisions]),
    ]
    sheets = [
        pictures.titled(pictures.beside(images, gap=2), text, size=12, least_width=LEAST_WIDTH) for text, images in rows
    ]
    sheets.append(_curves(record, sheets[0].shape[1]))
    return pictures.above(sheets, gap=3)


def _camera(record: ControlRecord, step: int, scale: int) -> np.ndarray:
    image = pictures.upscale(record.frames[step], scale)
    image = pictures.mark_path(image, record.pixels[: step + 1], scale=scale)
    image = pictures.mark_goal(image, record.goal, scale=scale, radius=record.tolerance, flag=False)
    image = pictures.mark_cross(image, record.pixels[step], scale=scale)
    return pictures.caption(image, f"{step}: {distance_text(record.distances[step], record.tolerance)}", size=11)


def _promise(record: ControlRecord, decision: Decision, scale: int, *, heat: bool = False) -> np.ndarray:
    if decision.frames is None:
        return np.full((record.frames.shape[1] * scale, record.frames.shape[2] * scale, 3), 40, np.uint8)
    frame = decision.frames[-1]
    if heat and decision.distributions is not None:
        frame = pictures.overlay_heat(frame, decision.distributions[-1], dim=True)
    image = pictures.upscale(frame, scale)
    image = pictures.mark_goal(image, record.goal, scale=scale, radius=record.tolerance, flag=False)
    if decision.pixels is not None and not heat:  # it would hide the map, which is as small
        image = pictures.mark_cross(image, decision.pixels[-1], scale=scale, color=pictures.PREDICTED)
    return image


def _curves(record: ControlRecord, width: int) -> np.ndarray:
    size = (90, width // 2 - 2)
    distance = pictures.line_plot(
        record.distances, size=size, title="distance to the goal [px] over steps", threshold=record.tolerance
    )
    costs = [decision.cost for decision in record.decisions]
    cost = pictures.line_plot(costs, size=size, title="expected cost over decisions", color=pictures.PREDICTED)
    return pictures.beside([distance, cost])


def _failure(folder: Path, row: Mapping[str, Any]) -> str:
    path = picture_path(folder, row)
    signs = ", ".join(row["signs"])
    start, end = (distance_text(row[name], row["tolerance_px"]) for name in ("first_distance_px", "final_distance_px"))
    world = "" if row["shift"] == "none" else f", {row['shift']}"
    text = (
        f"{row['method']}{world}, task {row['task']}, planner seed {row['planner_seed']}: {row['shape']}, "
        f"{row['direction']}, {start} at the start, {end} at the end; signs: {signs}"
    )
    if not path.is_file():
        return f"<p>{escape(text)}</p>"
    image = data_uri(path.read_bytes())
    return (
        f'<figure class="failure"><img class="film" src="{image}" alt="{escape(text)}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )


def _section_path(folder: Path, row: Mapping[str, Any]) -> Path:
    return folder / f"{_stem(row)}.html"


def _stem(row: Mapping[str, Any]) -> str:
    world = row["shift"].replace("=", "_").replace("/", "_")
    return f"{row['method']}-{world}-{row['task']:03d}-{row['planner_seed']}"
