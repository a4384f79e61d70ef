"""What two results must share to be compared: the world, the tasks, the budget, the picture, the rule of success."""

import hashlib
import json
from importlib import metadata
from typing import Any

from visual_foresight.benchmark.settings import ControlSettings

PREPROCESSING = "uint8 frames as drawn, divided by 255; no crop, no resize"
DESIGNATED = "true pixel of the centre of the object's top, told at every step"


def describe_protocol(
    environment: Any, environment_id: str, tasks: Any, settings: ControlSettings, *, until: str = "budget"
) -> dict[str, Any]:
    """Return the protocol of a run, JSON-plain, with its hash under "sha256".

    A shift of the world is no part of it: rows are compared under the same shift only.

    Args:
        environment: the real one, made without a shift.
        environment_id: its gymnasium id.
        tasks: the whole `TaskSet`, also where only the first tasks are run.
        settings: for the budget.
        until: "budget": all steps are executed; "stopped": or until the controller stands still at the goal.
    """
    from visual_foresight.envs.push import ENVIRONMENT_VERSION
    from visual_foresight.envs.tasks import SUCCESS_PIXELS

    env = environment.unwrapped
    protocol: dict[str, Any] = {
        "environment": environment_id,
        "environment_version": ENVIRONMENT_VERSION,
        "mujoco": metadata.version("mujoco-core"),
        "camera": env.camera.digest(),
        "image_size": [env.camera.height, env.camera.width],
        "drawing": dict(env.drawing),
        "preprocessing": PREPROCESSING,
        "designated_pixel": DESIGNATED,
        "tasks": {"name": tasks.name, "sha256": tasks.sha256, "num_tasks": len(tasks)},
        "budget_steps": settings.steps,
        "until": until,
        "success": f"centre of the object within {SUCCESS_PIXELS:g} px (at 64 x 64) of the goal at the end",
    }
    return {**protocol, "sha256": protocol_hash(protocol)}


def protocol_hash(protocol: dict[str, Any]) -> str:
    """Return the hash of a protocol, whatever the order of its entries; an entry "sha256" does not count."""
    content = {name: value for name, value in protocol.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def protocol_differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Return where two protocols differ, for a person: "budget_steps: 30 and 20"."""
    names = sorted((first.keys() | second.keys()) - {"sha256"})
    return [
        f"{name}: {first.get(name)} and {second.get(name)}" for name in names if first.get(name) != second.get(name)
    ]
