"""The moving picture of an episode of control: what the camera saw beside what the plan expected."""

from collections.abc import Iterator

import numpy as np

from visual_foresight import pictures
from visual_foresight.control_record import ControlRecord, Decision
from visual_foresight.wording import counted, distance_text


def control_frames(record: ControlRecord, *, scale: int = 5, glances: int = 3) -> Iterator[np.ndarray]:
    """Yield the pictures of an episode for a GIF or MP4.

    On the left the camera at each step, on the right the expected pictures of the plan in force, below the distance.
    Between two steps the right side looks ahead along the plan.

    Args:
        record: the episode.
        scale: factor by which frames are enlarged.
        glances: how many expected pictures are shown for each executed step.

    Yields:
        uint8 pictures of one size; the last one is repeated as a pause before the loop starts again.
    """
    for step in range(record.num_steps + 1):
        left = _camera_side(record, step, scale)
        decision = record.decision_at(min(step, record.num_steps - 1))
        steps_ahead = _steps_ahead(decision, step, glances)
        for ahead in steps_ahead:
            right = _plan_side(record, decision, ahead, scale)
            yield _composed(record, step, left, right)
    last = _composed(record, record.num_steps, left, right)
    for _ in range(4 * glances):
        yield last


def _steps_ahead(decision: Decision | None, step: int, glances: int) -> list[int]:
    """Indices into the plan's horizon, from the next step to the last, `glances` of them."""
    if decision is None or decision.frames is None:
        return [0] * glances
    horizon = len(decision.frames)
    first = min(max(step - decision.step, 0), horizon - 1)
    return [int(index) for index in np.linspace(first, horizon - 1, glances).round()]


def _camera_side(record: ControlRecord, step: int, scale: int) -> np.ndarray:
    image = pictures.upscale(record.frames[step], scale)
    image = pictures.mark_path(image, record.pixels[: step + 1], scale=scale)
    image = pictures.mark_goal(image, record.goal, scale=scale, radius=record.tolerance)
    image = pictures.mark_cross(image, record.pixels[step], scale=scale)
    return pictures.caption(image, f"camera, step {step} of {record.num_steps}")


def _plan_side(record: ControlRecord, decision: Decision | None, ahead: int, scale: int) -> np.ndarray:
    if decision is None or decision.frames is None:
        blank = np.full_like(record.frames[0], 40)
        return pictures.caption(pictures.upscale(blank, scale), "this simulator draws no pictures")
    frame = decision.frames[ahead]
    if decision.distributions is not None:
        frame = pictures.overlay_heat(frame, decision.distributions[ahead])
    image = pictures.upscale(frame, scale)
    image = pictures.mark_goal(image, record.goal, scale=scale, radius=record.tolerance)
    if decision.pixels is not None:
        image = pictures.mark_cross(image, decision.pixels[ahead], scale=scale, color=pictures.PREDICTED)
    return pictures.caption(image, f"imagined, {counted(ahead + 1, 'step')} after step {decision.step}")


def _composed(record: ControlRecord, step: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    top = pictures.beside([left, right])
    distances = record.distances
    outcome = ""
    if step == record.num_steps:
        outcome = ": goal reached" if record.success else ": goal not reached"
    chart = pictures.line_plot(
        distances[: step + 1],
        size=(96, top.shape[1]),
        title=f"distance to the goal: {distance_text(distances[step], record.tolerance)}{outcome}",
        upper=float(distances.max()),
        length=record.num_steps + 1,
        threshold=record.tolerance,
    )
    return pictures.above([top, chart])
