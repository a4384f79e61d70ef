"""The real environment: physics alone, drawing alone, and both as `step` does them.

Physics is bounded by MuJoCo's own steps without anything around them, drawing by copying the picture, and a step with
its frame by drawing it.
"""

from typing import Any

import numpy as np

from visual_foresight.speed import limits
from visual_foresight.speed.measurement import Measurement, timed_together

_SOLVER = "solver alone"


def measure_environment(environment: Any, *, repeats: int, warmup: int, steps: int = 50) -> list[Measurement]:
    """Measure the three, and the steps that MuJoCo alone makes."""
    import mujoco

    from visual_foresight.envs.physics import NUM_SUBSTEPS, controls

    env = environment.unwrapped
    environment.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, *env.action_space.shape)).astype(np.float32)

    def step_all() -> None:
        environment.reset(seed=0)
        for action in actions:
            environment.step(action)

    def physics_all() -> None:
        for action in actions:
            env.physics.step(action.astype(np.float64))

    def solve_all() -> None:
        data = env.physics.data
        for action in actions:
            data.ctrl[:] = controls(action)
            mujoco.mj_step(env.physics.model, data, NUM_SUBSTEPS)

    def draw_all() -> None:
        for _ in actions:
            env._renderer.render(env.physics)

    size, picture = f"{env.camera.height}x{env.camera.width}", env.camera.height * env.camera.width * 3
    works = (
        (_SOLVER, "steps", solve_all, f"{NUM_SUBSTEPS} time steps each", _SOLVER, 1.0),
        ("physics", "steps", physics_all, "0.1 s each", _SOLVER, 1.0),
        ("drawing", "frames", draw_all, size, limits.MEMORY_COPY, picture),
        ("environment", "steps", step_all, "step and frame", "drawing", 1.0),
    )
    times = timed_together([work[2] for work in works], repeats=repeats, warmup=warmup)
    return [
        Measurement(name, unit, steps, seconds, note, limit, cost)
        for (name, unit, _, note, limit, cost), seconds in zip(works, times, strict=True)
    ]
