"""The pushing environment, its renderer, tasks and policies, collection, and the simulators behind one `rollout`.

Importing this package imports neither MuJoCo nor TensorFlow; the names below are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "Camera": "camera",
    "CollectSettings": "collect",
    "collect_episodes": "collect",
    "EpisodeRecorder": "recorder",
    "LEARNED_PUSH_ID": "registration",
    "LearnedPushEnv": "learned",
    "LearnedPushVectorEnv": "learned",
    "POLICIES": "policies",
    "PUSH_CAMERA": "camera",
    "PUSH_ID": "registration",
    "PushEnv": "push",
    "RayRenderer": "renderer",
    "SHIFTS": "shifts",
    "Scene": "scene",
    "Task": "tasks",
    "TaskSet": "tasks",
    "TrueSimulator": "true_simulator",
    "apply_shift": "shifts",
    "make_policy": "policies",
    "register": "registration",
    "sample_scene": "scene",
    "sample_task": "tasks",
}

__all__ = sorted(_MODULES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
